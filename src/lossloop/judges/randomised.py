"""A canary against its champion by randomised traffic (statistics.md, 2c).

Each prediction went to the canary with a known, logged probability p, so the weighted difference

    g = A (L - c) / p - (1 - A) (L - c) / (1 - p)          A = 1 for the canary, else 0

is unbiased for "canary minus champion", whatever the traffic, the season or the ramp. The centre c, the
pooled mean loss before the row, only makes it narrower.

The assignment must be fresh for each row judged. With sticky units, judge each unit once per rollout.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import numpy.typing as npt

from lossloop.core.errors import InputError
from lossloop.core.records import Record
from lossloop.judges.base import losses_array
from lossloop.judges.comparison import Bounded, Comparison, Difference, TwoTests, check_missing, check_tests

Array = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

_PRIOR = 1.0
"""How many losses the first centre weighs as."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Assigned:
    """Rows in prediction order, arrays of shape (n,)."""

    loss: Array
    """NaN where the outcome never came."""
    is_canary: Flags
    propensity: Array
    """The probability, strictly between 0 and 1, with which the row was to go to the canary."""

    def __post_init__(self) -> None:
        if not len(self.loss) == len(self.is_canary) == len(self.propensity):
            raise InputError("loss, is_canary and propensity must be equally long")

    def __len__(self) -> int:
        return len(self.loss)

    def __getitem__(self, rows: slice, /) -> Self:
        return type(self)(
            loss=self.loss[rows], is_canary=self.is_canary[rows], propensity=self.propensity[rows]
        )


class CanaryState(Record, frozen=True):
    """Both tests, and the labelled losses that the centre is the mean of."""

    tests: Difference
    total: float = 0.0
    labelled: int = 0


@dataclass(frozen=True, kw_only=True)
class Canary:
    """Judge a canary on randomised traffic; losses lie in [floor, bound].

    Rolls back (`alarm`) once it is worse by more than `roll_back_if_worse_by`, certifies (`better`) once it
    is worse by less than `promote_if_within`. `missing` is ``worst_case`` or ``same_in_both_arms``.
    The effect is the weighted difference of the risks.
    """

    bound: float
    roll_back_if_worse_by: float
    promote_if_within: float
    error: float = 0.05
    floor: float = 0.0
    centre: float | None = None
    """The first centre, such as the reference's mean; the middle of the bounds if None."""
    missing: str = "worst_case"
    words: str = ""
    """The promise in words; said from `error` if empty."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.floor) and math.isfinite(self.bound) and self.floor < self.bound):
            raise InputError(
                f"bound {self.bound:g} must be above floor {self.floor:g}, both finite; "
                "clip an unbounded loss, such as clip(5)",
                field="bound",
            )
        if self.centre is not None and not self.floor <= self.centre <= self.bound:
            raise InputError(f"centre {self.centre:g} must lie between floor and bound", field="centre")
        check_tests(self._tests, self.bound - self.floor)
        check_missing(self.missing)

    def start(self) -> CanaryState:
        """Nothing judged yet."""
        return CanaryState(tests=self._tests.start())

    def update(self, state: CanaryState, evidence: Assigned, /) -> tuple[CanaryState, Comparison]:
        """Judge rows in prediction order."""
        loss = losses_array(evidence.loss, name="loss") - self.floor
        p = losses_array(evidence.propensity, name="propensity")
        canary = np.asarray(evidence.is_canary, dtype=np.bool_)
        if problem := self._problem(loss, p):
            return state, self._tests.refuse(state.tests, problem, assumption=self._assumption)
        came = ~np.isnan(loss)
        known = np.where(came, np.clip(loss, 0.0, self.bound - self.floor), 0.0)
        # One after another from the stream's own sum, so that how it is cut changes no bit.
        totals = np.add.accumulate(np.concatenate(([state.total], known)))
        counts = state.labelled + np.concatenate(([0], np.cumsum(came)))
        found = self._differences(known, came, canary, p, self._centres(totals[:-1], counts[:-1]))
        tests, answer = self._tests.update(state.tests, found, assumption=self._assumption)
        return CanaryState(tests=tests, total=float(totals[-1]), labelled=int(counts[-1])), answer

    def _differences(self, known: Array, came: Flags, canary: Flags, p: Array, centre: Array) -> Bounded:
        """The weighted differences of the rows that count."""
        reach = self.bound - self.floor
        low = -np.maximum(centre / p, (reach - centre) / (1.0 - p))
        high = np.maximum((reach - centre) / p, centre / (1.0 - p))
        weight = np.where(canary, 1.0 / p, -1.0 / (1.0 - p))
        # A missing outcome counts for the canary when it is to be rolled back, against it when promoted.
        least = weight * (np.where(came | canary, known, reach) - centre)
        most = weight * (np.where(came | ~canary, known, reach) - centre)
        rows = np.arange(len(p)) if self.missing == "worst_case" else np.flatnonzero(came)
        return Bounded(least=least[rows], most=most[rows], low=low[rows], high=high[rows], rows=rows)

    def _centres(self, totals: Array, counts: npt.NDArray[np.int64]) -> Array:
        """The pooled mean of the labelled losses before each row, from the floor."""
        first = 0.5 * (self.bound + self.floor) if self.centre is None else self.centre
        centre: Array = (_PRIOR * (first - self.floor) + totals) / (_PRIOR + counts)
        return np.clip(centre, 0.0, self.bound - self.floor)

    def _problem(self, loss: Array, p: Array) -> str:
        reach = self.bound - self.floor
        slack = 1e-9 * reach
        wrong = ~(np.isnan(loss) | ((loss >= -slack) & (loss <= reach + slack)))
        if wrong.any():
            row = int(wrong.argmax())
            shown = loss[row] + self.floor
            return f"loss {shown:.6g} at row {row} lies outside [{self.floor:g}, {self.bound:g}]"
        fixed = ~((p > 0.0) & (p < 1.0))
        if fixed.any():
            row = int(fixed.argmax())
            return (
                f"propensity {p[row]:g} at row {row}: only rows that could have gone either way can be judged"
            )
        return ""

    @cached_property
    def _tests(self) -> TwoTests:
        return TwoTests(
            worse_by=self.roll_back_if_worse_by, within=self.promote_if_within, error=self.error,
            words=self.words,
        )  # fmt: skip

    @cached_property
    def _assumption(self) -> str:
        drawn = f"each row was assigned at random, afresh; losses lie in [{self.floor:g}, {self.bound:g}]"
        if self.missing == "worst_case":
            return f"{drawn}; a missing outcome counts as the worst case"
        return f"{drawn}; outcomes are missing alike in both arms"
