"""Assignment: a salted hash places every unit on [0, 1); the challenger's share is the part below `share`.

The place of a unit never changes while the salt stays, so both arms are sticky, and as the share grows a unit
can only move from the champion to the challenger, never back.
"""

from __future__ import annotations

import hashlib

_SCALE = float(1 << 64)


def place(salt: str, unit: str) -> float:
    """Where a unit lies, uniformly on [0, 1): the first 64 bits of BLAKE2b keyed with the salt."""
    raw = hashlib.blake2b(unit.encode(), digest_size=8, key=salt.encode()[:64]).digest()
    return int.from_bytes(raw, "big") / _SCALE


def goes_to_challenger(salt: str, unit: str, share: float) -> bool:
    """Whether a unit meets the challenger."""
    return place(salt, unit) < share
