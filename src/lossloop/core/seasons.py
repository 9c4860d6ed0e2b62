"""Seasons: hours of the day, days of the week and months, by the wall clock."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import numpy as np

from lossloop.core.clock import DAY, HOUR, Micros

Int64 = np.ndarray[Any, np.dtype[np.int64]]


class Season(StrEnum):
    """What comes round again."""

    HOUR = "hour"
    """Hours of the day, ``0`` to ``23``."""
    WEEKDAY = "weekday"
    """Days of the week, ``mon`` to ``sun``."""
    MONTH = "month"
    """Months, ``jan`` to ``dec``."""

    @property
    def names(self) -> tuple[str, ...]:
        """What its parts are called, in order."""
        return _NAMES[self]

    @property
    def span(self) -> Micros:
        """Within a span of this length, or a part of it, the season does not change."""
        return HOUR if self is Season.HOUR else DAY

    def parts(self, local: Int64) -> Int64:
        """The place in `names` of moments on the wall clock, microseconds since 1970. Shape (n,)."""
        if self is Season.HOUR:
            return local // HOUR % 24
        days = local // DAY
        if self is Season.WEEKDAY:
            return (days + _THURSDAY) % 7
        return days.astype("datetime64[D]").astype("datetime64[M]").astype(np.int64) % 12


_THURSDAY = 3
"""What day of the week the first of 1970 was, from Monday."""
_NAMES: dict[Season, tuple[str, ...]] = {
    Season.HOUR: tuple(map(str, range(24))),
    Season.WEEKDAY: ("mon", "tue", "wed", "thu", "fri", "sat", "sun"),
    Season.MONTH: (
        "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
    ),
}  # fmt: skip
