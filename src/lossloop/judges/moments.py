"""The count, mean and spread of a stream: running sums from a fixed origin near its mean.

The sums run over the stream, not over a batch, so how it is cut changes no bit; taken from an origin among
the values they do not cancel. Two streams merge as in Chan, Golub, LeVeque 1983.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from lossloop.core.records import Record

Array = npt.NDArray[np.float64]


_FARTHEST = 1e145
"""Values farther from the origin than this count as this: the sum of squares stays a number."""


class Moments(Record, frozen=True):
    """Count, mean and sum of squared deviations of what was added."""

    count: int = 0
    mean: float = 0.0
    deviations: float = 0.0
    origin: float | None = None
    """What the running sums are taken from: the first value; None where none was added one by one."""
    total: float = 0.0
    """The sum of what was added, less the origin."""
    squares: float = 0.0
    """The sum of the squares of that."""

    def add(self, values: Array) -> Moments:
        """With `values`, shape (n,), added in order; finite."""
        if len(values) == 0:
            return self
        origin, total, squares = self._running(float(values[0]))
        away = np.empty(len(values) + 1)
        np.clip(values - origin, -_FARTHEST, _FARTHEST, out=away[1:])
        total = _last_sum(away, total)
        away[1:] *= away[1:]
        squares = _last_sum(away, squares)
        count = self.count + len(values)
        return Moments(
            count=count,
            mean=origin + total / count,
            deviations=max(0.0, squares - total * total / count),
            origin=origin,
            total=total,
            squares=squares,
        )

    @classmethod
    def of_sums(cls, count: int, total: float, squares: float) -> Moments:
        """Of `count` values with that sum and sum of squares."""
        if count == 0:
            return cls()
        mean = min(max(total / count, -_FARTHEST), _FARTHEST)
        return cls(count=count, mean=mean, deviations=max(0.0, squares - mean * mean * count))

    def merge(self, other: Moments) -> Moments:
        """Both together."""
        count = self.count + other.count
        if count == 0:
            return self
        step = other.mean - self.mean
        return Moments(
            count=count,
            mean=self.mean + step * other.count / count,
            deviations=self.deviations + other.deviations + step * step * self.count * other.count / count,
        )

    @property
    def variance(self) -> float:
        """The sample variance (divisor n - 1); 0 below two values."""
        return self.deviations / (self.count - 1) if self.count > 1 else 0.0

    @property
    def spread(self) -> float:
        """The standard deviation."""
        return math.sqrt(self.variance)

    def _running(self, first: float) -> tuple[float, float, float]:
        if self.origin is not None:
            return self.origin, self.total, self.squares
        return (first, 0.0, 0.0) if self.count == 0 else (self.mean, 0.0, self.deviations)


def _last_sum(room: Array, before: float) -> float:
    """`before` and all of `room` but its first, added one after another (`sum` adds in pairs)."""
    room[0] = before
    return float(np.add.accumulate(room)[-1])
