"""A guardrail whose limit follows the season: `r = (L - floor) / (m_t - floor)` (statistics.md, 2h).

The limit of a moment is known before its losses are, so the bet is as fair as with one limit for all, and a
bad season that comes every year is no alarm.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import numpy.typing as npt

from lossloop.core.errors import InputError
from lossloop.core.records import Record, Verdict, VerdictKind
from lossloop.judges.base import error_of, losses_array, problem_in, reached, verdict_of
from lossloop.judges.engine import Engine, Wealth
from lossloop.judges.intervals import asymptotic_interval
from lossloop.judges.moments import Moments
from lossloop.judges.promise import Promise

Array = npt.NDArray[np.float64]

_KINDS = (VerdictKind.ALARM, VerdictKind.HEALTHY)


@dataclass(frozen=True, kw_only=True, eq=False)
class Seasonal:
    """Losses (rows or block means) in prediction order, and the limit of each; arrays of shape (n,)."""

    loss: Array
    limit: Array

    def __post_init__(self) -> None:
        if len(self.loss) != len(self.limit):
            raise InputError("loss and limit must be equally long")

    def __len__(self) -> int:
        return len(self.loss)

    def __getitem__(self, rows: slice, /) -> Self:
        return type(self)(loss=self.loss[rows], limit=self.limit[rows])


class SeasonState(Record, frozen=True):
    """The wealth of the bet, and how far losses were above the limits of their moments."""

    wealth: Wealth
    above: Moments = Moments()


@dataclass(frozen=True, kw_only=True)
class SeasonalGuardrail:
    """Alarm when the risk exceeds the limit of its season.

    The effect is the mean of each loss less its limit: below 0 where all is well.
    """

    promise: Promise
    floor: float = 0.0

    def start(self) -> SeasonState:
        """Nothing judged yet."""
        return SeasonState(wealth=self._engine.start())

    def update(self, state: SeasonState, evidence: Seasonal, /) -> tuple[SeasonState, Verdict]:
        """Judge losses with their limits, in prediction order."""
        losses = losses_array(evidence.loss)
        limits = losses_array(evidence.limit, name="limits")
        if problem := problem_in(losses, self.floor, math.inf) or self._problem(limits):
            return state, error_of(self._engine, state.wealth, problem, assumption=self._assumption)
        ratios = np.maximum(losses - self.floor, 0.0) / (limits - self.floor)
        wealth, step = self._engine.update(state.wealth, ratios)
        above = state.above.add(losses - limits)
        return SeasonState(wealth=wealth, above=above), verdict_of(
            self._engine, wealth, step, _KINDS, effect=asymptotic_interval(above),
            assumption=self._assumption,
            reason=f"mean loss {above.mean:+.4g} to the limits of their seasons, over {above.count:,}: "
            f"{reached(self._engine, wealth, step.evidence)}",
        )  # fmt: skip

    def _problem(self, limits: Array) -> str:
        bad = ~(np.isfinite(limits) & (limits > self.floor))
        row = int(bad.argmax()) if bad.any() else None
        return "" if row is None else f"limit {limits[row]:g} at row {row} is not above floor {self.floor:g}"

    @cached_property
    def _engine(self) -> Engine:
        return Engine(self.promise)

    @cached_property
    def _assumption(self) -> str:
        return f"each loss is at least {self.floor:g}; the limit of each season was set before it"
