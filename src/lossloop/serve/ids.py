"""Ids for rows that came without one, many at once."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import numpy as np


def new_ids(
    count: int, *, now_ms: int | None = None, random: Callable[[int], bytes] = os.urandom
) -> list[str]:
    """Make UUIDs of version 7, as `core.ids.uuid7` does one by one."""
    ms = time.time_ns() // 1_000_000 if now_ms is None else now_ms
    raw = np.frombuffer(random(16 * count), np.uint8).reshape(count, 16).copy()
    raw[:, :6] = np.frombuffer(ms.to_bytes(6, "big"), np.uint8)
    raw[:, 6] = raw[:, 6] & 0x0F | 0x70
    raw[:, 8] = raw[:, 8] & 0x3F | 0x80
    text = raw.tobytes().hex()
    return [
        f"{text[at : at + 8]}-{text[at + 8 : at + 12]}-{text[at + 12 : at + 16]}-{text[at + 16 : at + 20]}"
        f"-{text[at + 20 : at + 32]}"
        for at in range(0, 32 * count, 32)
    ]
