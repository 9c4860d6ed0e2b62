"""Cutting a year into hours: every flight is asked about once, every outcome told once, in their order."""

from __future__ import annotations

from datetime import date

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.app.demo import flights
from lossloop.app.demo.replay import Hour, hours
from lossloop.core.clock import DAY, HOUR, MINUTE, format_time
from lossloop.registry import FeatureKind

FIRST = flights.midnight(date(2013, 3, 9))  # clocks change in the night after
LAST = FIRST + 3 * DAY

Flight = tuple[int, int | None]
"""Minutes from FIRST to departure; minutes from there to arrival, None where it never arrives."""


def table(drawn: list[Flight]) -> pa.Table:
    """Flights as `flights.load` gives them: by time, then id."""
    rows = [
        {
            "id": f"f{number:03d}", "time": FIRST + start * MINUTE,
            "outcome_time": None if length is None else FIRST + (start + length) * MINUTE,
            "late": None if length is None else number % 2,
            **{f.name: "x" if f.kind is FeatureKind.CATEGORY else float(number) for f in flights.FEATURES},
        }
        for number, (start, length) in enumerate(drawn)
    ]  # fmt: skip
    kinds = {"id": pa.string(), "time": pa.int64(), "outcome_time": pa.int64(), "late": pa.int64()}
    kinds |= {
        f.name: pa.string() if f.kind is FeatureKind.CATEGORY else pa.float64() for f in flights.FEATURES
    }
    return pa.Table.from_pylist(rows, schema=pa.schema(kinds.items())).sort_by(
        [("time", "ascending"), ("id", "ascending")]
    )


DRAWN = st.lists(
    st.tuples(st.integers(0, 3 * 24 * 60 - 1), st.none() | st.integers(1, 20 * 60)), min_size=1, max_size=40
)


@given(drawn=DRAWN)
def test_every_flight_and_every_outcome_comes_once_and_in_order(drawn: list[Flight]) -> None:
    year = table(drawn)
    cut = list(hours(year, first=FIRST, last=LAST))
    assert [row["id"] for hour in cut for row in hour.flights] == year["id"].to_pylist()
    told = [(row["time"], row["id"]) for hour in cut for row in hour.outcomes]
    arrived = [(format_time(time), id) for id, time in _arrivals(year)]
    assert told == arrived


@given(drawn=DRAWN)
def test_an_hour_asks_about_its_own_flights_and_tells_what_has_come_by_its_start(drawn: list[Flight]) -> None:
    year = table(drawn)
    arrival = dict(_arrivals(year))
    departure = dict(zip(year["id"].to_pylist(), year["time"].to_pylist(), strict=True))
    starts = []
    for hour in hours(year, first=FIRST, last=LAST):
        starts.append(hour.start)
        assert hour.flights or hour.outcomes
        assert all(hour.start <= departure[row["id"]] < hour.start + HOUR for row in hour.flights)
        assert all(hour.start - HOUR < arrival[row["id"]] <= hour.start for row in hour.outcomes)
    assert starts == sorted(set(starts))


@given(drawn=DRAWN, resumed=st.integers(0, 71))
def test_going_on_from_any_hour_leaves_nothing_out(drawn: list[Flight], resumed: int) -> None:
    year = table(drawn)
    cut = list(hours(year, first=FIRST, last=LAST))
    again = list(hours(year, first=FIRST + resumed * HOUR, last=LAST))
    assert again == [hour for hour in cut if hour.start >= FIRST + resumed * HOUR]


def _arrivals(year: pa.Table) -> list[tuple[str, int]]:
    known = [row for row in year.to_pylist() if row["outcome_time"] is not None]
    ordered = sorted(known, key=lambda row: (row["outcome_time"], row["id"]))
    return [(row["id"], row["outcome_time"]) for row in ordered]


def test_a_row_is_what_the_service_takes() -> None:
    (hour,) = hours(table([(90, None)]), first=FIRST, last=LAST)
    (row,) = hour.flights
    assert (hour.outcomes, row["id"], row["unit"]) == ([], "f000", "f000")
    assert row["time"] == "2013-03-09T06:30:00Z"
    assert set(row["features"]) == {feature.name for feature in flights.FEATURES}


@pytest.fixture(scope="module")
def march() -> list[Hour]:
    """The hours of the real March."""
    year = flights.between(flights.load(), date(2013, 3, 1), date(2013, 3, 31))
    first, last = flights.midnight(date(2013, 3, 1)), flights.midnight(date(2013, 4, 1))
    return list(hours(year, first=first, last=last))


def test_the_real_march_is_whole(march: list[Hour]) -> None:
    asked = [row["id"] for hour in march for row in hour.flights]
    told = [row["id"] for hour in march for row in hour.outcomes]
    assert len(asked) == len(set(asked)) == 28_834
    assert len(told) == len(set(told))
    assert set(told) < set(asked)
    assert len(told) == 27_902
    assert max(len(hour.flights) for hour in march) < 100, "one request an hour stays small"


def test_no_outcome_comes_before_its_flight_was_asked_about(march: list[Hour]) -> None:
    asked: set[str] = set()
    for hour in march:
        assert {row["id"] for row in hour.outcomes} <= asked
        asked |= {row["id"] for row in hour.flights}
