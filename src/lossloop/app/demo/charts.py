"""Losses over time as data for a chart: numbers, roles and marks; how it looks is the page's business. Pure.

Times are seconds on the wall clock of the policy's time zone, on which days are cut.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby

import numpy as np

from lossloop.app.charts.history import mark_of
from lossloop.app.charts.spec import Chart, Plain
from lossloop.app.demo.account import SHADOW, Account, Day
from lossloop.core.clock import DAY, SECOND, parse_time
from lossloop.core.records import Role
from lossloop.judges import Guardrail, Moments, Regression, asymptotic_interval

WINDOW = 14
"""Days of the running mean."""
ROLES = (Role.CHAMPION, Role.CHALLENGER, SHADOW)


def marks(account: Account, decisions: Sequence[Plain]) -> list[Plain]:
    """A numbered mark for each decision; what was set up before any prediction stands at the start."""
    start, wall = min((day.block for day in account.days), default=0) // SECOND, account.history.wall
    moments = [max(start, wall(parse_time(decision["at"]))) for decision in decisions]
    return [
        {"n": number, "x": moment, "role": mark_of(decision)}
        for number, (moment, decision) in enumerate(zip(moments, decisions, strict=True), start=1)
    ]


def loss_chart(account: Account, decisions: Sequence[Plain]) -> Chart:
    """Mean loss by day, for each version in each role, with its running mean and the champions' limits."""
    blocks = sorted({day.block for day in account.days})
    where = {block: index for index, block in enumerate(blocks)}
    groups = [
        (key, sorted(found, key=lambda day: day.block))
        for key, found in groupby(sorted(account.days, key=_order), key=_order)
    ]
    smooth = {key: running_means(days) for key, days in groups if key[0] != ROLES.index(Role.CHALLENGER)}
    series = [one for key, days in groups for one in _series(days, smooth.get(key, []), where)]
    limits, references = _limits(account)
    top = _top(groups, limits)
    data = {
        "x": [_noon(block) for block in blocks],
        "series": series,
        "limits": limits,
        "refs": references,
        "y": [_bottom(groups), top],
        "marks": marks(account, decisions),
        "beyond": _beyond(groups, top),
    }
    head = ["day", "version", "mean loss", f"{WINDOW}-day mean", "95% interval", "flights", "missing"]
    rows = [
        _loss_row(account, day, interval)
        for key, days in groups
        for day, interval in zip(days, smooth.get(key) or [None] * len(days), strict=True)
    ]
    says = _says(account)
    return Chart(
        id="loss", title="Loss over time", sub="", data=data, head=head, rows=sorted(rows), says=says
    )


def _says(account: Account) -> str:
    """The champions' limits in words."""
    parts = []
    for version, _, _ in account.reigns():
        for judge in account.judges(version).values():
            if isinstance(judge, Regression):
                upper, tolerance = judge.reference.upper, judge.tolerance
                mean = f"v{version.number} had {judge.reference.estimate:.3f} on its reference"
                parts.append(f"{mean}; its limit is {upper:.3f} (upper bound) + {tolerance:g} (tolerance).")
    return " ".join(parts)


def _order(day: Day) -> tuple[int, int]:
    return ROLES.index(day.role), day.version


def running_means(days: Sequence[Day]) -> list[tuple[float, float, float] | None]:
    """Mean of the last 14 days' means, and its interval; None where fewer than 5 of them have one.

    Days are averaged, not flights: a day's flights share its weather, and days are what is judged.
    """
    found: list[tuple[float, float, float] | None] = []
    for day in days:
        means = [
            other.mean
            for other in days
            if other.mean is not None and day.block - WINDOW * DAY < other.block <= day.block
        ]
        interval = asymptotic_interval(Moments().add(np.array(means)), tuned_for=WINDOW)
        found.append(None if interval is None else (interval.estimate, interval.low, interval.high))
    return found


def _series(
    days: Sequence[Day], smooth: Sequence[tuple[float, float, float] | None], where: dict[int, int]
) -> list[Plain]:
    role, name = days[0].role, f"v{days[0].version}"
    daily: list[float | None] = [None] * len(where)
    for day in days:
        daily[where[day.block]] = _round(day.mean)
    if not smooth:
        return [{"name": f"{name} {role}", "role": role, "y": daily, "points": True, "end": f"{name} canary"}]
    columns: list[list[float | None]] = [[None] * len(where) for _ in range(3)]
    for day, interval in zip(days, smooth, strict=True):
        for column, value in zip(columns, interval or (None,) * 3, strict=True):
            column[where[day.block]] = _round(value)
    return [
        {"name": f"{name} that day", "role": role, "y": daily, "thin": True},
        {"name": f"{name} {role}, {WINDOW} days", "role": role, "y": columns[0], "lo": columns[1],
         "hi": columns[2], "dash": role == SHADOW, "end": f"{name} {role}"},
    ]  # fmt: skip


def _limits(account: Account) -> tuple[list[list[float]], list[list[float]]]:
    """The limits and references of each champion as [from, to, loss]."""
    limits, references = [], []
    for version, first, end in account.reigns():
        for judge in account.judges(version).values():
            span = [first // SECOND, end // SECOND]
            if isinstance(judge, Regression):
                limits.append([*span, round(judge.reference.upper + judge.tolerance, 4)])
                references.append([*span, round(judge.reference.estimate, 4)])
            elif isinstance(judge, Guardrail):
                limits.append([*span, round(judge.limit, 4)])
    return limits, references


Groups = Sequence[tuple[tuple[int, int], Sequence[Day]]]


def _means(groups: Groups, *, champions: bool = False) -> list[float]:
    return [
        day.mean
        for _, days in groups
        for day in days
        if day.mean is not None and not (champions and day.role != Role.CHAMPION)
    ]


def _top(groups: Groups, limits: Sequence[Sequence[float]]) -> float:
    """The axis fits champions and limits; what lies far beyond is named at its edge."""
    highest = max([*_means(groups, champions=True), *(limit[2] for limit in limits)], default=1.0)
    near = [mean for mean in _means(groups) if mean <= 1.25 * highest]
    return math.ceil(10 * 1.02 * max([highest, *near])) / 10


def _bottom(groups: Groups) -> float:
    return math.floor(10 * 0.98 * min(_means(groups), default=0.0)) / 10


def _beyond(groups: Groups, top: float) -> list[Plain]:
    return [
        {"x": _noon(day.block), "role": day.role, "text": f"v{day.version} {day.mean:.2f}"}
        for _, days in groups
        for day in days
        if day.mean is not None and day.mean > top
    ]


def _loss_row(account: Account, day: Day, interval: tuple[float, float, float] | None) -> list[str]:
    missing = 1 - day.outcomes / day.predictions if day.predictions else 0.0
    mean, low, high = interval or (None, None, None)
    return [
        account.policy.calendar.label(day.block),
        f"v{day.version} {day.role}",
        _text(day.mean),
        _text(mean),
        "" if low is None or high is None else f"[{low:.3f}, {high:.3f}]",
        f"{day.predictions:,}",
        f"{missing:.1%}",
    ]


def missing_chart(account: Account, decisions: Sequence[Plain]) -> Plain:
    """The share of each day's flights that have no outcome; it lies under the losses, on the same axis."""
    total: dict[int, tuple[int, int]] = {}
    for day in account.answered():
        sent, known = total.get(day.block, (0, 0))
        total[day.block] = sent + day.predictions, known + day.outcomes
    blocks = sorted(total)
    share = [
        round(1 - known / sent, 4) if sent else 0.0 for sent, known in (total[block] for block in blocks)
    ]
    return {
        "x": [_noon(block) for block in blocks],
        "series": [{"name": "missing", "role": "holdout", "y": share, "bars": True}],
        "y": [0, round(max(share, default=0.0) * 1.1 + 0.01, 2)],
        "percent": True,
        "marks": marks(account, decisions),
    }


def _noon(block: int) -> int:
    return block // SECOND + 43_200


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _text(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
