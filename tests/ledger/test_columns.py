"""Columns: what Arrow says becomes numbers and back, and a part of a table grows at its end."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.ledger.joined import columns as ours
from lossloop.ledger.joined.columns import (
    LABEL,
    NEVER,
    ROW,
    Array,
    Part,
    batch_of,
    columns_of,
    numbers,
    widened,
)
from lossloop.ledger.joined.filter import bits_of

nan = math.nan
floats = st.floats(allow_nan=False)
some_lists = st.lists(st.none() | st.lists(floats | st.none(), min_size=1, max_size=5), max_size=8)


def same(one: Any, other: Any) -> bool:
    return np.array_equal(np.asarray(one, np.float64), np.asarray(other, np.float64), equal_nan=True)


# From Arrow and back.


@given(st.lists(floats | st.none(), max_size=9), st.sampled_from([pa.float64(), pa.float32(), pa.int64()]))
def test_numbers_come_as_they_are_and_none_is_nan(values: list[float | None], kind: pa.DataType) -> None:
    if kind != pa.float64():
        values = [
            None if value is None else float(int(value) % 1000)
            for value in values
            if value is None or math.isfinite(value)
        ]
    found = numbers(pa.array(values, kind))
    assert (found.dtype, found.shape) == (np.dtype(np.float64), (len(values),))
    assert same(found, [nan if value is None else value for value in values])


@given(some_lists, st.integers(0, 8), st.sampled_from([pa.list_, pa.large_list]))
def test_lists_are_filled_up_to_the_longest(
    values: list[list[float | None] | None], start: int, kind: Any
) -> None:
    found = numbers(pa.array(values, kind(pa.float64())).slice(start))
    rows = values[start:]
    assert found.shape == (len(rows), max([1, *(len(row) for row in rows if row)]))
    for got, row in zip(found.tolist(), rows, strict=True):
        wanted = [nan if value is None else value for value in row or []]
        assert same(got, wanted + [nan] * (found.shape[1] - len(wanted)))


@given(st.lists(st.none() | st.tuples(floats, floats), max_size=8), st.integers(0, 8))
def test_lists_of_one_length_may_be_missing_too(values: list[tuple[float, float] | None], start: int) -> None:
    found = numbers(pa.array(values, pa.list_(pa.float64(), 2)).slice(start))
    rows = [row or (nan, nan) for row in values[start:]]
    assert same(widened(found, 2), np.array(rows).reshape(len(rows), 2))


def test_pieces_of_a_column_are_one() -> None:
    assert numbers(pa.chunked_array([[1.0], [2.0, None]]))[:2].tolist() == [1.0, 2.0]
    assert numbers(pa.chunked_array([[[1.0]], [[2.0, 3.0]]]))[1].tolist() == [2.0, 3.0]


@given(st.integers(1, 5), st.integers(0, 6))
def test_what_is_stored_is_read_again(width: int, count: int) -> None:
    made: dict[str, Array] = {
        "key_low": np.arange(count, dtype=np.uint64) + np.uint64(1 << 63),
        "role": np.arange(count, dtype=np.int8),
        "y_pred": np.where(np.arange(count * width) % 3, 0.5, nan).reshape(count, width),
        "y_true": np.full(count, nan),
    }
    found = columns_of(batch_of(made))
    assert list(found) == list(made)
    for name, values in made.items():
        assert (found[name].dtype, found[name].shape) == (values.dtype, values.shape)
        assert same(found[name], values)


@pytest.mark.parametrize(
    ("values", "width"), [([1.0, nan], 1), ([1.0, nan], 3), ([[1.0, 2.0]], 2), ([[1.0, 2.0]], 4)]
)
def test_numbers_widen_to_lists(values: Any, width: int) -> None:
    found, rows = widened(np.array(values), width), np.array(values).reshape(len(values), -1)
    assert found.shape == (len(values), width)
    assert same(found[:, : rows.shape[1]], rows)
    assert np.isnan(found[:, rows.shape[1] :]).all()


# A part of a table.


def rows(start: int, count: int, **more: Any) -> dict[str, Array]:
    """Predictions with different keys."""
    every = np.arange(start, start + count)
    return {
        "key_high": every.astype(np.uint64) + np.uint64(1),
        "key_low": every.astype(np.uint64) * np.uint64(7),
        "version": np.ones(count, np.int64),
        "at": every * 10,
        "time": every,
        "block": every // 5,
        "y_pred": every / 10,
        "content": every,
        **{name: np.array(values) for name, values in more.items()},
    }


def never(start: int, end: int) -> Any:
    raise AssertionError("a part that lies in memory was read again")


def test_a_new_row_says_nothing_but_what_it_says() -> None:
    part = Part(100, never)
    part.append(rows(0, 3), 0, 3)
    assert (part.first, part.end, part.count) == (100, 103, 3)
    for name, (dtype, empty) in {**ROW, **LABEL}.items():
        column = part.column(name)
        assert (column.dtype, column.shape) == (np.dtype(dtype), (3,))
        if name not in rows(0, 3):
            assert same(column, [empty] * 3)
    assert part.column("labelled_at").tolist() == [NEVER] * 3


def test_a_column_that_nobody_speaks_of_takes_no_memory() -> None:
    part = Part(0, never)
    part.append(rows(0, 3, propensity=[1.0] * 3, unit=[0, 0, 0]), 0, 3)
    assert {"propensity", "unit", "shadow_y_pred"}.isdisjoint(part.arrays(0, 3))
    part.append(rows(3, 2, propensity=[1.0, 0.5]), 0, 2)
    part.append(rows(5, 300), 0, 300)
    assert part.column("propensity").tolist() == [1.0] * 4 + [0.5] + [1.0] * 300
    assert part.arrays(3, 5)["propensity"].tolist() == [1.0, 0.5]


def test_only_some_rows_of_a_batch_are_added() -> None:
    part = Part(0, never)
    part.append(rows(0, 10), 2, 5)
    assert part.column("time").tolist() == [2, 3, 4]
    assert part.arrays(1, 3)["time"].tolist() == [3, 4]


@given(st.lists(st.tuples(st.integers(1, 400), st.integers(1, 4)), min_size=1, max_size=5))
def test_predictions_get_as_wide_as_the_widest(batches: list[tuple[int, int]]) -> None:
    part, wanted = Part(0, never), []
    for count, width in batches:
        vectors = np.arange(count * width, dtype=np.float64).reshape(count, width)
        part.append(rows(part.count, count, y_pred=vectors[:, 0] if width == 1 else vectors), 0, count)
        wanted += vectors.tolist()
    found = widened(part.column("y_pred"), 4).tolist()
    assert same(found, [vector + [nan] * (4 - len(vector)) for vector in wanted])
    assert part.find(*keys_of(rows(0, part.count))).tolist() == list(range(part.count))


def test_values_are_put_where_they_belong() -> None:
    part = Part(0, never)
    part.append(rows(0, 4), 0, 4)
    part.put("y_true", np.array([2, 0]), np.array([1.0, 0.5]))
    assert same(part.column("y_true"), [0.5, nan, 1.0, nan])
    part.put("y_true", np.array([1]), np.array([[3.0, 4.0]]))
    assert same(part.column("y_true"), [[0.5, nan], [3, 4], [1, nan], [nan, nan]])
    part.put("y_true", np.array([1]), np.array([7.0]))
    assert same(part.column("y_true")[1], [7, nan])


@given(
    large=st.sampled_from([2, 8, 300]), narrow=st.sampled_from([1, 8]),
    batches=st.lists(st.tuples(st.integers(1, 200), st.sampled_from([1, 2, 9])), min_size=1, max_size=6),
)  # fmt: skip
def test_a_part_grows_without_changing_a_row(large: int, narrow: int, batches: list[tuple[int, int]]) -> None:
    """Whether a column has room for all at once, as of some size, or a little more each time."""
    with pytest.MonkeyPatch.context() as patched:
        for name, value in (("_LARGE", large), ("_NARROW", narrow), ("_LEAST", 2), ("PART_ROWS", 1000)):
            patched.setattr(ours, name, value)
        part, wanted = Part(0, never), np.empty((0, 9))
        for count, width in batches:
            if count > part.room:
                break
            start = part.count
            vectors = np.arange(start, start + count)[:, None] + np.arange(width) / 10.0
            part.append(rows(start, count, y_pred=vectors), 0, count)
            part.put("y_true", np.array([start]), np.array([start / 2]))
            wanted = np.concatenate([wanted, widened(vectors, 9)])
        every = np.arange(part.count)
        assert same(widened(part.column("y_pred"), 9), wanted)
        assert part.column("time").tolist() == every.tolist()
        assert part.find(*keys_of(rows(0, part.count))).tolist() == every.tolist()
        labelled = ~np.isnan(part.column("y_true"))
        assert same(part.column("y_true")[labelled], every[labelled] / 2)
        assert labelled.sum() <= len(batches)
        assert (part.column("labelled_at") == NEVER).all()


def test_a_part_may_hold_what_it_holds_and_hardly_anything_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ours, "_LARGE", 1000)
    part, low = Part(0, never), np.random.default_rng(0).integers(1, 1 << 64, 40_000, np.uint64)
    for start in range(0, 3000, 500):
        part.append(rows(start, 500, key_low=low[start : start + 500]), 0, 500)
        held, others = low[: start + 500], low[30_000:]
        assert part.may_hold(held, held, bits_of(held)).all()
        beyond = np.count_nonzero(part.may_hold(others, others, bits_of(others)))
        assert beyond == len(others) if start + 500 <= 1000 else beyond < 10, "small parts have no filter"


def keys_of(columns: Mapping[str, Array]) -> tuple[Array, Array]:
    return columns["key_high"], columns["key_low"]


# A part that leaves memory.


def closed(monkeypatch: pytest.MonkeyPatch, readings: list[tuple[int, int]]) -> Part:
    """A full part of 6 rows from row 12 on, with two labels; each reading of it is noted."""
    monkeypatch.setattr(ours, "PART_ROWS", 6)

    def read(start: int, end: int) -> tuple[list[dict[str, Array]], list[dict[str, Array]]]:
        readings.append((start, end))
        label = {
            "y_true": np.array([1.0, 0.0]),
            "judged": np.array([1.0, 0.5]),
            "labelled_at": np.array([9, 9]),
        }
        return [rows(0, 2), rows(2, 4, unit=[0, 5, 0, 0])], [{"seq": np.array([14, 18]), **label}]

    part = Part(12, read)
    part.append(rows(0, 2), 0, 2)
    part.append(rows(2, 4, unit=[0, 5, 0, 0]), 0, 4)
    part.close()
    return part


def test_a_closed_part_knows_its_end_and_what_it_has_not_without_reading(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    readings: list[tuple[int, int]] = []
    part = closed(monkeypatch, readings)
    assert (part.is_closed, part.room, part.end) == (True, 0, 18)
    assert (part.last("at"), part.last("block")) == (50, 1)
    high, low = keys_of(rows(1000, 3))
    assert not part.may_hold(high, low, bits_of(low)).any()
    assert not readings


def test_a_closed_part_is_read_once_when_it_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    readings: list[tuple[int, int]] = []
    part = closed(monkeypatch, readings)
    assert part.find(*keys_of(rows(4, 1))).tolist() == [4]
    assert part.column("unit").tolist() == [0, 0, 0, 5, 0, 0]
    assert same(part.column("y_true"), [nan, 1, nan, nan, nan, 0])
    assert part.column("labelled_at").tolist() == [NEVER, 9, NEVER, NEVER, NEVER, 9]
    assert (part.is_closed, part.end, readings) == (False, 18, [(12, 18)])
    part.close()
    part.put("y_true", np.array([0]), np.array([3.0]))
    assert same(part.column("y_true"), [3, 1, nan, nan, nan, 0])
    assert readings == [(12, 18)] * 2


def test_new_ids_do_not_make_anybody_read_closed_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many come: reading one part takes as long as folding a hundred frames."""
    monkeypatch.setattr(ours, "PART_ROWS", 20_000)
    high, low = np.random.default_rng(1).integers(1, 1 << 64, (2, 420_000), np.uint64)
    part = Part(0, never)
    part.append(rows(0, 20_000, key_high=high[:20_000], key_low=low[:20_000]), 0, 20_000)
    part.close()
    bits = bits_of(low)
    assert part.may_hold(high[:20_000], low[:20_000], bits[:20_000]).all()
    assert not part.may_hold(high[20_000:], low[20_000:], bits[20_000:]).any()


def has_filter(part: Part) -> bool:
    return part._filter is not None


def test_keys_are_filtered_when_they_are_asked_for_and_not_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who only looks at rows in order pays nothing; what comes later is there for the next."""
    monkeypatch.setattr(ours, "PART_ROWS", 20)
    part = Part(0, never)
    part.append(rows(0, 19), 0, 19)
    assert part.column("at").size == 19
    assert not has_filter(part)
    part.append(rows(19, 1), 0, 1)
    high, low = keys_of(rows(0, 20))
    assert part.may_hold(high, low, bits_of(low)).all()
    assert has_filter(part)
    part.close()
    assert part.may_hold(high, low, bits_of(low)).all()


def test_the_part_that_was_asked_last_has_the_latest_use() -> None:
    one, other = Part(0, never), Part(10, never)
    for part in (one, other):
        part.append(rows(0, 3), 0, 3)
    one.column("at")
    other.column("at")
    assert one.used < other.used
    one.put("y_true", np.array([0]), np.array([1.0]))
    assert one.used > other.used
