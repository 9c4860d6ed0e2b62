"""How each kind of watch looks at predictions: a file per family, and here which kind is which."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lossloop.act.watches import (
    BaselineWatch,
    DriftWatch,
    EstimateWatch,
    GuardrailWatch,
    PredictionShiftWatch,
    RegressionWatch,
    SeasonalWatch,
    Watch,
)
from lossloop.app.judging import Lens
from lossloop.app.watches.base import Arrived, Found, OfArrivals, OfOutcomes
from lossloop.app.watches.drift import DriftKind, PredictionShiftKind
from lossloop.app.watches.estimates import AuditedKind, EstimateKind
from lossloop.app.watches.risk import GuardrailKind, RegressionKind
from lossloop.app.watches.seasons import SeasonalKind
from lossloop.app.watches.skill import BaselineKind
from lossloop.core.records import Verdict
from lossloop.judges import Counts, parse
from lossloop.judges.base import Judge
from lossloop.registry import Version

OF_OUTCOMES: Mapping[type[Watch], OfOutcomes] = {
    BaselineWatch: BaselineKind(),
    EstimateWatch: AuditedKind(),
    GuardrailWatch: GuardrailKind(),
    RegressionWatch: RegressionKind(),
    SeasonalWatch: SeasonalKind(),
}
"""Kinds that judge predictions at their judging age."""
OF_ARRIVALS: Mapping[type[Watch], OfArrivals] = {
    DriftWatch: DriftKind(),
    PredictionShiftWatch: PredictionShiftKind(),
    EstimateWatch: EstimateKind(),
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
    return kind_of(watch).judge(lens, watch, champion)


def by_rows(watch: Watch) -> bool:
    """Whether a watch judges rows: its promise counts outcomes. Else it judges blocks."""
    return parse(watch.promise).counts is Counts.OUTCOMES


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
    "by_rows",
    "judge_of",
    "kind_of",
    "needs_rows",
    "of_arrivals",
    "of_outcomes",
]
