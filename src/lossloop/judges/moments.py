"""The count, mean and spread of a stream, merged without cancellation (Chan, Golub, LeVeque 1983)."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from lossloop.core.records import Record


class Moments(Record, frozen=True):
    """Count, mean and sum of squared deviations of what was added."""

    count: int = 0
    mean: float = 0.0
    deviations: float = 0.0

    def add(self, values: npt.NDArray[np.float64]) -> Moments:
        """With `values`, shape (n,), added; finite."""
        if len(values) == 0:
            return self
        mean = float(values.mean())
        added = Moments(count=len(values), mean=mean, deviations=float(np.square(values - mean).sum()))
        return self.merge(added)

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
