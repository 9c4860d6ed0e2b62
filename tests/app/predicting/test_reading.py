"""A piece of an input as rows to predict: the same rules as for a request, a column at once."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.app.importing.sources import Piece, open_file
from lossloop.app.importing.sources.arrow import ArrowSource
from lossloop.app.importing.sources.base import Malformed
from lossloop.app.predicting.reading import Held, Naming, Plan, check_columns, hold, wanted
from lossloop.core.clock import MINUTE, SECOND
from lossloop.core.errors import InputError, StateError, UnknownName
from lossloop.registry import Feature, FeatureKind
from lossloop.serve.schema import problem
from tests.app.predicting.desk import arrow, rows

NOW = 1_714_557_600_000_000  # 2024-05-01T10:00:00Z
X = Feature(name="x")
Y = Feature(name="y", nullable=True)
COLOUR = Feature(name="colour", kind=FeatureKind.CATEGORY)
SHAPE = Feature(name="shape", kind=FeatureKind.CATEGORY, nullable=True)
ALL = (X, Y, COLOUR, SHAPE)


def plan_of(features: Sequence[Feature] = (X,), **said: Any) -> Plan:
    naming = Naming(**{"id": "id", **said})
    return Plan(
        naming=naming, features=tuple(features), wanted=(), ids="batch-", began=NOW - SECOND, now=NOW
    )  # fmt: skip


def piece_of(columns: dict[str, Any], *, first: int = 1, malformed: Sequence[Malformed] = ()) -> Piece:
    arrays = {name: each if isinstance(each, pa.Array) else pa.array(each) for name, each in columns.items()}
    count = len(next(iter(arrays.values())))
    numbers = np.arange(first, first + count)
    return Piece(rows=numbers, columns=arrays, read=first + count - 1, malformed=malformed)


def held_of(columns: dict[str, Any], features: Sequence[Feature] = (X,), **said: Any) -> Held:
    return hold(piece_of(columns), plan_of(features, **said))


def reasons(held: Held) -> dict[int, tuple[str, str]]:
    return {bad.row: (bad.column, bad.reason) for bad in held.bad}


# Features.


@pytest.mark.parametrize(
    ("values", "read"),
    [
        (pa.array([1, 2], pa.int8()), [1.0, 2.0]),
        (pa.array([1 << 60, -5], pa.int64()), [float(1 << 60), -5.0]),
        (pa.array([0.5, 1e300], pa.float64()), [0.5, 1e300]),
        (pa.array([0.5, 2.0], pa.float32()), [0.5, 2.0]),
        (pa.array([True, False]), [1.0, 0.0]),
        (pa.array([b"1.5", b" 7 "]), [1.5, 7.0]),
        (pa.array(["-1e-3", "+4"]), [-0.001, 4.0]),
        (pa.array(["1", "2"]).dictionary_encode(), [1.0, 2.0]),
    ],
)
def test_numbers_of_any_type_are_floats(values: pa.Array, read: list[float]) -> None:
    held = held_of({"id": ["a", "b"], "x": values})
    assert held.features["x"].to_pylist() == read
    assert held.features["x"].type == pa.float64()
    assert not held.bad


@pytest.mark.parametrize(
    ("values", "read"),
    [
        (pa.array([b"red", "grün".encode()]), ["red", "grün"]),
        (pa.array(["a", "b"], pa.large_string()), ["a", "b"]),
        (pa.array([7, 8]), ["7", "8"]),
        (pa.array([1.5, 2.0]), ["1.5", "2"]),
        (pa.array(["a", "a"]).dictionary_encode(), ["a", "a"]),
    ],
)
def test_categories_of_any_type_are_texts(values: pa.Array, read: list[str]) -> None:
    held = held_of({"id": ["a", "b"], "colour": values}, [COLOUR])
    assert held.features["colour"].to_pylist() == read
    assert not held.bad


@pytest.mark.parametrize("missing", [None, math.nan])
def test_what_is_missing_is_null_where_it_may_be_and_bad_where_it_may_not(missing: float | None) -> None:
    columns = {"id": ["a", "b"], "x": pa.array([missing, 1.0], pa.float64(), from_pandas=False)}
    held = held_of(columns)
    assert reasons(held) == {1: ("x", "feature 'x' is missing")}
    assert held.features["x"].to_pylist() == [1.0]
    columns["y"] = columns.pop("x")
    held = held_of(columns, [Y])
    assert held.features["y"].to_pylist() == [None, 1.0]
    assert not held.bad


def test_an_empty_cell_is_missing() -> None:
    columns = {"id": ["a", "b"], "x": pa.array([b"", b"1"]), "colour": pa.array([b"red", b""])}
    held = held_of(columns, [X, COLOUR])
    assert reasons(held) == {1: ("x", "feature 'x' is missing"), 2: ("colour", "feature 'colour' is missing")}
    assert len(held) == 0


@pytest.mark.parametrize("value", [math.inf, -math.inf])
def test_infinite_numbers_are_bad(value: float) -> None:
    held = held_of({"id": ["a", "b"], "y": [value, 1.0]}, [Y])
    assert reasons(held) == {1: ("y", "feature 'y' must be a finite number")}


def test_a_column_that_is_not_there_is_null() -> None:
    held = held_of({"id": ["a"], "x": [1.0]}, ALL[:2] + ALL[3:])
    assert held.features["y"].to_pylist() == held.features["shape"].to_pylist() == [None]
    assert held.features["shape"].type == pa.string()


def test_a_type_that_is_no_feature_is_an_error() -> None:
    with pytest.raises(InputError, match="feature 'x' has type list<item: int64>; it must be numbers"):
        held_of({"id": ["a"], "x": [[1]]})
    with pytest.raises(InputError, match="feature 'colour' has type"):
        held_of({"id": ["a"], "colour": [{"a": 1}]}, [COLOUR])


def test_the_first_problem_of_a_row_is_told_with_what_stands_there() -> None:
    held = held_of({"id": ["", "b"], "x": ["one", "two"], "colour": ["", "red"]}, [X, COLOUR])
    assert reasons(held) == {
        1: ("id", "the id is empty"),
        2: ("x", "feature 'x' must be a number, not 'two'"),
    }
    assert held.bad[1].cells == {"id": "b", "x": "two", "colour": "red"}


VALUES: dict[str, st.SearchStrategy[Any]] = {
    "x": st.none() | st.floats(width=32) | st.integers(-5, 5),
    "y": st.none() | st.floats(width=32),
    "colour": st.none() | st.sampled_from(["red", "blue", "ö"]),
    "shape": st.none() | st.sampled_from(["round", "7"]),
}


@given(st.lists(st.fixed_dictionaries(VALUES), min_size=1, max_size=30))
def test_what_fits_is_what_fits_in_a_request(table: list[dict[str, Any]]) -> None:
    """NaN, which JSON does not have, is what null is there."""
    plain = [{name: None if _is_nan(value) else value for name, value in row.items()} for row in table]
    fit = [place for place, row in enumerate(plain) if problem(ALL, row, place) is None]
    columns: dict[str, Any] = {"id": [str(place) for place in range(len(table))]}
    for feature in ALL:
        kind = pa.string() if feature.kind is FeatureKind.CATEGORY else pa.float64()
        values = [row[feature.name] for row in table]
        floats = (
            [None if value is None else float(value) for value in values] if kind == pa.float64() else values
        )
        columns[feature.name] = pa.array(floats, kind)
    held = held_of(columns, ALL)
    assert held.ids.to_pylist() == [str(place) for place in fit]
    assert [bad.row - 1 for bad in held.bad] == [place for place in range(len(table)) if place not in fit]
    for feature in ALL:
        assert held.features[feature.name].to_pylist() == [plain[place][feature.name] for place in fit]


@given(st.lists(st.fixed_dictionaries(VALUES), min_size=1, max_size=30))
def test_a_csv_says_the_same_as_a_table(table: list[dict[str, Any]]) -> None:
    columns: dict[str, Any] = {"id": pa.array([f"r{place}" for place in range(len(table))])}
    for feature in ALL:
        values = [row[feature.name] for row in table]
        if feature.kind is FeatureKind.NUMBER:
            columns[feature.name] = pa.array([None if v is None else float(v) for v in values], pa.float64())
        else:
            columns[feature.name] = pa.array(values, pa.string())
    made = io.BytesIO()
    pa_csv.write_csv(pa.table(columns), made)
    options = pa_csv.ConvertOptions(column_types=dict.fromkeys(columns, pa.binary()))
    cells = pa_csv.read_csv(io.BytesIO(made.getvalue()), convert_options=options)
    plain = held_of(columns, ALL)
    read = held_of({name: cells[name].combine_chunks() for name in columns}, ALL)
    assert read.ids.equals(plain.ids)
    assert {name: each.to_pylist() for name, each in read.features.items()} == {
        name: each.to_pylist() for name, each in plain.features.items()
    }


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


# Ids, units and times.


def test_ids_that_stand_twice_in_a_piece_are_bad_the_second_time() -> None:
    held = held_of({"id": ["a", "b", "a", "a"], "x": [1.0, 2.0, 3.0, 4.0]})
    assert held.ids.to_pylist() == ["a", "b"]
    assert reasons(held) == {
        3: ("id", "row 1 has the same id 'a'"), 4: ("id", "row 1 has the same id 'a'")
    }  # fmt: skip


def test_ids_may_be_whole_numbers_and_no_fractions() -> None:
    assert held_of({"id": [1, 2], "x": [0.0, 0.0]}).ids.to_pylist() == ["1", "2"]
    with_fractions = held_of({"id": [1.5], "x": [0.0]})
    assert "must be text or a whole number" in with_fractions.bad[0].reason


def test_an_id_that_no_request_could_have_is_bad() -> None:
    held = held_of({"id": ["a" * 100_000, None], "x": [1.0, 2.0]})
    assert reasons(held) == {1: ("id", "the id is too long"), 2: ("id", "the id is empty")}


def test_ids_are_made_of_the_number_of_the_row() -> None:
    piece = piece_of({"x": [1.0, None, 3.0]}, first=41)
    held = hold(piece, plan_of(id=""))
    assert held.ids.to_pylist() == ["batch-41", "batch-43"]
    assert held.rows.tolist() == [41, 43]


def test_units_may_be_missing() -> None:
    held = held_of({"id": ["a", "b"], "x": [1.0, 2.0], "who": ["u", ""]}, unit="who")
    assert held.units is not None
    assert held.units.to_pylist() == ["u", None]


def test_without_a_column_of_times_it_is_when_the_batch_began() -> None:
    assert held_of({"id": ["a"], "x": [1.0]}).times.cast(pa.int64()).to_pylist() == [NOW - SECOND]


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (pa.array(["2024-05-01T09:00:00Z"]), {}),
        (pa.array([b"2024-05-01 11:00"]), {"timezone": "Europe/Paris"}),
        (pa.array([1_714_554_000]), {"time_unit": "s"}),
        (pa.array([1_714_554_000_000]).cast(pa.timestamp("ms", tz="UTC")), {}),
    ],
)
def test_times_are_read_as_imports_read_them(raw: pa.Array, said: dict[str, Any]) -> None:
    plan = plan_of((X,), time="when", **said)
    held = hold(piece_of({"id": ["a"], "x": [1.0], "when": raw}), plan)
    assert held.times.cast(pa.int64()).to_pylist() == [NOW - 60 * MINUTE]


def test_times_that_cannot_be_are_bad() -> None:
    raw = pa.array(["2024-05-01T12:00:00Z", "soon", "", "2024-05-01T10:00:00Z"])
    held = held_of({"id": ["a", "b", "c", "d"], "x": [1.0] * 4, "when": raw}, time="when")
    found = reasons(held)
    assert found[1] == ("when", "the time is in the future, or in no calendar")
    assert found[2][0] == "when"
    assert "'soon'" in found[2][1]
    assert found[3] == ("when", "the time is empty")
    assert held.ids.to_pylist() == ["d"]


def test_numbers_as_times_need_their_unit() -> None:
    with pytest.raises(InputError, match="say what they count with --time-unit"):
        held_of({"id": ["a"], "x": [1.0], "when": [1]}, time="when")


def test_kept_columns_lose_the_rows_that_were_rejected() -> None:
    held = held_of(
        {"id": ["a", "b", "c"], "x": [1.0, None, 3.0], "city": ["Ulm", "Bonn", None]}, keep=("city",)
    )
    assert held.kept["city"].to_pylist() == ["Ulm", None]


def test_rows_that_are_none_stand_among_the_bad_ones() -> None:
    malformed = [Malformed(row=2, reason="3 values where the first line has 2", text="b,2,3")]
    piece = Piece(
        rows=np.array([1, 3]), columns={"id": pa.array(["a", "c"]), "x": pa.array(["1", "three"])}, read=3,
        malformed=malformed,
    )  # fmt: skip
    held = hold(piece, plan_of())
    assert [(bad.row, bad.text) for bad in held.bad] == [(2, "b,2,3"), (3, "")]


# Columns of an input.


def test_only_what_is_needed_is_read_each_once() -> None:
    naming = Naming(id="id", unit="id", keep=("x", "city"))
    names = ["id", "city", "x", "other", "colour"]
    assert wanted(naming, ALL, names) == ("id", "x", "city", "colour")


@pytest.mark.parametrize(
    ("naming", "words"),
    [
        (Naming(id="ident"), "unknown column 'ident'"),
        (Naming(unit="who"), "unknown column 'who'"),
        (Naming(time="when"), "unknown column 'when'"),
        (Naming(keep=("city", "x")), "unknown column 'city'"),
    ],
)
def test_a_named_column_has_to_be_there(naming: Naming, words: str) -> None:
    with pytest.raises(UnknownName, match=words):
        check_columns(naming, [X], ["id", "x"], "a.csv")


def test_a_feature_has_to_be_there_unless_it_may_be_null() -> None:
    check_columns(Naming(), [X, Y, SHAPE], ["x"], "a.csv")
    with pytest.raises(
        InputError, match=r"a.csv has no column 'colour', which the version needs; it has: 'x'"
    ):
        check_columns(Naming(), ALL, ["x"], "a.csv")


# Arrow files.


@dataclass
class Found:
    """What a source gave."""

    rows: list[int]
    xs: list[float]
    shares: list[float | None]


def gone_through(path: Path, *, after: int = 0) -> Found:
    found = Found([], [], [])
    with closing(open_file(path)) as source:
        for piece in source.pieces(["x"], after=after):
            found.rows += piece.rows.tolist()
            found.xs += piece.columns["x"].to_pylist()
            found.shares.append(piece.share)
    return found


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("after", [0, 1, 63, 64, 65, 199, 200])
def test_an_arrow_file_goes_on_behind_any_row(tmp_path: Path, stream: bool, after: int) -> None:
    found = gone_through(arrow(tmp_path / "a.arrow", rows(200), stream=stream), after=after)
    assert found.rows == list(range(after + 1, 201))
    assert found.xs == [float(place) for place in range(after, 200)]
    assert all(share is not None and 0 < share <= 1 for share in found.shares)


def test_an_empty_arrow_file_has_columns_and_no_rows(tmp_path: Path) -> None:
    path = arrow(tmp_path / "a.feather", rows(0))
    source = open_file(path)
    assert isinstance(source, ArrowSource)
    assert source.columns() == ["id", "x", "y", "colour", "who"]
    assert gone_through(path).rows == []
    source.close()


@pytest.mark.parametrize("cut", [0.3, 0.9])
def test_a_broken_arrow_file_is_named(tmp_path: Path, cut: float) -> None:
    data = arrow(tmp_path / "a.arrow", rows(200)).read_bytes()
    (tmp_path / "b.arrow").write_bytes(data[: int(len(data) * cut)])
    with pytest.raises(InputError, match=r"b.arrow cannot be read as Arrow"):
        gone_through(tmp_path / "b.arrow")
    (tmp_path / "c.arrow").write_text(json.dumps({"x": 1}))
    with pytest.raises(InputError, match=r"c.arrow cannot be read as Arrow"):
        gone_through(tmp_path / "c.arrow")


def test_an_arrow_file_that_is_written_to_is_an_error(tmp_path: Path) -> None:
    path = arrow(tmp_path / "a.arrow", rows(200))
    source = open_file(path)
    pieces = source.pieces(["x"])
    next(pieces)
    with path.open("ab") as file:
        file.write(b"more")
    with pytest.raises(StateError, match="was changed while it was read"):
        list(pieces)
    source.close()


def test_what_is_in_a_file_names_it(tmp_path: Path) -> None:
    one, other = (open_file(arrow(tmp_path / name, rows(20))) for name in ("a.arrow", "b.arrow"))
    third = open_file(arrow(tmp_path / "c.arrow", rows(21)))
    assert one.digest() == other.digest() != third.digest()
    assert one.stamp()[0] == (tmp_path / "a.arrow").stat().st_size
    for each in (one, other, third):
        each.close()
