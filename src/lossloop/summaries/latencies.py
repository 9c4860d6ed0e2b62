"""How long answers took: counts in bins of the logarithm, from which quantiles of any tail follow.

A bin is 1/16 of an octave wide, so a quantile is off by at most 4.4%; merging is addition. What took less
than a microsecond, the least that is told apart, counts as none.
"""

from __future__ import annotations

from typing import Self

import msgspec
import numpy as np
import numpy.typing as npt

from lossloop.core.errors import InputError
from lossloop.core.records import Record
from lossloop.summaries.tables import cells_of, combined, counted, refuse, rows_of, taken

STEPS = 16
"""Bins to an octave."""
LEAST = 0.001
"""In ms."""


class Latencies(Record, frozen=True):
    """Times in ms, from 0 on. Values have shape (n,)."""

    count: int = 0
    total: float = 0.0
    high: float = 0.0
    """The longest that was ever added; not given back by `minus`."""
    cells: bytes = b""
    """Cells that are not 0, by bin: 0 below a microsecond, else 1 + floor(STEPS log2(ms / LEAST))."""

    def add(self, values: npt.NDArray[np.float64]) -> Self:
        """With times of at least 0, shape (n,)."""
        if not len(values):
            return self
        times = rows_of(np.asarray(values, dtype=np.float64).reshape(-1, 1), 1)
        refuse(times, times[:, 0] < 0, "a time is at least 0")
        took = times[:, 0]
        bins = np.floor(STEPS * np.log2(np.maximum(took, LEAST) / LEAST)) + (took >= LEAST)
        added = msgspec.structs.replace(
            self, count=len(took), total=float(took.sum()), high=float(took.max()), cells=counted(bins)
        )
        return self.merge(added)

    def merge(self, other: Self) -> Self:
        """Both together."""
        return msgspec.structs.replace(
            self._combined(other, 1, self.count + other.count), high=max(self.high, other.high)
        )

    def minus(self, other: Self) -> Self:
        """Without what `other` is of, which must have been added before; the longest time stays."""
        return self._combined(other, -1, taken(self.count, other.count))

    @property
    def mean(self) -> float | None:
        """In ms; None of nothing."""
        return self.total / self.count if self.count else None

    def quantile(self, share: float) -> float | None:
        """What `share` of all took at most, in ms, too high by 4.4% at most; None of nothing.

        Raises:
            InputError: That is no share.
        """
        if not 0.0 <= share <= 1.0:
            raise InputError(f"a share lies between 0 and 1, not {share}", field="share")
        if not self.count:
            return None
        bins, counts = cells_of(self.cells)
        place = int(np.searchsorted(np.cumsum(counts), share * self.count - 1e-9))
        upper = LEAST * 2.0 ** (bins[min(place, len(bins) - 1)] / STEPS)
        return min(float(upper), self.high)

    def _combined(self, other: Self, sign: int, count: int) -> Self:
        return msgspec.structs.replace(
            self, count=count, total=self.total + sign * other.total,
            cells=combined(self.cells, other.cells, sign),
        )  # fmt: skip
