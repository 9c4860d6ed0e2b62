"""Parts of a table that do not lie in memory: whether they may have an id is known without reading them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lossloop.core.calendar import Block
from lossloop.core.clock import Micros
from lossloop.ledger.joined.keys import UInt64

Bools = npt.NDArray[np.bool_]

_BITS_A_ROW = 16
_PROBES = 4


class Filter:
    """A Bloom filter over keys: it never says no of a key that it holds, and yes of 1 in 400 others.

    Args:
        low: The low halves of the keys; they are random numbers already. Shape (n,).
    """

    def __init__(self, low: UInt64) -> None:
        size = 1 << max(len(low) * _BITS_A_ROW - 1, 7).bit_length()
        self._mask = np.uint64(size - 1)
        bits = np.zeros(size, dtype=bool)
        for place in self._places(low):
            bits[place] = True
        self._bytes = np.packbits(bits, bitorder="little")

    def may_hold(self, low: UInt64) -> Bools:
        """Whether each key may be there. Shape (n,)."""
        found = np.ones(len(low), dtype=bool)
        for place in self._places(low):
            found &= (self._bytes[place >> np.uint64(3)] >> (place & np.uint64(7)).astype(np.uint8)) & 1 > 0
        return found

    def _places(self, low: UInt64) -> list[UInt64]:
        """Two halves of a key make as many places as are wanted (Kirsch and Mitzenmacher, 2006)."""
        step = (low >> np.uint64(32)) | np.uint64(1)
        return [(low + np.uint64(number) * step) & self._mask for number in range(_PROBES)]


@dataclass(frozen=True, kw_only=True, slots=True)
class Closed:
    """What is kept in memory of a part whose rows are not."""

    filter: Filter
    last_at: Micros
    last_block: Block
