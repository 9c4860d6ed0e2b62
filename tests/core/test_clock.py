from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.core import clock
from lossloop.core.clock import DAY, HOUR, LONGEST, SECOND, ManualClock, Micros, SystemClock
from lossloop.core.errors import InputError

years = st.datetimes(datetime(1900, 1, 2), datetime(2199, 12, 30))  # noqa: DTZ001 - the offset is added
offsets = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))


@pytest.mark.parametrize(
    ("text", "span"),
    [("12h", 12 * HOUR), ("3d", 3 * DAY), ("20ms", 20_000), ("1.5s", 1_500_000), (" 2 w ", 14 * DAY),
     ("0s", 0), ("7us", 7), ("36500d", LONGEST)],
)  # fmt: skip
def test_durations_are_read(text: str, span: Micros) -> None:
    assert clock.parse_duration(text) == span


@pytest.mark.parametrize("text", ["", "3", "d", "-3d", "3 days", "1h30m", "1e3s", "½d", "nan d", "3D"])
def test_what_is_no_duration_is_told_the_units(text: str) -> None:
    with pytest.raises(
        InputError, match="is not a duration; write a number and one of us, ms, s, m, h, d, w"
    ):
        clock.parse_duration(text)


@pytest.mark.parametrize("text", ["36501d", "99999999999999w", "9" * 400 + "s"])
def test_a_duration_that_leaves_the_calendar_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="is too long; a duration is at most 36500d"):
        clock.parse_duration(text)


@given(st.integers(0, LONGEST))
def test_a_duration_in_words_is_read_back(span: Micros) -> None:
    assert clock.parse_duration(clock.format_duration(span)) == span


@pytest.mark.parametrize(
    ("span", "text"),
    [(0, "0s"), (12 * HOUR, "12h"), (14 * DAY, "2w"), (3 * DAY, "3d"), (90 * SECOND, "90s"), (1, "1us")],
)
def test_a_duration_has_its_shortest_words(span: Micros, text: str) -> None:
    assert clock.format_duration(span) == text


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("1970-01-01T00:00:00Z", 0),
        ("1970-01-01T00:00:00.000001+00:00", 1),
        ("1969-12-31T19:00:00-05:00", 0),
        ("1969-12-31T23:59:59Z", -SECOND),
        ("2013-03-18T17:45:00Z", 1_363_628_700 * SECOND),
    ],
)
def test_times_are_read(text: str, moment: Micros) -> None:
    assert clock.parse_time(text) == moment


@pytest.mark.parametrize("text", ["", "yesterday", "2013-02-30T00:00:00Z", "1363628700", "2013-03-18T25:00Z"])
def test_what_is_no_time_is_told_how_one_looks(text: str) -> None:
    with pytest.raises(InputError, match="is not an ISO 8601 time, such as 2013-03-18T17:45:00Z"):
        clock.parse_time(text)


@pytest.mark.parametrize("text", ["2013-03-18", "2013-03-18T17:45:00"])
def test_a_time_without_an_offset_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="has no offset; add Z or one such as -05:00"):
        clock.parse_time(text)


@pytest.mark.parametrize(
    "text", ["0001-01-01T00:00:00+14:00", "1899-12-31T00:00:00Z", "9999-12-31T23:59:59Z"]
)
def test_a_time_far_away_is_a_mistake(text: str) -> None:
    with pytest.raises(InputError, match="lies outside the years 1900 to 2199"):
        clock.parse_time(text)


@given(years, offsets)
def test_times_survive_being_written(naive: datetime, offset: timezone) -> None:
    moment = clock.from_datetime(naive.replace(tzinfo=offset))
    assert clock.to_datetime(moment) == naive.replace(tzinfo=offset)
    assert clock.parse_time(clock.format_time(moment)) == moment
    assert clock.parse_time(naive.replace(tzinfo=offset).isoformat()) == moment


def test_a_datetime_without_a_zone_is_refused() -> None:
    with pytest.raises(InputError, match="without a time zone has no place on the clock; add tzinfo"):
        clock.from_datetime(datetime(2013, 3, 18))  # noqa: DTZ001 - that is the mistake


def test_a_time_is_short_where_it_can_be() -> None:
    assert clock.format_time(clock.from_datetime(datetime(2013, 3, 18, 17, 45, tzinfo=UTC))) == (
        "2013-03-18T17:45:00Z"
    )
    assert clock.format_time(1) == "1970-01-01T00:00:00.000001Z"


def test_the_system_clock_tells_the_time_and_never_steps_back() -> None:
    system = SystemClock()
    before = time.time_ns() // 1000
    seen = [system.now() for _ in range(1000)]
    assert seen == sorted(seen)
    assert before <= seen[0] <= seen[-1] <= time.time_ns() // 1000


@given(st.lists(st.integers(-DAY, DAY)))
def test_a_manual_clock_moves_only_forwards(moves: list[Micros]) -> None:
    manual = ManualClock(HOUR)
    for moment in moves:
        before = manual.now()
        manual.advance_to(moment)
        assert manual.now() == max(before, moment)


def test_where_the_machines_clock_steps_back_ours_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    told = iter([5_000_000, 5_001_000, 1_000_000, 1_001_000, 5_001_001, 5_003_000])
    system = SystemClock()
    monkeypatch.setattr("time.time_ns", lambda: next(told))
    assert [system.now() for _ in range(6)] == [5000, 5001, 5002, 5003, 5004, 5005]
