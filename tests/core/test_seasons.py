"""Hours, weekdays and months, told from the wall clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.core.calendar import Calendar
from lossloop.core.clock import DAY, HOUR, from_datetime
from lossloop.core.seasons import Season

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
moments = st.integers(-(10**15), 4 * 10**15)


@given(moments)
def test_parts_are_those_of_the_calendar(moment: int) -> None:
    wall = EPOCH + timedelta(microseconds=moment)
    local = np.array([moment])
    assert Season.HOUR.parts(local).tolist() == [wall.hour]
    assert Season.WEEKDAY.parts(local).tolist() == [wall.weekday()]
    assert Season.MONTH.parts(local).tolist() == [wall.month - 1]


@given(moments, st.sampled_from(Season))
def test_a_season_does_not_change_within_its_span(moment: int, season: Season) -> None:
    start = moment // season.span * season.span
    parts = season.parts(np.array([start, moment, start + season.span - 1]))
    assert len(set(parts.tolist())) == 1
    assert 0 <= parts[0] < len(season.names)


def test_every_part_has_a_name_and_comes() -> None:
    year = np.arange(0, 366 * DAY, HOUR)
    for season, count in ((Season.HOUR, 24), (Season.WEEKDAY, 7), (Season.MONTH, 12)):
        assert len(set(season.names)) == count
        assert set(season.parts(year).tolist()) == set(range(count))
    assert Season.WEEKDAY.names[0] == "mon"
    assert Season.MONTH.names[11] == "dec"
    assert Season.HOUR.names[23] == "23"


@pytest.mark.parametrize(
    ("zone", "utc", "hour", "weekday"),
    [
        ("UTC", datetime(2024, 1, 1, 0, 30, tzinfo=UTC), 0, "mon"),
        ("America/New_York", datetime(2024, 1, 1, 0, 30, tzinfo=UTC), 19, "sun"),
        ("Asia/Kolkata", datetime(2024, 6, 30, 19, 0, tzinfo=UTC), 0, "mon"),
        ("America/New_York", datetime(2024, 3, 10, 7, 30, tzinfo=UTC), 3, "sun"),  # an hour was left out
    ],
)
def test_the_wall_clock_is_that_of_the_zone(zone: str, utc: datetime, hour: int, weekday: str) -> None:
    moment = np.array([from_datetime(utc)])
    assert Season.HOUR.parts(Calendar(span=HOUR, zone=zone).blocks(moment)).tolist() == [hour]
    place = int(Season.WEEKDAY.parts(Calendar(span=DAY, zone=zone).blocks(moment))[0])
    assert Season.WEEKDAY.names[place] == weekday
