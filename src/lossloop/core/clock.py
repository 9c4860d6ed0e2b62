"""Time: microseconds since 1970 in UTC, an injectable clock, and durations in words.

Live use follows the receipt time, which callers cannot choose. Only a replay trusts event times: its
clock stands where the latest event stands, so the same events give the same decisions at any speed.
"""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from typing import Annotated, Protocol

from lossloop.core.errors import InputError

Micros = int
"""Microseconds since 1970-01-01T00:00:00Z."""
Duration = Annotated[Micros, "duration"]
"""A span in microseconds, written ``12h``."""

SECOND: Micros = 1_000_000
MINUTE: Micros = 60 * SECOND
HOUR: Micros = 60 * MINUTE
DAY: Micros = 24 * HOUR
FUTURE_TOLERANCE: Micros = 5 * MINUTE
"""How far ahead of the receipt time an event may claim to be, in live use."""
LONGEST: Micros = 36_500 * DAY
"""The longest duration that can be written, so that no sum of times leaves the calendar."""
FIRST_YEAR, LAST_YEAR = 1900, 2199

_UNITS = {"us": 1, "ms": 1000, "s": SECOND, "m": MINUTE, "h": HOUR, "d": DAY, "w": 7 * DAY}
_DURATION = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(us|ms|s|m|h|d|w)\s*")


class Clock(Protocol):
    """Anything that tells the time."""

    def now(self) -> Micros:
        """The present, in microseconds since 1970 UTC."""
        ...


class SystemClock:
    """The machine's clock, never stepping back within one process.

    Where the machine's own does, this one goes on by a microsecond each time that it is asked, until the
    other has caught up.
    """

    def __init__(self) -> None:
        self._last = 0

    def now(self) -> Micros:
        told = time.time_ns() // 1000
        self._last = told if told >= self._last else self._last + 1
        return self._last


class ManualClock:
    """A clock that stands still until it is moved: for tests and replays."""

    def __init__(self, now: Micros = 0) -> None:
        self._now = now

    def now(self) -> Micros:
        return self._now

    def advance_to(self, moment: Micros) -> None:
        """Move forward; an earlier moment leaves the clock where it is."""
        self._now = max(self._now, moment)


def parse_duration(text: str) -> Micros:
    """Read ``12h``, ``3d``, ``20ms``; raise InputError that lists the units otherwise."""
    match = _DURATION.fullmatch(text)
    if match is None:
        raise InputError(
            f"{text!r} is not a duration; write a number and one of {', '.join(_UNITS)}, such as 12h"
        )
    span = float(match[1]) * _UNITS[match[2]]
    if span > LONGEST:
        raise InputError(f"{text!r} is too long; a duration is at most {LONGEST // DAY}d")
    return round(span)


def format_duration(span: Micros) -> str:
    """The shortest exact words for a duration: ``12h`` rather than ``0.5d``."""
    if span == 0:
        return "0s"
    for name in ("w", "d", "h", "m", "s", "ms"):
        if span % _UNITS[name] == 0:
            return f"{span // _UNITS[name]}{name}"
    return f"{span}us"


def parse_time(text: str) -> Micros:
    """Read an ISO 8601 time with an offset or Z; raise InputError for anything else."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(f"{text!r} is not an ISO 8601 time, such as 2013-03-18T17:45:00Z") from None
    if moment.tzinfo is None:
        raise InputError(f"{text!r} has no offset; add Z or one such as -05:00")
    if not FIRST_YEAR <= moment.year <= LAST_YEAR:
        raise InputError(f"{text!r} lies outside the years {FIRST_YEAR} to {LAST_YEAR}")
    return from_datetime(moment)


def from_datetime(moment: datetime) -> Micros:
    """Microseconds of an aware datetime; exact, since no float is involved."""
    if moment.tzinfo is None:
        raise InputError("a datetime without a time zone has no place on the clock; add tzinfo")
    delta = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (delta.days * 86_400 + delta.seconds) * SECOND + delta.microseconds


def to_datetime(moment: Micros) -> datetime:
    """The aware UTC datetime of a moment."""
    whole, micros = divmod(moment, SECOND)
    return datetime.fromtimestamp(whole, UTC).replace(microsecond=micros)


def format_time(moment: Micros) -> str:
    """ISO 8601 in UTC; seconds unless there are microseconds: ``2013-03-18T17:45:00Z``."""
    return to_datetime(moment).isoformat().replace("+00:00", "Z")
