"""A challenger in shadow: both versions answer each prediction, and the difference of their losses is judged.

Pairs are far faster than randomised traffic, but a shadow cannot see feedback: what the challenger's answers
would have caused.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import numpy.typing as npt

from lossloop.core.errors import InputError
from lossloop.judges.base import losses_array
from lossloop.judges.comparison import Bounded, Comparison, Difference, TwoTests, check_missing, check_tests

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Pairs:
    """Differences of losses, challenger minus champion, in prediction order: rows or block means, shape (n,).

    Where the outcome never came, `difference` is NaN, and `least` and `most` are the extremes over the labels
    it could have had; without them the whole range is taken.
    """

    difference: Array
    least: Array | None = None
    most: Array | None = None

    def __post_init__(self) -> None:
        for extreme in (self.least, self.most):
            if extreme is not None and len(extreme) != len(self.difference):
                raise InputError("difference, least and most must be equally long")

    def __len__(self) -> int:
        return len(self.difference)

    def __getitem__(self, rows: slice, /) -> Self:
        return type(self)(
            difference=self.difference[rows],
            least=None if self.least is None else self.least[rows],
            most=None if self.most is None else self.most[rows],
        )

    @classmethod
    def of(cls, challenger: npt.ArrayLike, champion: npt.ArrayLike) -> Self:
        """Pairs from the losses of both on the same predictions."""
        return cls(difference=losses_array(challenger) - losses_array(champion))


@dataclass(frozen=True, kw_only=True)
class Shadow:
    """Judge a challenger on paired losses that differ by at most `bound`, or are clipped to [-clip, clip].

    Rolls back (`alarm`) once it is worse by more than `roll_back_if_worse_by`, certifies (`better`) once it
    is worse by less than `promote_if_within`; with `clip` both concern the clipped difference. `missing` is
    ``worst_case`` or ``same_in_both_arms``.
    """

    roll_back_if_worse_by: float
    promote_if_within: float
    error: float = 0.05
    bound: float | None = None
    """The largest difference of two losses; may be left out with `clip`."""
    clip: float | None = None
    missing: str = "worst_case"
    words: str = ""
    """The promise in words; said from `error` if empty."""

    def __post_init__(self) -> None:
        for name, size in (("bound", self.bound), ("clip", self.clip)):
            if size is not None and not (math.isfinite(size) and size > 0.0):
                raise InputError(f"{name} {size:g} must be a finite number above 0", field=name)
        if self.bound is None and self.clip is None:
            raise InputError("an unbounded loss needs clip_difference, such as 0.5", field="clip_difference")
        check_tests(self._tests, self._reach)
        check_missing(self.missing)

    def start(self) -> Difference:
        """Nothing judged yet."""
        return self._tests.start()

    def update(self, state: Difference, evidence: Pairs, /) -> tuple[Difference, Comparison]:
        """Judge differences in prediction order."""
        found = losses_array(evidence.difference, name="difference")
        least = self._extreme(evidence.least, found, -self._reach)
        most = self._extreme(evidence.most, found, self._reach)
        counted = np.full(len(found), True) if self.missing == "worst_case" else ~np.isnan(found)
        if problem := self._problem(least, counted) or self._problem(most, counted):
            return state, self._tests.refuse(state, problem, assumption=self._assumption)
        rows = np.flatnonzero(counted)
        least, most = (np.clip(side[rows], -self._reach, self._reach) for side in (least, most))
        reach = np.full(len(rows), self._reach)
        differences = Bounded(least=least, most=most, low=-reach, high=reach, rows=rows)
        return self._tests.update(state, differences, assumption=self._assumption)

    def _extreme(self, given: Array | None, found: Array, worst: float) -> Array:
        extreme = np.full(len(found), worst) if given is None else losses_array(given, name="least and most")
        return np.where(np.isnan(found), extreme, found)

    def _problem(self, values: Array, counted: npt.NDArray[np.bool_]) -> str:
        most = math.inf if self.bound is None else self.bound * (1.0 + 1e-9)
        bad = counted & ~(np.isfinite(values) & (np.abs(values) <= most))
        if not bad.any():
            return ""
        row = int(bad.argmax())
        return f"difference {values[row]:g} at row {row} lies outside [-{most:g}, {most:g}]"

    @property
    def _reach(self) -> float:
        sizes = [size for size in (self.bound, self.clip) if size is not None]
        return min(sizes)

    @cached_property
    def _tests(self) -> TwoTests:
        return TwoTests(
            worse_by=self.roll_back_if_worse_by, within=self.promote_if_within, error=self.error,
            words=self.words,
        )  # fmt: skip

    @cached_property
    def _assumption(self) -> str:
        if self.clip is not None and self.clip == self._reach:
            about = f"concerns the difference clipped to [-{self.clip:g}, {self.clip:g}]"
        else:
            about = f"losses differ by at most {self._reach:g}"
        if self.missing == "worst_case":
            return f"{about}; a missing outcome counts as the worst case"
        return f"{about}; outcomes are missing alike whatever the difference"
