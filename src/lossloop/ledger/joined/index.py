"""An index from keys to rows: eight slots to a bucket, a bucket to a cache line; keys come in batches."""

from __future__ import annotations

from typing import Any

import numpy as np

from lossloop.ledger.joined.keys import Int64, UInt64

_SLOTS = 8
_LEAST = 128
_EMPTY = -1
_ROW_BITS = 32


class Index:
    """Finds rows by their keys, which lie in two columns that the caller keeps; at most half full.

    A key lies in the bucket that its low half names or, where that is full, in the next one that is not. A
    slot holds 31 other bits of the key above the row's number: other keys are hardly ever looked at.
    """

    def __init__(self) -> None:
        self._buckets: Int64 = np.full((_LEAST, _SLOTS), _EMPTY, np.int64)
        self._taken: np.ndarray[Any, np.dtype[np.int8]] = np.zeros(_LEAST, np.int8)

    def add(self, high: UInt64, low: UInt64, start: int, end: int) -> None:
        """Add rows `start` to `end` of the key columns; their keys are new, and differ from each other."""
        size = len(self._buckets)
        if 2 * end > size * _SLOTS:
            while 2 * end > size * _SLOTS:
                size *= 2
            self._buckets = np.full((size, _SLOTS), _EMPTY, np.int64)
            self._taken = np.zeros(size, np.int8)
            start = 0
        # The key 0, 0 is that of rows that were erased: nobody asks for it, and there may be many.
        rows = np.flatnonzero(low[start:end] | high[start:end]) + start
        buckets, held = self._bucket(low[rows]), _tag(low[rows]) << _ROW_BITS | rows
        slots, last = self._buckets.reshape(-1), len(self._buckets) - 1
        while len(held):
            taken = self._taken[buckets]
            free = taken < _SLOTS
            places = buckets * _SLOTS + np.minimum(taken, _SLOTS - 1)
            slots[places[free]] = held[free]  # of those that want the same slot, one gets it
            settled = slots[places] == held
            self._taken[buckets[settled]] += 1
            left = ~settled
            buckets, held = (buckets[left] + ~free[left]) & last, held[left]

    def find(self, high: UInt64, low: UInt64, wanted_high: UInt64, wanted_low: UInt64) -> Int64:
        """The row of each wanted key, -1 where there is none. Shape (n,)."""
        found = np.full(len(wanted_low), -1, np.int64)
        buckets, tags = self._bucket(wanted_low), _tag(wanted_low)
        places = np.arange(len(wanted_low))
        while len(places):
            lines = self._buckets.take(buckets, axis=0)
            alike = np.flatnonzero(lines >> _ROW_BITS == tags[places, None])
            asked = places[alike // _SLOTS]
            rows = lines.ravel()[alike] & ((1 << _ROW_BITS) - 1)
            same = (low[rows] == wanted_low[asked]) & (high[rows] == wanted_high[asked])
            found[asked[same]] = rows[same]
            on = (lines[:, -1] != _EMPTY) & (found[places] < 0)
            places, buckets = places[on], (buckets[on] + 1) & (len(self._buckets) - 1)
        return found

    def _bucket(self, low: UInt64) -> Int64:
        return (low & np.uint64(len(self._buckets) - 1)).astype(np.int64)


def _tag(low: UInt64) -> Int64:
    return (low >> np.uint64(33)).astype(np.int64)
