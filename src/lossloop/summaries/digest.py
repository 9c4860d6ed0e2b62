"""A digest of losses: count, sum, squares, extremes and a soft histogram (statistics.md, section 1).

In the soft histogram a value between two knots splits its unit weight over them so that the mean stays:
the count and the sum are exact, and merging is addition. The engine's bets are concave, hence the wealth
that they make of the sketch is at most the true wealth: a sketch never alarms where its values would not.
"""

from __future__ import annotations

from typing import Self

import msgspec
import numpy as np
import numpy.typing as npt

from lossloop.core.errors import InputError
from lossloop.core.records import Record
from lossloop.summaries.scale import KNOTS, Scale

Array = npt.NDArray[np.float64]

_STORED = np.dtype("<f8")
_LARGEST = 1e145
"""What a larger value is squared as: the sum stays a number, which JSON can hold."""


class Digest(Record, frozen=True):
    """What is kept of losses for a version, slice and time bucket; 64 knots, under 1 kB as JSON."""

    scale: Scale = Scale()
    count: int = 0
    total: float = 0.0
    squares: float = 0.0
    low: float | None = None
    """The least value ever added; None before any."""
    high: float | None = None
    """The greatest value ever added. Neither extreme is given back by `minus`."""
    bins: bytes = bytes(KNOTS * _STORED.itemsize)
    """The knots' weights as little-endian float64."""

    def __post_init__(self) -> None:
        if self.count < 0 or len(self.bins) != KNOTS * _STORED.itemsize:
            raise InputError(f"a digest has {KNOTS} knots and a count of at least 0", field="bins")

    def add(self, values: npt.NDArray[np.float64]) -> Self:
        """With `values`, shape (n,): finite, at least the floor, at most the bound if there is one."""
        if len(values) == 0:
            return self
        self._check(values)
        added = msgspec.structs.replace(
            self,
            count=len(values),
            total=float(values.sum()),
            squares=float(np.square(np.clip(values, -_LARGEST, _LARGEST)).sum()),
            low=float(values.min()),
            high=float(values.max()),
            bins=_spread(values, self.scale.knots).astype(_STORED).tobytes(),
        )
        return self.merge(added)

    def merge(self, other: Self) -> Self:
        """Both together; InputError unless they have the same scale."""
        return msgspec.structs.replace(
            self._combined(other, 1),
            low=min((x for x in (self.low, other.low) if x is not None), default=None),
            high=max((x for x in (self.high, other.high) if x is not None), default=None),
        )

    def minus(self, other: Self) -> Self:
        """Without what `other` is of, which must have been added before; the extremes stay."""
        if other.count > self.count:
            raise InputError(f"cannot take {other.count:,} values from {self.count:,}", field="count")
        return self._combined(other, -1)

    @property
    def mean(self) -> float | None:
        """The mean; None of nothing."""
        return self.total / self.count if self.count else None

    @property
    def variance(self) -> float | None:
        """The sample variance (divisor n - 1); None below two values."""
        if self.count < 2:
            return None
        return max(0.0, self.squares - self.total * self.total / self.count) / (self.count - 1)

    @property
    def knots(self) -> Array:
        """Where the weights lie, shape (64,), ascending, in the loss's unit."""
        return self.scale.knots

    @property
    def weights(self) -> Array:
        """How much each of `knots` weighs, shape (64,); at least 0, and they add up to `count`."""
        return np.maximum(np.frombuffer(self.bins, dtype=_STORED), 0.0)

    def quantile(self, share: float) -> float | None:
        """The value below which `share` of the values lie, to the distance of two knots; None of nothing."""
        if not 0.0 <= share <= 1.0:
            raise InputError(f"a share lies between 0 and 1, not {share}", field="share")
        if self.count == 0 or self.low is None or self.high is None:
            return None
        below = np.cumsum(self.weights)
        at = float(np.interp(share * below[-1], below - 0.5 * self.weights, self.scale.knots))
        return min(max(at, self.low), self.high)

    def _combined(self, other: Self, sign: int) -> Self:
        if other.scale != self.scale:
            raise InputError("digests of different scales cannot be combined", field="scale")
        mine, others = (np.frombuffer(bins, dtype=_STORED) for bins in (self.bins, other.bins))
        return msgspec.structs.replace(
            self,
            count=self.count + sign * other.count,
            total=self.total + sign * other.total,
            squares=self.squares + sign * other.squares,
            bins=(mine + sign * others).astype(_STORED).tobytes(),
        )

    def _check(self, values: Array) -> None:
        if values.ndim != 1:
            raise InputError(f"values must have one dimension, not {values.ndim}", field="values")
        scale = self.scale
        bad = ~(np.isfinite(values) & (values >= scale.floor))
        if scale.bound is not None:
            bad |= values > scale.bound
        if bad.any():
            row = int(bad.argmax())
            most = "any finite value" if scale.bound is None else f"{scale.bound:g}"
            raise InputError(
                f"{values[row]} cannot be summarised; values go from {scale.floor:g} to {most}",
                field="values",
                row=row,
            )


def _spread(values: Array, knots: Array) -> Array:
    """Each value's unit weight, split over the two knots around it."""
    inside = np.minimum(values, knots[-1])
    left = np.clip(np.searchsorted(knots, inside, side="right") - 1, 0, len(knots) - 2)
    share = (inside - knots[left]) / (knots[left + 1] - knots[left])
    lower = np.bincount(left, weights=1.0 - share, minlength=len(knots))
    upper = np.bincount(left + 1, weights=share, minlength=len(knots))
    return np.asarray(lower + upper, dtype=np.float64)
