"""Identifiers: UUIDv7 for facts, short content digests for what never changes."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from uuid import UUID


def uuid7(*, now_ms: int | None = None, random: Callable[[int], bytes] = os.urandom) -> UUID:
    """Make a UUID of version 7 (RFC 9562): 48 bits of milliseconds, then 74 random bits.

    Ids made later sort later, to the millisecond, so an index over them stays append-mostly.
    """
    ms = time.time_ns() // 1_000_000 if now_ms is None else now_ms
    tail = int.from_bytes(random(10), "big")
    rand_a = (tail >> 62) & 0xFFF
    rand_b = tail & ((1 << 62) - 1)
    return UUID(int=(ms & ((1 << 48) - 1)) << 80 | 0x7 << 76 | rand_a << 64 | 0b10 << 62 | rand_b)


def new_id() -> str:
    """A fresh id for a fact that came without one."""
    return str(uuid7())


def digest(*parts: bytes | str) -> str:
    """Hex BLAKE2b-256 over the parts, each preceded by its length (so that no two splits collide)."""
    state = hashlib.blake2b(digest_size=32)
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        state.update(len(raw).to_bytes(8, "big"))
        state.update(raw)
    return state.hexdigest()
