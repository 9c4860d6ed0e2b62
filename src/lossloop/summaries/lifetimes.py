"""How long things lived, by the risk that was predicted: enough for the concordance of risks and lives.

Times are counted in bins that are 1/16 of an octave (4.4%) wide, risks in 100 bins, so merging is addition.
Pairs of rows that share a bin of times cannot be ordered any more and are left out, and of pairs that share
one of risks half count; `bounds` says between which values the concordance of the rows themselves lies.
"""

from __future__ import annotations

from typing import Self

import msgspec
import numpy as np
import numpy.typing as npt

from lossloop.core.records import Record
from lossloop.summaries.tables import Array, cells_of, combined, counted, ratio, refuse, rows_of, taken

RISKS = 100
STEPS = 16
"""Bins of times to an octave."""

_SHIFT = 1080 * STEPS
"""More bins than there are below a time of 1: the least number above 0 is 2**-1074."""
_TIMES = 2200 * STEPS


class Lifetimes(Record, frozen=True):
    """Times and events with predicted risks. Values have shape (n, 3): time, event, risk in [0, 1]."""

    count: int = 0
    cells: bytes = b""
    """Cells that are not 0, by (bin of time * RISKS + bin of risk) * 2 + event."""

    def add(self, values: npt.NDArray[np.float64]) -> Self:
        """With times of at least 0, events of 0 or 1 and risks, shape (n, 3)."""
        table = rows_of(values, 3)
        if not len(table):
            return self
        time, event, risk = table.T
        refuse(table, time < 0, "a time is at least 0")
        refuse(table, (event != 0) & (event != 1), "an event is 0 or 1")
        refuse(table, (risk < 0) | (risk > 1), "a risk lies in [0, 1]")
        when = np.zeros(len(time))
        lived = time > 0
        when[lived] = np.clip(np.floor(np.log2(time[lived]) * STEPS) + _SHIFT, 1, _TIMES)
        how = np.minimum(np.floor(risk * RISKS), RISKS - 1)
        cells = counted((when * RISKS + how) * 2 + event)
        return self.merge(msgspec.structs.replace(self, count=len(table), cells=cells))

    def merge(self, other: Self) -> Self:
        """Both together."""
        return self._combined(other, 1, self.count + other.count)

    def minus(self, other: Self) -> Self:
        """Without what `other` is of, which must have been added before."""
        return self._combined(other, -1, taken(self.count, other.count))

    def _combined(self, other: Self, sign: int, count: int) -> Self:
        cells = combined(self.cells, other.cells, sign)
        return msgspec.structs.replace(self, count=count, cells=cells)

    def _tables(self) -> tuple[Array, Array]:
        """Censored rows and events by the bins of time that are used, ascending, and of risk."""
        codes, counts = cells_of(self.cells)
        places, event = np.divmod(codes.astype(np.int64), 2)
        when, risk = np.divmod(places, RISKS)
        used, time = np.unique(when, return_inverse=True)
        found = np.zeros((2, len(used), RISKS))
        found[event, time, risk] = counts
        return found[0], found[1]

    def bounds(self) -> tuple[float, float, float] | None:
        """The concordance of pairs whose order is known, and the least and the most of all pairs of rows.

        A pair is comparable where the one that lived shorter had the event; it is concordant where that one
        had the higher risk. None where no pair is known to be comparable.
        """
        censored, events = self._tables()
        everyone = censored + events
        later = everyone.sum(axis=0)[None, :] - np.cumsum(everyone, axis=0)
        riskier = np.cumsum(later, axis=1) - later  # of those that live longer, with a lower risk
        pairs = float((events * later.sum(axis=1, keepdims=True)).sum())
        if pairs == 0:
            return None
        right, tied = float((events * riskier).sum()), float((events * later).sum())
        died, lost = events.sum(axis=1), censored.sum(axis=1)
        unknown = float((died * (died - 1) / 2 + died * lost).sum())
        whole = pairs + unknown
        return (right + tied / 2) / pairs, right / whole, (right + tied + unknown) / whole

    def metrics(self) -> dict[str, float | None]:
        """The share of events, and Harrell's concordance."""
        found = self.bounds()
        return {
            "events": ratio(float(self._tables()[1].sum()), self.count),
            "concordance": None if found is None else found[0],
        }
