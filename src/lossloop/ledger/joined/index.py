"""An index from keys to rows: sixteen slots to a bucket, a bucket to a cache line; keys come in batches."""

from __future__ import annotations

from typing import Any

import numpy as np

from lossloop.ledger.joined.keys import Int64, UInt64

Int32 = np.ndarray[Any, np.dtype[np.int32]]

MOST = 1 << 20
"""Rows that an index can hold."""
_SLOTS = 16
_LEAST = 32
_LARGE = 1 << 13
"""Buckets above which the next size is the last one: the more keys there are, the longer to move them."""
_LAST = 2 * MOST // _SLOTS
_EMPTY = -1
_ROW_BITS = 20


class Index:
    """Finds rows by their keys, which lie in two columns that the caller keeps; at most half full.

    A key lies in the bucket that its low half names or, where that is full, in the next one that is not. A
    slot holds 11 other bits of the key above the row's number: other keys are hardly ever looked at.
    """

    def __init__(self) -> None:
        self._begin(_LEAST)

    def _begin(self, size: int) -> None:
        self._buckets: Int32 = np.full((size, _SLOTS), _EMPTY, np.int32)
        self._taken: np.ndarray[Any, np.dtype[np.int8]] = np.zeros(size, np.int8)

    def add(self, high: UInt64, low: UInt64, start: int, end: int) -> None:
        """Add rows `start` to `end` of the key columns; their keys are new, and differ from each other."""
        size = len(self._buckets)
        if 2 * end > size * _SLOTS:
            while 2 * end > size * _SLOTS:
                size = size * 2 if size < _LARGE else _LAST
            self._begin(size)
            start = 0
        # The key 0, 0 is that of rows that were erased: nobody asks for it, and there may be many.
        rows = np.flatnonzero(low[start:end] | high[start:end]) + start
        keys = low[rows]
        buckets, held = self._bucket(keys), _tag(keys) | rows.astype(np.int32)
        slots, last = self._buckets.reshape(-1), size - 1
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
        self._look(high, low, wanted_high, wanted_low, self._bucket(wanted_low), found)
        return found

    def _look(
        self, high: UInt64, low: UInt64, wanted_high: UInt64, wanted_low: UInt64, buckets: Int64, found: Int64
    ) -> None:
        lines = self._buckets.take(buckets, axis=0)
        tags = _tag(wanted_low)
        alike = np.flatnonzero((lines & _TAG) == tags[:, None])
        asked, rows = alike >> _SLOT_BITS, (lines.ravel()[alike] & _ROW).astype(np.int64)
        same = (low.take(rows) == wanted_low.take(asked)) & (high.take(rows) == wanted_high.take(asked))
        found[asked[same]] = rows[same]
        on = np.flatnonzero((found < 0) & (lines[:, -1] != _EMPTY))
        if len(on):
            further = np.full(len(on), -1, np.int64)
            buckets = (buckets[on] + 1) & (len(self._buckets) - 1)
            self._look(high, low, wanted_high[on], wanted_low[on], buckets, further)
            found[on] = further

    def _bucket(self, low: UInt64) -> Int64:
        return (low & np.uint64(len(self._buckets) - 1)).view(np.int64)


_ROW = np.int32((1 << _ROW_BITS) - 1)
_TAG = np.int32(~((1 << _ROW_BITS) - 1))
_SLOT_BITS = 4


def _tag(low: UInt64) -> Int32:
    return (low >> np.uint64(53)).astype(np.int32) << _ROW_BITS
