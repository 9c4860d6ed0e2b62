"""A filter over keys: of most keys that are not in a part of a table, one look says so."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt

from lossloop.ledger.joined.keys import UInt64

Bools = npt.NDArray[np.bool_]

_ROWS_A_WORD = 2
_PATTERNS = 4096
_BITS = 3
"""In a pattern; a key has two patterns."""
_FIRST, _SECOND = np.uint64(32), np.uint64(20)
"""Behind which bits of a key its patterns are named: the lower ones name its word."""


def bits_of(low: UInt64) -> UInt64:
    """The bits that keys set in any filter, by the low halves of the keys. Shape (n,)."""
    one, other = (low >> _FIRST) & _WITHIN, (low >> _SECOND) & _WITHIN
    return _TABLES[0].take(one.view(np.int64)) | _TABLES[1].take(other.view(np.int64))


class Filter:
    """A Bloom filter whose keys have all their bits in one word (Putze, Sanders and Singler, 2007).

    It never says no of a key that it holds, and yes of 1 in 1,000 others or fewer where it is full.

    Args:
        rows: How many keys it is made for; it takes 4 bytes for each.
    """

    def __init__(self, rows: int) -> None:
        size = 1 << max(rows // _ROWS_A_WORD - 1, 63).bit_length()
        self._words: UInt64 = np.zeros(size, np.uint64)

    def add(self, low: UInt64) -> None:
        """Hold keys, by their low halves, which are random numbers already. Shape (n,)."""
        np.bitwise_or.at(self._words, self._places(low), bits_of(low))

    def may_hold(self, low: UInt64, bits: UInt64) -> Bools:
        """Whether each key may be there, by its low half and its `bits_of`. Shape (n,)."""
        return np.asarray((self._words.take(self._places(low)) & bits) == bits)

    def _places(self, low: UInt64) -> npt.NDArray[np.int64]:
        return (low & np.uint64(len(self._words) - 1)).view(np.int64)


class Prints:
    """32 other bits of each key: what a filter says yes of in vain is told apart by them.

    Args:
        high: The high halves of the keys; of n keys, one other in 2^32 / n has the bits of one. Shape (n,).
    """

    def __init__(self, high: UInt64) -> None:
        self._sorted = np.sort(_print(high))

    def may_hold(self, high: UInt64) -> Bools:
        """Whether each key may be there, by its high half. Shape (n,)."""
        wanted = _print(high)
        places = np.searchsorted(self._sorted, wanted)
        inside = places < len(self._sorted)
        found = np.zeros(len(high), dtype=bool)
        found[inside] = self._sorted[places[inside]] == wanted[inside]
        return found


def _print(high: UInt64) -> npt.NDArray[np.uint32]:
    return (high >> _FIRST).astype(np.uint32)


def _tables() -> tuple[UInt64, UInt64]:
    """Patterns of a few random bits, the same ones everywhere."""
    seen = np.frombuffer(hashlib.shake_256(b"filter").digest(2 * _PATTERNS * _BITS), np.uint8)
    bits: Any = np.uint64(1) << (seen & 63).astype(np.uint64)
    first, second = np.bitwise_or.reduce(bits.reshape(2, _PATTERNS, _BITS), axis=2)
    return first, second


_WITHIN = np.uint64(_PATTERNS - 1)
_TABLES = _tables()
