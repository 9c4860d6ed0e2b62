"""A risk judged by estimates of every loss and the true loss of a few, drawn at random (statistics.md, 2d).

Each prediction is drawn for an audit with a known chance pi, whatever becomes of it. With the estimate f and
the true loss L, both counted from the loss's floor,

    g = eta f + (xi / pi) (L - eta f)          xi = 1 where it was drawn, else 0

is unbiased for L, for ANY f and any eta that the past decides: a wrong estimate makes it wide, never wrong
("prediction-powered inference": Angelopoulos and others, 2023). With 0 <= f <= cap and L >= 0 it is at least

    lo = -(1/pi - 1) eta cap                   reached where xi = 1, L = 0 and f = cap

so `r = (g - lo) / (m - lo)` is a fair bet against "the risk is at most m". Labels that nobody drew are not
used: who sends them without being asked may choose which. eta = 0 is labels alone. By default eta follows
what the audits so far say of f: E[f L] / E[f f], where the spread of g is least.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Self

import numpy as np
import numpy.typing as npt

from lossloop.core.errors import InputError
from lossloop.core.records import Record, Verdict, VerdictKind
from lossloop.judges.base import error_of, losses_array, reached, verdict_of
from lossloop.judges.engine import CANARY_KAPPAS, Engine, Wealth
from lossloop.judges.intervals import asymptotic_interval
from lossloop.judges.moments import Moments
from lossloop.judges.promise import Promise

Array = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

_KINDS = (VerdictKind.ALARM, VerdictKind.HEALTHY)
MOST = 1e100
"""Of a limit and a cap: their squares are finite."""
_PRIOR = 10.0
"""How many audits of a loss as large as the limit the first eta, 1, weighs as."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Audits:
    """Rows, or means of blocks of rows, in prediction order; arrays of shape (n,), made by `Audited.audits`.

    Losses and estimates are counted from the floor; what stands only where a row was drawn is divided by the
    chance of that, so that its mean is a mean over all rows.
    """

    estimate: Array
    drawn_estimate: Array
    drawn_loss: Array
    drawn_cross: Array
    """Estimate times loss."""
    drawn_square: Array
    """Estimate times estimate."""

    def __len__(self) -> int:
        return len(self.estimate)

    def __getitem__(self, rows: slice, /) -> Self:
        return replace(self, **{each.name: getattr(self, each.name)[rows] for each in fields(self)})

    def averaged(self, mean: Callable[[Array], Array]) -> Self:
        """All rows as one: each column's mean, shape (1,)."""
        return replace(self, **{each.name: mean(getattr(self, each.name)) for each in fields(self)})


class AuditState(Record, frozen=True):
    """The wealth of the bet, what eta follows, and the unbiased losses since the start."""

    wealth: Wealth
    cross: float = 0.0
    square: float = 0.0
    seen: Moments = Moments()


@dataclass(frozen=True, kw_only=True)
class Audited:
    """Alarm when the risk exceeds `limit`, by estimates of losses and a random share of true ones.

    The effect is the unbiased estimate of the risk since the start.
    """

    limit: float
    promise: Promise
    rate: float
    """The chance, above 0 and at most 1, that a prediction is drawn for an audit."""
    cap: float
    """The largest estimate above the floor; larger ones are cut."""
    floor: float = 0.0
    eta: float | None = None
    """How far estimates are trusted, from 0 (labels alone) to 1; None to follow the audits."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.floor) and math.isfinite(self.limit) and self.floor < self.limit):
            raise InputError(f"limit {self.limit:g} must be above floor {self.floor:g}", field="limit")
        if not 0.0 < self.rate <= 1.0:
            raise InputError(f"an audit's rate lies above 0 and at most at 1, not {self.rate}", field="rate")
        if not (math.isfinite(self.cap) and self.cap >= 0.0):
            raise InputError(f"cap {self.cap:g} must be a finite number of at least 0", field="cap")
        if max(abs(self.floor), abs(self.limit), self.cap) > MOST:
            raise InputError(
                f"limit {self.limit:g} and cap {self.cap:g} may not exceed {MOST:g}", field="limit"
            )
        if self.eta is not None and not 0.0 <= self.eta <= 1.0:
            raise InputError(f"eta lies between 0 and 1, not at {self.eta}", field="eta")

    def audits(self, estimate: Array, loss: Array, drawn: Flags) -> Audits:
        """Evidence from rows, arrays of shape (n,).

        Args:
            estimate: NaN where there is none, which counts as the floor.
            loss: NaN where no label came: where it was drawn, it counts as the floor, and never alarms.
            drawn: Which were drawn for an audit; the loss of the others is not looked at.
        """
        found = np.nan_to_num(losses_array(estimate, name="estimate") - self.floor, nan=0.0, posinf=self.cap)
        f = np.clip(found, 0.0, self.cap)
        known = losses_array(loss) - self.floor
        known = np.where(drawn & ~np.isnan(known), known, 0.0)
        weight = np.asarray(drawn, dtype=np.float64) / self.rate
        return Audits(
            estimate=f, drawn_estimate=weight * f, drawn_loss=weight * known, drawn_cross=weight * f * known,
            drawn_square=weight * f * f,
        )  # fmt: skip

    def start(self) -> AuditState:
        """Nothing judged yet."""
        return AuditState(wealth=self._engine.start())

    def update(self, state: AuditState, evidence: Audits, /) -> tuple[AuditState, Verdict]:
        """Judge rows, or means of blocks, in prediction order."""
        if problem := self._problem(evidence):
            return state, error_of(self._engine, state.wealth, problem, assumption=self._assumption)
        # Sums that go on one by one, so that they are the same however rows are cut.
        cross = np.cumsum(np.concatenate(([state.cross], evidence.drawn_cross)))
        square = np.cumsum(np.concatenate(([state.square], evidence.drawn_square)))
        eta = self._etas(cross[:-1], square[:-1])
        unbiased = eta * (evidence.estimate - evidence.drawn_estimate) + evidence.drawn_loss
        low = -(1.0 / self.rate - 1.0) * self.cap * eta
        ratios = np.maximum(unbiased - low, 0.0) / (self.limit - self.floor - low)
        wealth, step = self._engine.update(state.wealth, ratios)
        seen = state.seen.add(unbiased + self.floor)
        moved = AuditState(
            wealth=wealth, seen=seen,
            cross=float(cross[-1]), square=float(square[-1]),
        )  # fmt: skip
        return moved, verdict_of(
            self._engine, wealth, step, _KINDS, effect=asymptotic_interval(seen), assumption=self._assumption,
            reason=f"mean loss {seen.mean:.4g} over {seen.count:,} by estimates and audits, limit "
            f"{self.limit:.4g}: {reached(self._engine, wealth, step.evidence)}",
        )  # fmt: skip

    def _etas(self, cross: Array, square: Array) -> Array:
        """How far each estimate is trusted, decided by the sums before it."""
        if self.eta is not None:
            return np.full(len(cross), self.eta)
        prior = _PRIOR / self.rate * (self.limit - self.floor) ** 2
        return np.clip((prior + cross) / (prior + square), 0.0, 1.0)

    def _problem(self, evidence: Audits) -> str:
        for each in fields(evidence):
            values = losses_array(getattr(evidence, each.name), name=each.name)
            bad = ~(np.isfinite(values) & (values >= -1e-9 * max(1.0, self.cap)))
            if bad.any():
                row = int(bad.argmax())
                return f"{each.name.replace('_', ' ')} {values[row]:.6g} at row {row} is below the floor"
        return ""

    @cached_property
    def _engine(self) -> Engine:
        return Engine(self.promise, CANARY_KAPPAS)

    @cached_property
    def _assumption(self) -> str:
        return (
            f"{100 * self.rate:.3g}% of predictions were drawn for an audit at random; each loss is at least "
            f"{self.floor:g}; estimates may be wrong; an audit without a label counts as the least loss"
        )
