"""Ids for rows that came without one, many at once."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


def new_ids(
    count: int, *, now_ms: int | None = None, random: Callable[[int], bytes] = os.urandom
) -> list[str]:
    """Make UUIDs of version 7, as `core.ids.uuid7` does one by one."""
    ms = time.time_ns() // 1_000_000 if now_ms is None else now_ms
    moment = f"{ms:012x}"
    head, text = f"{moment[:8]}-{moment[8:]}-7", random(10 * count).hex()
    return [
        f"{head}{text[at : at + 3]}-{_VARIANT[text[at + 3]]}{text[at + 4 : at + 7]}-{text[at + 7 : at + 19]}"
        for at in range(0, 20 * count, 20)
    ]
