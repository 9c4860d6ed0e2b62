"""One step of a watch: evidence in, its next state and the point for charts out. Pure.

The loop and a backtest both take these steps, so that a backtest gives the verdicts that happened.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec

from lossloop.app.books import Crowned, Point, WatchState
from lossloop.app.watches import Found
from lossloop.core.clock import Micros
from lossloop.core.records import Verdict, VerdictKind
from lossloop.judges.base import Judge


def begun(judge: Judge[Any, Any, Verdict], crowned: Crowned) -> WatchState:
    """A watch on a new champion, before any evidence."""
    return WatchState(version=crowned.version, since=crowned.at, judged=as_json(judge.start()))


def goes_on(state: WatchState, crowned: Crowned) -> bool:
    """Whether evidence adds to what was judged of this reign."""
    return state.version == crowned.version and state.since == crowned.at


def step(
    judge: Judge[Any, Any, Verdict], state: WatchState, found: Found, *, watch: str, now: Micros, rows: int,
    block: str,
) -> tuple[WatchState, Point]:  # fmt: skip
    """Judge evidence on `rows` predictions, at the moment `now`; `block` is the label of theirs, or empty."""
    before = msgspec.json.decode(state.judged, type=type(judge.start()))
    after, verdict = judge.update(before, found.evidence)
    verdict = storable(verdict)
    if found.labelled == 0:
        verdict = _no_data(verdict, f"none of {rows} outcomes came in time")
    point = Point(
        at=now, watch=watch, version=state.version, kind=verdict.kind, evidence=verdict.evidence,
        threshold=verdict.threshold, mean=found.mean, rows=rows, labelled=found.labelled or 0, block=block,
        effect=verdict.effect,
    )  # fmt: skip
    return msgspec.structs.replace(state, judged=as_json(after), verdict=verdict), point


def is_over(state: WatchState, *, now: Micros, cooldown: Micros, waits: bool) -> bool:
    """Whether an incident's actions had their time; while it `waits` for a rollout they have not."""
    return state.incident is not None and not waits and now >= state.incident + cooldown


def again(judge: Judge[Any, Any, Verdict], state: WatchState) -> WatchState:
    """The watch behind an incident: it begins anew, and may alarm again."""
    return msgspec.structs.replace(state, judged=as_json(judge.start()), incident=None, answered=())


def as_json(state: Any) -> msgspec.Raw:
    """A judge's state as it is kept."""
    return msgspec.Raw(msgspec.json.encode(state))


def storable(verdict: Verdict) -> Verdict:
    """A verdict that can be read again: JSON has no infinite numbers.

    Raises:
        ArithmeticError: Its evidence is none that can be compared.
    """
    if not math.isfinite(verdict.evidence):
        raise ArithmeticError(f"evidence of {verdict.evidence}")
    effect = verdict.effect
    if effect is not None and not all(map(math.isfinite, (effect.estimate, effect.low, effect.high))):
        return msgspec.structs.replace(verdict, effect=None)
    return verdict


def _no_data(verdict: Verdict, why: str) -> Verdict:
    """The same evidence, but an honest answer: outcomes were due and none came, which is never a pass."""
    if verdict.kind is VerdictKind.ALARM:
        return verdict
    return msgspec.structs.replace(verdict, kind=VerdictKind.NO_DATA, reason=f"{why}; {verdict.reason}")
