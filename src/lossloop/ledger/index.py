"""An index from keys to rows: open addressing, linear probing, a batch of keys at a time."""

from __future__ import annotations

from typing import Any

import numpy as np

from lossloop.ledger.keys import Int64, UInt64

Int32 = np.ndarray[Any, np.dtype[np.int32]]

_LEAST = 1024


class Index:
    """Finds rows by their keys, which lie in two columns that the caller keeps; at most half full."""

    def __init__(self) -> None:
        self._slots: Int32 = np.full(_LEAST, -1, np.int32)

    def add(self, high: UInt64, low: UInt64, start: int, end: int) -> None:
        """Add rows `start` to `end` of the key columns; their keys are new, and differ from each other."""
        size = len(self._slots)
        if 2 * end > size:
            while 2 * end > size:
                size *= 2
            self._slots = np.full(size, -1, np.int32)
            start = 0
        mask = np.uint64(len(self._slots) - 1)
        # The key 0, 0 is that of rows that were erased: nobody asks for it, and there may be many.
        rows = np.flatnonzero(low[start:end] | high[start:end]).astype(np.int32) + np.int32(start)
        slots = (low[rows] & mask).astype(np.int64)
        while len(rows):
            free = self._slots[slots] < 0
            self._slots[slots[free]] = rows[free]
            settled = self._slots[slots] == rows
            rows, slots = rows[~settled], (slots[~settled] + 1) & int(mask)

    def find(self, high: UInt64, low: UInt64, wanted_high: UInt64, wanted_low: UInt64) -> Int64:
        """The row of each wanted key, -1 where there is none. Shape (n,)."""
        mask = np.uint64(len(self._slots) - 1)
        found = np.full(len(wanted_low), -1, np.int64)
        slots = (wanted_low & mask).astype(np.int64)
        places = np.arange(len(wanted_low))
        while len(places):
            rows = self._slots[slots]
            taken = rows >= 0
            hit = taken & (low[rows] == wanted_low[places])
            hit &= high[rows] == wanted_high[places]
            found[places[hit]] = rows[hit]
            on = taken & ~hit
            places, slots = places[on], (slots[on] + 1) & int(mask)
        return found
