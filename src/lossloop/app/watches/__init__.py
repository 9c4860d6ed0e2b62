"""How each kind of watch looks at predictions: a file per family, and here which kind is which."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lossloop.act.watches import (
    BaselineWatch,
    DriftWatch,
    ErrorsWatch,
    EstimateWatch,
    GuardrailWatch,
    LatencyWatch,
    PredictionShiftWatch,
    RegressionWatch,
    SeasonalWatch,
    SlicesWatch,
    Watch,
)
from lossloop.app.judging import Lens
from lossloop.app.watches.answering import ErrorsKind, LatencyKind
from lossloop.app.watches.base import Arrived, Found, OfArrivals, OfOutcomes
from lossloop.app.watches.drift import DriftKind, PredictionShiftKind
from lossloop.app.watches.estimates import AuditedKind, EstimateKind
from lossloop.app.watches.risk import GuardrailKind, RegressionKind
from lossloop.app.watches.seasons import SeasonalKind
from lossloop.app.watches.skill import BaselineKind
from lossloop.app.watches.slices import SlicesKind
from lossloop.core.errors import InputError
from lossloop.core.records import Verdict
from lossloop.judges import Counts, Mode, Slices, parse
from lossloop.judges.base import Judge
from lossloop.registry import Version

OF_OUTCOMES: Mapping[type[Watch], OfOutcomes] = {
    BaselineWatch: BaselineKind(),
    EstimateWatch: AuditedKind(),
    GuardrailWatch: GuardrailKind(),
    RegressionWatch: RegressionKind(),
    SeasonalWatch: SeasonalKind(),
    SlicesWatch: SlicesKind(),
}
"""Kinds that judge predictions at their judging age."""
OF_ARRIVALS: Mapping[type[Watch], OfArrivals] = {
    DriftWatch: DriftKind(),
    ErrorsWatch: ErrorsKind(),
    EstimateWatch: EstimateKind(),
    LatencyWatch: LatencyKind(),
    PredictionShiftWatch: PredictionShiftKind(),
}
"""Kinds that judge predictions as they arrive."""


def of_outcomes(watch: Watch) -> OfOutcomes | None:
    """How a watch judges predictions at their judging age; None where it judges them as they arrive."""
    waits = not isinstance(watch, EstimateWatch) or watch.audit is not None
    return OF_OUTCOMES.get(type(watch)) if waits else None


def of_arrivals(watch: Watch) -> OfArrivals | None:
    """How a watch judges predictions as they arrive; None where it waits for their judging age."""
    return OF_ARRIVALS.get(type(watch)) if of_outcomes(watch) is None else None


def kind_of(watch: Watch) -> OfOutcomes | OfArrivals:
    """How a watch is judged."""
    return of_outcomes(watch) or OF_ARRIVALS[type(watch)]


def judge_of(lens: Lens, watch: Watch, champion: Version) -> Judge[Any, Any, Verdict]:
    """The judge of a watch on a champion; InputError where it cannot judge this one."""
    check_promise(watch)
    return kind_of(watch).judge(lens, watch, champion)


def check_promise(watch: Watch) -> None:
    """Raise InputError where a watch of this kind cannot give its promise."""
    promise = parse(watch.promise)
    if isinstance(watch, SlicesWatch):
        Slices(limit=1.0, promise=promise)
    elif promise.mode is Mode.AMONG:
        raise InputError(
            f"{promise.words!r} is promised of many slices; a watch of kind {watch.kind} has one alarm: "
            "write '1 per 3650 blocks' or '5% ever'",
            field="promise",
        )


def by_rows(watch: Watch) -> bool:
    """Whether a watch judges rows: its promise counts outcomes. Else it judges blocks."""
    return parse(watch.promise).counts is Counts.OUTCOMES


def asks_of_loss(watch: Watch) -> bool:
    """Whether what a watch judges is the loss, so that another loss is another question."""
    return not isinstance(watch, DriftWatch | ErrorsWatch | LatencyWatch | PredictionShiftWatch)


def needs_rows(lens: Lens) -> bool:
    """Whether a policy has a watch that judges rows at their judging age."""
    return any(by_rows(watch) for watch in lens.policy.watches.values() if of_outcomes(watch))


__all__ = [
    "OF_ARRIVALS",
    "OF_OUTCOMES",
    "Arrived",
    "Found",
    "OfArrivals",
    "OfOutcomes",
    "asks_of_loss",
    "by_rows",
    "check_promise",
    "judge_of",
    "kind_of",
    "needs_rows",
    "of_arrivals",
    "of_outcomes",
]
