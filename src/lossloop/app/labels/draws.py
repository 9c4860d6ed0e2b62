"""Which predictions are drawn for an audit: decided by their ids, so that nobody has to remember it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lossloop.ledger.joined.keys import UInt64

Flags = npt.NDArray[np.bool_]

_ROUNDS = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))
_STEP, _LAST = np.uint64(0x9E3779B97F4A7C15), np.uint64(31)


def drawn(key_low: UInt64, rate: float) -> Flags:
    """Which predictions are drawn, each with the chance `rate`; at a higher rate these and more. Shape (n,).

    The keyed hash of an id is a number that no sender can choose. It is mixed once more (splitmix64: Steele,
    Lea, Flood 2014), so that a draw has nothing to do with where the hash is used else.
    """
    mixed = key_low + _STEP
    for shift, factor in _ROUNDS:
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    mixed ^= mixed >> _LAST
    return np.asarray((mixed >> np.uint64(11)) * 2.0**-53 < rate)
