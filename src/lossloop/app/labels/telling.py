"""What people and tools are told of a model's labels, as plain values: the same for CLI and HTTP."""

from __future__ import annotations

from typing import Any

import msgspec

from lossloop.act.policy import Missing, Policy
from lossloop.act.watches import BaselineWatch, RegressionWatch
from lossloop.app.books import Books
from lossloop.app.home import Home
from lossloop.app.judging import Lens
from lossloop.app.labels.arrivals import Arrivals, Due, Looking, read_arrivals
from lossloop.core.clock import DAY, HOUR, MINUTE, SECOND, Micros, format_duration, format_time
from lossloop.judges.delay import USUAL_SHARE, Curve, Gap, Recommendation, gap, plain_duration, recommend
from lossloop.ledger.joined.table import history_of
from lossloop.ledger.store import Store

_LADDER = (
    SECOND // 1000, SECOND // 100, SECOND // 10, SECOND, 5 * SECOND, 15 * SECOND, 30 * SECOND,
    MINUTE, 5 * MINUTE, 15 * MINUTE, 30 * MINUTE, HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR,
    DAY, 2 * DAY, 3 * DAY, 7 * DAY, 14 * DAY, 30 * DAY, 60 * DAY, 90 * DAY, 180 * DAY, 365 * DAY,
)  # fmt: skip
"""Ages that are shown, where something happens at them."""


def label_delay(store: Store, model: str, *, share: float = USUAL_SHARE) -> dict[str, Any]:
    """How late a model's labels come, which age to judge at, and what missing labels can hide.

    Args:
        store: The derived state.
        model: Whose labels.
        share: Of the labels that ever come: how many shall have come by the recommended age.

    Raises:
        UnknownName: There is no such model.
        InputError: The share does not lie between 0 and 1.
    """
    books = Books(store)
    lens, now = books.lens(model), books.now()
    labels = lens.policy.labels
    looking = Looking(now=now, age=labels.mature_after, absent_after=labels.after)
    live = read_arrivals(store, model, looking)
    found, source = recommend(live.delays, share), "live"
    curve = live.delays.curve()
    if found.mature_after is None:  # what was imported may know more
        past = read_arrivals(store, history_of(model), age=labels.mature_after)
        other = recommend(past.delays, share)
        if other.mature_after is not None or not live.delays.labelled:
            found, source, curve = other, "imported", past.delays.curve()
    return {
        "model": model,
        "clock": format_time(now) if now else None,
        **_counts(live),
        "mature_after": _age(labels.mature_after, found, source),
        "judged": _judged(live, lens),
        "curve": _curve(curve, labels.mature_after, found.mature_after),
        "curve_of": source,
        "horizon": curve.within if curve.horizon else None,
    }


def label_delay_at(home: Home, model: str, *, share: float = USUAL_SHARE) -> dict[str, Any]:
    """The same, of a state directory that is opened for it."""
    store = home.state()
    try:
        return label_delay(store, model, share=share)
    finally:
        store.close()


def _counts(live: Arrivals) -> dict[str, Any]:
    delays = live.delays
    predictions = delays.labelled + delays.waiting
    missing = delays.waiting - live.absent
    return {
        "predictions": predictions, "labelled": delays.labelled, "absent": live.absent,
        "missing": missing / predictions if predictions else None,
    }  # fmt: skip


def _age(in_force: Micros, found: Recommendation, source: str) -> dict[str, Any]:
    recommended = None if found.mature_after is None else format_duration(found.mature_after)
    return {
        "in_force": format_duration(in_force), "recommended": recommended, "share": found.share,
        "reason": found.reason, "from": source,
    }  # fmt: skip


def _judged(live: Arrivals, lens: Lens) -> dict[str, Any]:
    """Of predictions that have reached the judging age: what was missing, and what it can hide."""
    hidden = _gap(live.due, lens)
    return {
        "due": live.due.predictions, "missing": live.due.missing, "late": live.late,
        **msgspec.structs.asdict(hidden),
        "warnings": hidden.warnings(_tolerances(lens.policy)),
        "versions": [
            {"version": number, "due": due.predictions, "missing": due.missing,
             **msgspec.structs.asdict(_gap(due, lens))}
            for number, due in live.versions.items()
        ],
    }  # fmt: skip


def _gap(due: Due, lens: Lens) -> Gap:
    low, high = lens.loss.bounds
    missing = due.missing if lens.loss.needs_outcome else 0
    return gap(missing, due.predictions, floor=float(low), bound=float(high))


def _tolerances(policy: Policy) -> list[tuple[str, float]]:
    """What a policy wants to tell apart, by the name of who wants it; in the loss's unit."""
    found = [
        (f"watch {name}", watch.tolerance)
        for name, watch in policy.watches.items()
        if isinstance(watch, (BaselineWatch, RegressionWatch))
    ]
    plan = policy.rollout
    if plan is not None and policy.labels.missing is Missing.WORST_CASE:
        found += [
            ("rollout.promote_if_within", plan.promote_if_within),
            ("rollout.roll_back_if_worse_by", plan.roll_back_if_worse_by),
        ]
    return found


def _curve(curve: Curve, *marked: Micros | None) -> list[dict[str, Any]]:
    """The ages at which labels come, with the judging ages among them."""
    ever = curve.ever
    if not ever:
        return []
    shares = {age: curve.share(age) for age in _LADDER if age <= curve.horizon}
    begun = [age for age, share in shares.items() if share is not None and share < 0.01 * ever]
    done = [age for age, share in shares.items() if share is not None and share > 0.999 * ever]
    first, last = max(begun, default=0), min(done, default=curve.horizon)
    ages: set[Micros] = {age for age in shares if first <= age <= last} | {
        age for age in marked if age is not None
    }
    if curve.horizon <= last:
        ages.add(plain_duration(curve.horizon, up=False))
    return [
        {"age": format_duration(age), "seconds": age / SECOND, "share": curve.share(age)}
        for age in sorted(ages)
    ]
