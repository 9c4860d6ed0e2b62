"""Values of any type become the log's types, and what cannot be read is named by its row."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.app.importing.features import Sort, features
from lossloop.app.importing.values import joined, numbers, objects, texts, times, vectors, whole
from lossloop.core.clock import format_time, parse_time
from lossloop.core.errors import InputError

CELLS = pa.binary()


def cells(*values: str | None) -> pa.Array:
    """Cells of a CSV."""
    return pa.array([None if value is None else value.encode() for value in values], CELLS)


def moments(found: pa.Array) -> list[str | None]:
    return [None if value is None else format_time(value) for value in found.cast(pa.int64()).to_pylist()]


# Texts.


@pytest.mark.parametrize(
    ("raw", "wanted"),
    [
        (cells("a", "", None, "ü"), ["a", None, None, "ü"]),
        (pa.array(["a", "", None]), ["a", None, None]),
        (pa.array(["a", "b", "a"]).dictionary_encode(), ["a", "b", "a"]),
        (pa.array(["a"], pa.large_string()), ["a"]),
        (pa.array(["a"], pa.string_view()), ["a"]),
        (pa.array([7, None], pa.int64()), ["7", None]),
        (pa.array([2**63], pa.uint64()), ["9223372036854775808"]),
        (pa.array([Decimal("12")], pa.decimal128(5, 0)), ["12"]),
        (pa.array([date(2021, 2, 3)]), ["2021-02-03"]),
        (pa.nulls(2), [None, None]),
    ],
)
def test_texts_are_read_of_any_type_that_has_one_form(raw: pa.Array, wanted: list[str | None]) -> None:
    found = texts(raw, "id")
    assert found.values.to_pylist() == wanted
    assert found.values.type == pa.string()
    assert not found.bad


def test_bytes_that_are_no_text_are_bad_by_themselves() -> None:
    found = texts(pa.array([b"a", b"\xff", b"b"], CELLS), "id")
    assert found.values.to_pylist() == ["a", None, "b"]
    assert found.bad == {1: "id is not text in UTF-8"}


def test_a_number_with_a_point_is_no_id() -> None:
    found = texts(pa.array([12.0, None]), "id")
    assert found.bad == {0: "id must be text or a whole number, not 12.0: write it as text at its source"}


def test_a_type_that_has_no_text_is_refused_as_a_whole() -> None:
    with pytest.raises(InputError, match="the column of id has type list"):
        texts(pa.array([[1]]), "id")


# Numbers.


@given(st.lists(st.floats(), min_size=1))
def test_a_number_written_out_is_read_as_it_was(values: list[float]) -> None:
    found = numbers(cells(*(f" {value!r} " for value in values)), "y_pred")
    assert np.array_equal(found.values.to_numpy(zero_copy_only=False), np.array(values), equal_nan=True)
    assert not found.bad


@given(st.lists(st.text(max_size=6), min_size=1))
def test_what_is_no_number_is_bad_and_never_ends_the_column(values: list[str]) -> None:
    found = numbers(cells(*values, "0.5"), "y_pred")
    assert found.values[len(values)].as_py() == 0.5
    for place, value in enumerate(values):
        read = found.values[place].as_py()
        assert (read is None) == (place in found.bad or not value.strip())
        if read is not None:
            assert math.isnan(read) or read == float(value)


@pytest.mark.parametrize(
    "raw",
    [
        pa.array([1, 2], pa.uint8()), pa.array([1.0, 2.0], pa.float16()), pa.array(["1", "2"]),
        pa.array([Decimal("1.00"), Decimal("2.00")]), cells("1", "+2e0"),
        pa.array(["1", "2"]).dictionary_encode(),
    ],
)  # fmt: skip
def test_numbers_are_read_of_every_type(raw: pa.Array) -> None:
    assert numbers(raw, "y_pred").values.to_pylist() == [1.0, 2.0]


def test_a_comma_or_a_word_is_named() -> None:
    found = numbers(cells("0,5", "n/a", "0.5", "1_000"), "y_pred")
    assert found.bad[0] == "y_pred must be a number, not '0,5'"
    assert sorted(found.bad) == [0, 1, 3]


def test_labels_may_be_words() -> None:
    found = numbers(
        cells("fraud", "fine", "1", "True", "F", "odd", ""), "y_true", {"fraud": 1.0, "fine": 0.0}
    )
    assert found.values.to_pylist() == [1.0, 0.0, 1.0, 1.0, 0.0, None, None]
    assert found.bad == {5: "y_true must be a number, or one of fine, fraud, not 'odd'"}


def test_a_long_value_is_not_shown_whole() -> None:
    (words,) = numbers(cells("x" * 1_000_000), "y_pred").bad.values()
    assert len(words) < 200
    assert "1,000,002 characters" in words


def test_whole_numbers() -> None:
    found = whole(cells("1", "2.0", "2.5", "x", "", "1e400"), "version")
    assert found.values.to_pylist() == [1, 2, None, None, None, None]
    assert sorted(found.bad) == [2, 3, 5]
    assert found.bad[2] == "version must be a whole number, not 2.5"
    assert whole(pa.array([True]), "version").bad
    assert whole(pa.array([3], pa.int8()), "version").values.to_pylist() == [3]


# Times.

NOON = "2021-07-01T12:00:00Z"


@pytest.mark.parametrize(
    "raw",
    [
        cells(NOON), cells("2021-07-01 14:00:00+02:00"),
        cells("2021-07-01T12:00:00.000000Z", "20210701T120000Z"),
        pa.array([datetime(2021, 7, 1, 12, tzinfo=UTC)], pa.timestamp("ns", tz="UTC")),
        pa.array([datetime(2021, 7, 1, 12, tzinfo=UTC)], pa.timestamp("s", tz="Asia/Tokyo")),
    ],
)  # fmt: skip
def test_times_that_say_their_zone_are_read(raw: pa.Array) -> None:
    found = times(raw, "time")
    assert set(moments(found.values)) == {NOON}
    assert not found.bad


@pytest.mark.parametrize(
    "raw",
    [
        cells("2021-07-01 14:00:00"), cells("2021-07-01T14:00:00.000"), cells("2021-07-01T14:00", NOON),
        pa.array([datetime(2021, 7, 1, 14)]), pa.array([datetime(2021, 7, 1, 14)], pa.timestamp("ms")),  # noqa: DTZ001
    ],
)  # fmt: skip
def test_times_without_a_zone_are_those_of_the_zone_that_is_said(raw: pa.Array) -> None:
    assert set(moments(times(raw, "time", zone="Europe/Paris").values)) == {NOON}


def test_a_date_is_its_midnight() -> None:
    for kind in (pa.date32(), pa.date64()):
        found = times(pa.array([date(2021, 7, 1)], kind), "time", zone="Europe/Paris")
        assert moments(found.values) == ["2021-06-30T22:00:00Z"]


def test_an_hour_that_a_clock_showed_twice_or_never_has_a_place() -> None:
    shown = cells("2021-10-31 02:30:00", "2021-03-28 02:30:00")
    found = moments(times(shown, "time", zone="Europe/Paris").values)
    assert found[0] == "2021-10-31T00:30:00Z"
    assert found[1] is not None
    assert found[1].startswith("2021-03-28T")


@pytest.mark.parametrize(("unit", "number"), [("s", 1e0), ("ms", 1e3), ("us", 1e6), ("ns", 1e9)])
def test_numbers_are_times_where_their_unit_is_said(unit: str, number: float) -> None:
    seconds = parse_time(NOON) // 1_000_000
    for raw in (cells(f"{seconds * number:.0f}"), pa.array([int(seconds * number)])):
        assert moments(times(raw, "time", unit=unit).values) == [NOON]


@pytest.mark.parametrize("zone", ["", "Europe/Paris"])
@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_a_timestamp_beyond_all_time_is_bad_by_itself(unit: str, zone: str) -> None:
    """Of seconds and milliseconds not all can be microseconds: the whole import ended with a traceback."""
    kind = pa.timestamp(unit, tz=None if zone else "UTC")
    found = times(pa.array([(1 << 63) - 1, 0, None, -(1 << 63) + 1], kind), "time", zone=zone)
    assert sorted(found.bad) == ([] if unit == "ns" else [0, 3])
    assert found.values.is_valid().to_pylist() == [unit == "ns", True, False, unit == "ns"]
    assert len(times(pa.array([(1 << 62)], pa.date64()), "time", zone="UTC").bad) == 1


def test_a_number_beyond_all_time_is_bad() -> None:
    found = times(pa.array([1e300, math.nan, 0.0]), "time", unit="s")
    assert sorted(found.bad) == [0, 1]
    assert found.values[2].as_py() == datetime(1970, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (
            pa.array([datetime(2021, 1, 1)]),  # noqa: DTZ001
            "the times of 'created' say no time zone; say which with --timezone, such as --timezone UTC",
        ),
        (
            pa.array([1609459200]),
            "the column 'created' has numbers; say what they count with --time-unit s, ms, us or ns",
        ),
        (pa.array([True]), "the column of time has type bool; it must be times"),
    ],
)
def test_a_column_of_times_that_nobody_can_place_is_refused(raw: pa.Array, words: str) -> None:
    with pytest.raises(InputError, match=words):
        times(raw, "time", column="created")


def test_a_text_that_is_no_time_is_bad_by_itself() -> None:
    found = times(cells(NOON, "yesterday", "2021-07-01 12:00:00", "", "0001-01-01T00:00:00Z"), "time")
    assert moments(found.values)[0] == NOON
    assert sorted(found.bad) == [1, 2, 4]
    assert found.bad[1].startswith("'yesterday' is not an ISO 8601 time")
    assert found.bad[2].endswith("or say --timezone")


# Lists, objects, ids of several columns.


def test_lists_are_columns_of_lists_columns_side_by_side_or_json() -> None:
    wanted = [[0.25, 0.75], [1.0, 0.0]]
    for raws in (
        [pa.array(wanted)], [pa.array(wanted, pa.list_(pa.float32(), 2))], [cells("[0.25,0.75]", "[1, 0]")],
        [cells("0.25", "1"), cells("0.75", "0")], [pa.array([0.25, 1.0]), pa.array([0.75, 0.0])],
    ):  # fmt: skip
        assert vectors(raws, "y_pred").values.to_pylist() == wanted


def test_a_list_that_is_none_is_bad() -> None:
    found = vectors([cells("[0.2, 0.8]", "0.2", '["a"]', "[true]", "[", "")], "y_pred")
    assert found.values.to_pylist() == [[0.2, 0.8], None, None, None, None, None]
    assert sorted(found.bad) == [1, 2, 3, 4]
    assert vectors([cells("a"), cells("0.5")], "y_pred").bad == {0: "y_pred must be a number, not 'a'"}
    with pytest.raises(InputError, match="it must be lists of numbers, or several columns"):
        vectors([pa.array([0.5])], "y_pred")


def test_objects_are_kept_as_objects() -> None:
    found = objects(cells('{"a": 1}', "[1]", "{", '{"a": 1}x'), "features")
    assert found.values.to_pylist() == ['{"a":1}', None, None, None]
    assert sorted(found.bad) == [1, 2, 3]


Parts = st.lists(st.tuples(st.text(max_size=5), st.text(max_size=5)), min_size=1)


@given(Parts)
def test_ids_of_several_columns_differ_where_the_columns_do(rows: list[tuple[str, str]]) -> None:
    raws = [cells(*(row[place] for row in rows)) for place in (0, 1)]
    found = joined(raws, ["a", "b"])
    by_id: dict[Any, tuple[str, str]] = {}
    for place, (row, id) in enumerate(zip(rows, found.values.to_pylist(), strict=True)):
        assert (id is None) == (place in found.bad) == (not all(row))
        if id is not None:
            assert by_id.setdefault(id, row) == row
    assert len(by_id) == len({row for row in rows if all(row)})


def test_an_id_of_several_columns_can_be_read() -> None:
    found = joined(
        [cells("UA", "", "A/B"), pa.array([1545, 1, 2]), cells("2013-01-01", "x", "y")], ["a", "b", "c"]
    )
    assert found.values.to_pylist() == ["UA/1545/2013-01-01", None, "A\\/B/2/y"]
    assert found.bad == {1: "a is empty, and the id is made of it"}


# Features.


def test_the_features_of_cells_are_numbers_where_the_first_ones_are() -> None:
    sorts: dict[str, Sort] = {}
    first = features(
        [cells("1", "2.5"), cells("UA", "7"), cells("", "")], ["x", "y", "z"], sorts, several=True
    )
    assert first.values.to_pylist() == [{"x": 1.0, "y": "UA", "z": None}, {"x": 2.5, "y": "7", "z": None}]
    assert first.values.type.field("z").type == pa.null()
    assert sorts == {"x": Sort.NUMBER, "y": Sort.TEXT}
    second = features([cells("a"), cells("8"), cells("q")], ["x", "y", "z"], sorts, several=True)
    assert second.values.to_pylist() == [{"x": None, "y": "8", "z": "q"}]
    assert second.bad == {0: "features.x must be a number, not 'a'"}


def test_a_declared_category_stays_text_though_it_looks_like_a_number() -> None:
    found = features([cells("01234")], ["zip"], {"zip": Sort.TEXT}, several=True)
    assert found.values.to_pylist() == [{"zip": "01234"}]


def test_features_of_typed_columns_keep_their_types() -> None:
    raws = [pa.array([1]), pa.array(["a"]), pa.array([True]), pa.array([math.nan])]
    found = features(raws, ["n", "t", "b", "f"], {}, several=True)
    assert found.values.to_pylist() == [{"n": 1.0, "t": "a", "b": True, "f": None}]


def test_features_may_be_one_column_of_structs_or_objects() -> None:
    for raw in (pa.array([{"a": 1, "b": "x"}]), pa.array(['{"a": 1, "b": "x"}'])):
        found = features([raw], ["features"], {}, several=False)
        assert str(found.values[0].as_py()) in ("{'a': 1.0, 'b': 'x'}", '{"a":1,"b":"x"}')
    with pytest.raises(InputError, match="it must be structs or JSON objects"):
        features([pa.array([1.0])], ["features"], {}, several=False)


def test_a_feature_has_the_same_type_in_every_source() -> None:
    kinds = {Sort.NUMBER: pa.float64(), Sort.TEXT: pa.string(), Sort.TRUTH: pa.bool_()}
    raws = (cells("1", ""), cells("true", None), cells("x", "y"), pa.array([1.0, math.nan]), pa.array([0, 7]),
            pa.array([True, None]), pa.array(["1", "0"]), pa.nulls(2))  # fmt: skip
    for sort, kind in kinds.items():
        for raw in raws:
            found = features([raw], ["f"], {"f": sort}, several=True)
            assert found.values.type.field("f").type == kind
            assert set(found.bad) <= {0, 1}


def test_a_truth_is_read_of_words_and_numbers() -> None:
    found = features([cells("true", "0", "F", "2", "x", "")], ["f"], {"f": Sort.TRUTH}, several=True)
    assert [each["f"] for each in found.values.to_pylist()] == [True, False, False, None, None, None]
    assert found.bad == {
        3: "features.f must be true or false, not 2.0",
        4: "features.f must be a number, not 'x'",
    }
