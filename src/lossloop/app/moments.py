"""Moments as people write them: a moment, a day of a model's time zone, or how long ago."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from lossloop.core.calendar import Calendar
from lossloop.core.clock import Micros, parse_duration, parse_time
from lossloop.core.errors import InputError

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


def moment(text: str | None, calendar: Calendar, now: Micros, field: str) -> Micros | None:
    """Read ``2013-03-18T17:45:00Z``, ``2013-03-18`` (the day's begin in the model's zone) or ``30d`` (ago).

    Raises:
        InputError: It is none of them; names the field.
    """
    if text is None:
        return None
    try:
        if text[-1:].islower():
            return now - parse_duration(text)
        if _DAY.fullmatch(text):
            return _midnight(text, calendar, days=0)
        return parse_time(text)
    except (InputError, ValueError) as error:
        raise InputError(
            f"{error}; write a moment such as 2013-03-18T17:45:00Z, a day such as 2013-03-18, "
            "or how long ago, such as 30d",
            field=field,
        ) from None


def last_moment(text: str, calendar: Calendar, now: Micros, field: str) -> Micros:
    """Likewise the end of a span, which a day belongs to: the next midnight."""
    if _DAY.fullmatch(text):
        moment(text, calendar, now, field)
        return _midnight(text, calendar, days=1)
    found = moment(text, calendar, now, field)
    assert found is not None
    return found


def _midnight(day: str, calendar: Calendar, *, days: int) -> Micros:
    local = datetime.fromisoformat(day) + timedelta(days=days)
    return parse_time(local.replace(tzinfo=ZoneInfo(calendar.zone)).isoformat())
