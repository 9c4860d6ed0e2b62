"""Blocks follow the wall clock: days of 23 and 25 hours, half-hour changes, changes at midnight."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.core.calendar import Calendar
from lossloop.core.clock import DAY, HOUR, MINUTE, Micros, parse_time
from lossloop.core.errors import InputError

# Clocks change at 2:00; by half an hour; at midnight, forwards and back; never, at a quarter past; never.
ZONES = ("America/New_York", "Australia/Lord_Howe", "America/Sao_Paulo", "America/Havana", "Asia/Kathmandu",
         "UTC")  # fmt: skip
SPANS = (15 * MINUTE, 30 * MINUTE, HOUR, 90 * MINUTE, 6 * HOUR, DAY, 7 * DAY)
NEW_YORK = Calendar(span=DAY, zone="America/New_York")

calendars = st.builds(lambda span, zone: Calendar(span=span, zone=zone),
                      st.sampled_from(SPANS), st.sampled_from(ZONES))  # fmt: skip
moments = st.integers(parse_time("1990-01-01T00:00:00Z"), parse_time("2030-01-01T00:00:00Z"))


def block_of(calendar: Calendar, moment: Micros) -> int:
    return int(calendar.blocks(np.array([moment]))[0])


def hours_of_day(day: str, zone: str) -> float:
    """How long a local day lasts by the ends of it and of the day before."""
    calendar = Calendar(span=DAY, zone=zone)
    block = parse_time(f"{day}T00:00:00Z")  # a block is the wall clock's time as if it were UTC
    return (calendar.end(block) - calendar.end(block - DAY)) / HOUR


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("America/New_York", "2013-03-09", 24.0),
        ("America/New_York", "2013-03-10", 23.0),
        ("America/New_York", "2013-11-03", 25.0),
        ("Australia/Lord_Howe", "2013-04-07", 24.5),
        ("Australia/Lord_Howe", "2013-10-06", 23.5),
        ("America/Havana", "2013-11-03", 25.0),
        ("America/Sao_Paulo", "2013-10-20", 23.0),
        ("America/Sao_Paulo", "2013-02-16", 25.0),
        ("UTC", "2013-03-10", 24.0),
    ],
)
def test_days_on_which_clocks_change_are_shorter_or_longer(zone: str, day: str, hours: float) -> None:
    assert hours_of_day(day, zone) == hours


@pytest.mark.parametrize(
    ("moment", "label"),
    [
        ("2013-03-01T04:59:59Z", "2013-02-28"),
        ("2013-03-01T05:00:00Z", "2013-03-01"),
        ("2013-07-01T03:59:59Z", "2013-06-30"),
        ("2013-07-01T04:00:00Z", "2013-07-01"),
    ],
)
def test_a_day_begins_at_local_midnight(moment: str, label: str) -> None:
    assert NEW_YORK.label(block_of(NEW_YORK, parse_time(moment))) == label


def test_the_end_of_a_day_is_the_next_local_midnight() -> None:
    block = block_of(NEW_YORK, parse_time("2013-03-10T12:00:00Z"))
    assert NEW_YORK.end(block) == parse_time("2013-03-11T04:00:00Z")


@given(calendars, moments)
def test_a_moment_lies_in_its_block(calendar: Calendar, moment: Micros) -> None:
    block = block_of(calendar, moment)
    assert moment < calendar.end(block), "the block was over before its moment"
    assert calendar.end(block) - moment <= calendar.span + 2 * HOUR


@given(st.sampled_from(ZONES), moments)
def test_the_next_day_begins_where_a_day_ends(zone: str, moment: Micros) -> None:
    calendar = Calendar(span=DAY, zone=zone)
    block = block_of(calendar, moment)
    assert block_of(calendar, calendar.end(block) - 1) == block
    assert block_of(calendar, calendar.end(block)) == block + DAY


@given(st.sampled_from(ZONES), st.lists(moments, max_size=20))
def test_days_rise_with_time_and_do_not_depend_on_their_batch(zone: str, times: list[Micros]) -> None:
    calendar = Calendar(span=DAY, zone=zone)
    blocks = calendar.blocks(np.array(sorted(times), dtype=np.int64))
    assert blocks.tolist() == sorted(blocks.tolist())
    assert blocks.tolist() == [block_of(calendar, moment) for moment in sorted(times)]


def test_an_hour_that_comes_twice_is_one_block_that_is_over_after_the_second() -> None:
    half_hours = Calendar(span=30 * MINUTE, zone="America/New_York")
    first, again = parse_time("2013-11-03T05:10:00Z"), parse_time("2013-11-03T06:10:00Z")
    assert block_of(half_hours, first) == block_of(half_hours, again)
    assert half_hours.end(block_of(half_hours, first)) == parse_time("2013-11-03T06:30:00Z")


def test_clocks_may_change_at_half_past_by_utc() -> None:
    half_hours = Calendar(span=30 * MINUTE, zone="Australia/Lord_Howe")
    before, after = parse_time("2013-10-05T15:29:00Z"), parse_time("2013-10-05T15:31:00Z")
    assert half_hours.label(block_of(half_hours, before)) == "2013-10-06 01:30"
    assert half_hours.label(block_of(half_hours, after)) == "2013-10-06 02:30"


def test_blocks_shorter_than_a_day_say_their_time() -> None:
    hourly = Calendar(span=HOUR)
    assert hourly.label(block_of(hourly, parse_time("2013-03-01T17:45:00Z"))) == "2013-03-01 17:00"


@pytest.mark.parametrize("zone", ["America/Newyork", "../../etc/passwd", "", "America", "/etc/localtime"])
def test_an_unknown_zone_is_refused(zone: str) -> None:
    with pytest.raises(
        InputError, match=r"there is no time zone .*; write one such as America/New_York"
    ) as e:
        Calendar(span=DAY, zone=zone)
    assert e.value.field == "timezone"


@pytest.mark.parametrize("span", [0, -DAY])
def test_a_block_must_last(span: Micros) -> None:
    with pytest.raises(InputError, match="must last longer than nothing; write one such as 1d") as caught:
        Calendar(span=span)
    assert caught.value.field == "block"
