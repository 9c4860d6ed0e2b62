"""The facts and answers that stages hand to each other: frozen, keyword-only, checked at birth."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from lossloop.core.clock import Micros


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Base of every record: immutable, compared by value, and JSON by way of msgspec."""


class Role(StrEnum):
    """Which part of the traffic a prediction was."""

    CHAMPION = "champion"
    CHALLENGER = "challenger"
    """A version in a rollout, or an arm of an experiment."""
    HOLDOUT = "holdout"
    """The version that the held-out share of the units keeps."""
    OVERRIDE = "override"
    """A version that a tester asked for by its number: nothing is judged on it."""


class VerdictKind(StrEnum):
    """A watch's answer; the order is "worst first"."""

    ALARM = "alarm"
    ERROR = "error"
    NO_DATA = "no_data"
    INCONCLUSIVE = "inconclusive"
    BETTER = "better"
    HEALTHY = "healthy"


class Interval(Record, frozen=True):
    """An estimate of an effect and its interval, in the loss's unit.

    `low` and `high` may be infinite while there is little evidence; `approximate` marks an interval that
    rests on an asymptotic argument.
    """

    estimate: float
    low: float
    high: float
    level: float = 0.95
    approximate: bool = False


class Verdict(Record, frozen=True):
    """What a watch says now, with what it says it on.

    evidence and threshold are natural logarithms of e-values (`log M` and `log A`): the watch acts once
    evidence >= threshold. `count` is how many outcomes (or blocks) were judged so far; `crossed_at` the
    index, from 0, of the deciding one within the batch that was judged last, None if none was.
    """

    kind: VerdictKind
    evidence: float
    threshold: float
    count: int
    effect: Interval | None = None
    crossed_at: int | None = None
    promise: str = ""
    assumption: str = ""
    reason: str = ""


class Decision(Record, frozen=True):
    """What follows from a verdict or an operator's command: a value; acting on it is elsewhere.

    Its id is made of what it answers, not of the time at which it was computed, so that folding the same
    facts again makes the same decision, which is then known to have been taken.
    """

    id: str
    at: Micros
    model: str
    action: str
    """``roll_back``, ``promote``, ``ramp``, ``start_rollout``, ``retrain``, ``notify``, ``refuse``, ..."""
    status: str
    """``done``, ``would_have`` (observe), ``frozen``, ``over_budget``, ``awaits_approval``, ``skipped``."""
    reason: str
    watch: str = ""
    version: int | None = None
    """The version that the action concerns."""
    share: float | None = None
    """The challenger's share of the traffic after the action."""
    target: str = ""
    """Whom a retrain or a notify concerns: the name of a target."""
    verdict: Verdict | None = None
    outcomes: int = 0
    """Outcomes of the model seen by then."""
    by: str = "policy"


__all__ = ["Decision", "Interval", "Micros", "Record", "Role", "Verdict", "VerdictKind"]
