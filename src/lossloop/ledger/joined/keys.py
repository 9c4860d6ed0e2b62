"""Keys: ids and units as keyed hashes, a whole column at a time.

Text of any length becomes numbers of fixed size, so that a table of predictions is an array and not a heap of
strings. The hash is multilinear over 32-bit words (Lemire and Kaser, "Strongly universal string hashing is
fast", 2014): with secret random multipliers two different texts share a 32-bit lane with a chance of 2^-32,
whoever chose them. An id has four lanes: among 10 million ids the chance that any two share a key is below
2e-25. A unit has two.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa

UInt64 = np.ndarray[Any, np.dtype[np.uint64]]
Int64 = np.ndarray[Any, np.dtype[np.int64]]

_WORD = 8
_HALF = np.uint64(32)
_AT_ONCE = 4096
"""Rows hashed at once: their words stay in the processor's cache."""


class Keys:
    """Hashes with a secret of its own; the same secret gives the same keys.

    Args:
        secret: Random bytes that nobody who sends ids knows.
    """

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def of(self, texts: pa.Array) -> tuple[UInt64, UInt64]:
        """The keys of a string array without nulls: high and low halves. Shapes (n,), (n,)."""
        lanes = self._lanes(texts, 4)
        return lanes[0] << _HALF | lanes[1], lanes[2] << _HALF | lanes[3]

    def one(self, text: str) -> tuple[int, int]:
        """The key of one id."""
        high, low = self.of(pa.array([text], pa.string()))
        return int(high[0]), int(low[0])

    def units(self, texts: pa.Array) -> Int64:
        """One number per unit, 0 where there is none. Shape (n,)."""
        if texts.null_count == len(texts):
            return np.zeros(len(texts), np.int64)
        lanes = self._lanes(texts.fill_null("") if texts.null_count else texts, 2)
        found: Int64 = (lanes[0] << _HALF | lanes[1]).view(np.int64)
        found[found == 0] = 1
        if texts.null_count:
            found[texts.is_null().to_numpy(zero_copy_only=False)] = 0
        return found

    def unit(self, text: str) -> int:
        """The number of one unit."""
        return int(self.units(pa.array([text], pa.string()))[0])

    def _lanes(self, texts: pa.Array, lanes: int) -> UInt64:
        """Lanes of 32 bits. Shape (lanes, n)."""
        texts = texts.cast(pa.string())
        found = np.empty((lanes, len(texts)), np.uint64)
        for start in range(0, len(texts), _AT_ONCE):
            halves, lengths = _halves(texts.slice(start, _AT_ONCE))
            secrets = np.stack(
                [_secrets(self._secret, lane, _rounded(2 + len(halves))) for lane in range(lanes)]
            )
            total = secrets[:, :1] * lengths + secrets[:, 1:2]
            for place, half in enumerate(halves, 2):
                total += secrets[:, place : place + 1] * half
            found[:, start : start + _AT_ONCE] = total >> _HALF
        return found


def _halves(texts: pa.Array) -> tuple[UInt64, UInt64]:
    """Texts as little-endian numbers of 4 bytes, zeros behind them, and lengths. Shapes (m, n), (n,)."""
    words, lengths = _words(texts)
    return np.ascontiguousarray(words.view("<u4").T, np.uint64), lengths


def _words(texts: pa.Array) -> tuple[UInt64, UInt64]:
    """Texts as little-endian words of 8 bytes, zeros behind their ends, and lengths. Shapes (n, m), (n,)."""
    offsets = np.frombuffer(texts.buffers()[1], np.int32, len(texts) + 1, texts.offset * 4)
    starts, lengths = offsets[:-1].astype(np.int64), np.diff(offsets).astype(np.int64)
    first, last = int(offsets[0]), int(offsets[-1])
    if first == last:
        return np.zeros((len(texts), 0), "<u8"), lengths.astype(np.uint64)
    raw = np.zeros(last - first + _WORD, np.uint8)
    raw[: last - first] = np.frombuffer(texts.buffers()[2], np.uint8, last - first, first)
    longest = int(lengths.max())
    if int(lengths.min()) == longest:
        width = -(-longest // _WORD)
        table = np.zeros((len(texts), width * _WORD), np.uint8)
        table[:, :longest] = raw[: last - first].reshape(len(texts), longest)
        return table.view("<u8"), lengths.astype(np.uint64)
    # A word begins at any byte: overlapping views of the same bytes.
    everywhere = np.ndarray((len(raw) - _WORD + 1,), "<u8", raw.data, strides=(1,))
    words = [_word(everywhere, starts - first, lengths, at) for at in range(0, longest, _WORD)]
    return np.stack(words, axis=1).astype("<u8", copy=False), lengths.astype(np.uint64)


def _word(everywhere: UInt64, starts: Int64, lengths: Int64, at: int) -> UInt64:
    left = np.clip(lengths - at, 0, _WORD)
    found = everywhere[np.minimum(starts + at, len(everywhere) - 1)]
    return np.asarray(found & _MASKS[left], dtype=np.uint64)


_MASKS = np.array([(1 << (8 * count)) - 1 for count in range(_WORD + 1)], dtype=np.uint64)
"""What is left of a word of which so many bytes belong to the text."""


def _rounded(count: int) -> int:
    return 1 << (count - 1).bit_length()


@lru_cache(maxsize=256)
def _secrets(secret: bytes, lane: int, count: int) -> UInt64:
    """Multipliers of a lane; more of them begin with the same ones."""
    stream = hashlib.shake_256(secret + bytes([lane])).digest(8 * count)
    return np.frombuffer(stream, np.uint64)
