"""Blocks: the spans of local time over which dependent rows are averaged before they are judged."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property, lru_cache
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np

from lossloop.core.clock import HOUR, MINUTE, SECOND, Micros, from_datetime, to_datetime
from lossloop.core.errors import InputError

Int64 = np.ndarray[Any, np.dtype[np.int64]]
Block = int
"""A block's start, as microseconds since 1970 on the wall clock of its time zone."""


@dataclass(frozen=True, kw_only=True)
class Calendar:
    """Cuts time into blocks of `span`, by the wall clock of `zone`.

    Raises:
        InputError: The zone has no such name, or the span is not positive.
    """

    span: Micros
    zone: str = "UTC"

    def __post_init__(self) -> None:
        if self.span <= 0:
            raise InputError("a block must last longer than nothing; write one such as 1d", field="block")
        try:
            ZoneInfo(self.zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise InputError(
                f"there is no time zone {self.zone!r}; write one such as America/New_York", field="timezone"
            ) from None

    @cached_property
    def _zone(self) -> ZoneInfo:
        return ZoneInfo(self.zone)

    def blocks(self, moments: Int64) -> Int64:
        """The block of each moment. Shape (n,) to (n,)."""
        steps, inverse = np.unique(moments // _STEP, return_inverse=True)
        offsets = np.array([_offset(self.zone, int(step)) for step in steps], dtype=np.int64)
        local = moments + offsets[inverse] if len(moments) else moments
        return local // self.span * self.span

    def end(self, block: Block) -> Micros:
        """The moment at which a block is over. Where clocks change in it, it is longer or shorter."""
        wall = datetime(1970, 1, 1, tzinfo=self._zone) + timedelta(microseconds=block + self.span)
        # Where clocks go back, a short block comes twice: it is over when its last moment has come again.
        last = (wall - timedelta(microseconds=1)).replace(fold=1)
        return max(from_datetime(wall.astimezone(UTC)), from_datetime(last.astimezone(UTC)) + 1)

    def label(self, block: Block) -> str:
        """The block in words: its local day, and the time where blocks are shorter than a day."""
        wall = to_datetime(block)
        return wall.strftime("%Y-%m-%d") if block % (24 * HOUR) == 0 else wall.strftime("%Y-%m-%d %H:%M")


_STEP = 15 * MINUTE
"""Clocks are changed at full quarters of an hour, not everywhere at full hours."""


@lru_cache(maxsize=100_000)
def _offset(zone: str, step: int) -> Micros:
    offset = to_datetime(step * _STEP).astimezone(ZoneInfo(zone)).utcoffset()
    return 0 if offset is None else round(offset.total_seconds()) * SECOND
