"""How far numbers were from what was predicted: enough for MAE, RMSE, bias, WAPE and R squared."""

from __future__ import annotations

import math
from typing import Self

import msgspec
import numpy as np
import numpy.typing as npt

from lossloop.core.records import Record
from lossloop.summaries.tables import ratio, refuse, rows_of, taken

MOST = 1e100
"""Numbers beyond have no summary: their squares would not be finite."""


class Residuals(Record, frozen=True):
    """Outcomes with predictions, both plain numbers. Values have shape (n, 2): outcome and prediction."""

    count: int = 0
    over: float = 0.0
    """The sum of p - y."""
    away: float = 0.0
    """The sum of |p - y|."""
    squares: float = 0.0
    """The sum of (p - y)^2."""
    sizes: float = 0.0
    """The sum of |y|."""
    mean: float = 0.0
    """The mean of y, and the sum of squared deviations from it: no large numbers are cancelled."""
    deviations: float = 0.0

    def add(self, values: npt.NDArray[np.float64]) -> Self:
        """With outcomes and predictions, shape (n, 2)."""
        table = rows_of(values, 2)
        if not len(table):
            return self
        refuse(table, (np.abs(table) > MOST).any(axis=1), f"numbers of at most {MOST:g} have squares")
        true, over = table[:, 0], table[:, 1] - table[:, 0]
        mean = float(true.mean())
        added = msgspec.structs.replace(
            self,
            count=len(table),
            over=float(over.sum()),
            away=float(np.abs(over).sum()),
            squares=float(np.square(over).sum()),
            sizes=float(np.abs(true).sum()),
            mean=mean,
            deviations=float(np.square(true - mean).sum()),
        )
        return self.merge(added)

    def merge(self, other: Self) -> Self:
        """Both together."""
        count = self.count + other.count
        if count == 0:
            return self
        step = other.mean - self.mean
        return self._summed(
            other, 1, count, self.mean + step * (other.count / count),
            self.deviations + other.deviations + step * step * (self.count * (other.count / count)),
        )  # fmt: skip

    def minus(self, other: Self) -> Self:
        """Without what `other` is of, which must have been added before."""
        count = taken(self.count, other.count)
        if count == 0:
            return type(self)()
        mean = self.mean + (self.mean - other.mean) * (other.count / count)
        step = other.mean - mean
        left = self.deviations - other.deviations - step * step * (count * (other.count / self.count))
        return self._summed(other, -1, count, mean, max(left, 0.0))

    def _summed(self, other: Self, sign: int, count: int, mean: float, deviations: float) -> Self:
        return msgspec.structs.replace(
            self,
            count=count,
            over=self.over + sign * other.over,
            away=self.away + sign * other.away,
            squares=self.squares + sign * other.squares,
            sizes=self.sizes + sign * other.sizes,
            mean=mean,
            deviations=deviations,
        )

    def metrics(self) -> dict[str, float | None]:
        """MAE, RMSE and bias (p less y) in the outcome's unit, WAPE and R squared without one.

        WAPE is the sum of |p - y| over the sum of |y|: a ratio of sums, and no mean of any loss of a row.
        """
        squared = ratio(max(self.squares, 0.0), self.count)
        unexplained = ratio(self.squares, self.deviations)
        return {
            "mae": ratio(self.away, self.count),
            "rmse": None if squared is None else math.sqrt(squared),
            "bias": ratio(self.over, self.count),
            "wape": ratio(self.away, self.sizes),
            "r2": None if unexplained is None else 1.0 - unexplained,
        }
