"""Streams: whatever is appended in whatever sizes is read again in order, from few chunks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossloop.ledger.joined import stream as ours
from lossloop.ledger.joined.columns import Array
from lossloop.ledger.joined.stream import Stream, stacked
from lossloop.ledger.sqlite.state import State

EMPTY = {"unit": 0, "y_pred": np.nan}
sizes = st.lists(st.integers(0, 70) | st.sampled_from([0, 1, 5, 40, 41, 300]), max_size=40)


def new() -> State:
    return State(Path(":memory:"))


def rows(start: int, count: int, *, unit: bool = False, width: int = 0) -> dict[str, Array]:
    """Columns whose rows can be told apart; `unit` may be left out, and `y_pred` be lists."""
    x = np.arange(start, start + count)
    made: dict[str, Array] = {"x": x, "y_pred": np.repeat(x[:, None] / 2, width, 1) if width else x / 2}
    return {**made, "unit": x + 1} if unit else made


def read(store: State, name: str = "s") -> dict[str, Array]:
    return stacked(list(Stream(store, name, EMPTY).read()), EMPTY)


def cuts(store: State) -> list[tuple[int, int]]:
    return [(chunk.first, chunk.end) for chunk in store.chunks("s")]


@settings(max_examples=60)
@given(sizes=sizes, restarts=st.sets(st.integers(0, 40)), gathered=st.integers(2, 5))
def test_what_is_appended_is_read_in_order_from_few_chunks(
    sizes: list[int], restarts: set[int], gathered: int
) -> None:
    """Small numbers stand for large ones: merging is by counts of rows alone."""
    with pytest.MonkeyPatch.context() as patched:
        for name, value in {"_SMALL": 10, "_MIDDLE": 40, "_MOST": 100, "_GATHERED": gathered}.items():
            patched.setattr(ours, name, value)
        store = new()
        stream, count = Stream(store, "s", EMPTY), 0
        for number, size in enumerate(sizes):
            if number in restarts:
                stream = Stream(store, "s", EMPTY)
                list(stream.read())
            with store.transaction():
                stream.append(rows(count, size))
            count += size
            assert stream.rows == count
            assert len(cuts(store)) <= 2 * gathered + count / 40, "too many chunks"
        found = read(store)
        if count:
            assert found["x"].tolist() == list(range(count))
            assert np.array_equal(found["y_pred"], np.arange(count) / 2)
        ends = [end for _, end in cuts(store)]
        assert [first for first, _ in cuts(store)] == [0, *ends[:-1]][: len(ends)], (
            "chunks overlap or leave gaps"
        )


@settings(max_examples=60)
@given(parts=st.lists(st.tuples(st.integers(1, 6), st.booleans(), st.integers(0, 3)), max_size=20))
def test_columns_that_come_and_go_and_get_wider_are_filled(parts: list[tuple[int, bool, int]]) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ours, "_GATHERED", 3)
        store, start = new(), 0
        stream = Stream(store, "s", EMPTY)
        units: list[int] = []
        widths: list[int] = []
        for count, unit, width in parts:
            with store.transaction():
                stream.append(rows(start, count, unit=unit, width=width))
            units += list(range(start + 1, start + count + 1)) if unit else [0] * count
            widths += [max(width, 1)] * count
            start += count
    found = read(store)
    assert found.get("unit", np.zeros(start)).tolist() == units
    if parts:
        y_pred = found["y_pred"].reshape(start, -1)
        assert y_pred.shape[1] == max(widths)
        for row, (values, width) in enumerate(zip(y_pred, widths, strict=True)):
            assert values[:width].tolist() == [row / 2] * width
            assert np.isnan(values[width:]).all()


def test_one_row_at_a_time_stays_few_chunks() -> None:
    store = new()
    stream = Stream(store, "s")
    with store.transaction():
        for number in range(2000):
            stream.append({"x": np.array([number])})
    assert len(cuts(store)) <= 2 * ours._GATHERED
    assert read(store)["x"].tolist() == list(range(2000))


def test_large_chunks_are_left_as_they_are() -> None:
    store = new()
    stream = Stream(store, "s")
    with store.transaction():
        for start in range(0, 400_000, 100_000):
            stream.append({"x": np.arange(start, start + 100_000)})
            stream.append({"x": np.empty(0, np.int64)})
    assert cuts(store) == [(start, start + 100_000) for start in range(0, 400_000, 100_000)]


@pytest.mark.parametrize("again", [False, True])
def test_the_chunk_of_a_row_is_known_by_where_it_is_cut(again: bool) -> None:
    store = new()
    stream = Stream(store, "s")
    with store.transaction():
        for start in (0, 10, 30):
            stream.append({"x": np.arange(start, start + {0: 10, 10: 20, 30: 5}[start])})
    if again:
        stream = Stream(store, "s")
        list(stream.read())
    for row in range(35):
        (first, *_) = store.chunks("s", after=stream.cut_before(row))
        assert first.first <= row < first.end
    assert Stream(store, "none").cut_before(0) == -1


def test_only_chunks_that_hold_some_rows_are_written_anew() -> None:
    store, asked = new(), list[tuple[int, int]]()
    stream = Stream(store, "s")
    with store.transaction():
        for start in range(0, 50, 10):
            stream.append({"x": np.arange(start, start + 10)})

    def anew(start: int, end: int) -> dict[str, Array]:
        asked.append((start, end))
        return {"x": np.arange(start, end) * -1}

    with store.transaction():
        stream.rewrite_around(np.array([11, 12, 49]), anew)
    assert asked == [(10, 20), (40, 50)]
    wanted = [-x if 10 <= x < 20 or x >= 40 else x for x in range(50)]
    assert read(store)["x"].tolist() == wanted
    with store.transaction():
        stream.append({"x": np.array([50])})
    assert read(store)["x"].tolist() == [*wanted, 50]


@pytest.mark.parametrize("count", [0, 3])
def test_all_rows_may_be_replaced(count: int) -> None:
    store = new()
    stream = Stream(store, "s")
    with store.transaction():
        for start in range(0, 30, 10):
            stream.append({"x": np.arange(start, start + 10)})
        stream.rewrite({"x": np.arange(count)})
        stream.append({"x": np.array([77])})
    assert read(store)["x"].tolist() == [*range(count), 77]
    assert stream.rows == count + 1


def test_streams_do_not_meet() -> None:
    store = new()
    one, other = Stream(store, "s"), Stream(store, "s/t")
    with store.transaction():
        one.append({"x": np.array([1])})
        other.append({"x": np.array([2])})
        one.rewrite({"x": np.array([3])})
    assert (read(store)["x"].tolist(), read(store, "s/t")["x"].tolist()) == ([3], [2])


@pytest.mark.parametrize(
    ("parts", "wanted"),
    [
        ([], {}),
        ([{"a": np.array([1])}], {"a": [1]}),
        ([{"a": np.array([1])}, {"a": np.array([2]), "unit": np.array([5])}], {"a": [1, 2], "unit": [0, 5]}),
        ([{"a": np.array([[1.0, 2.0]])}, {"a": np.array([3.0])}], {"a": [[1, 2], [3, np.nan]]}),
    ],
    ids=["nothing", "one", "a column that came later", "lists and numbers"],
)
def test_parts_are_stacked(parts: list[dict[str, Array]], wanted: dict[str, Any]) -> None:
    found = stacked(parts, EMPTY)
    assert list(found) == list(wanted)
    for name, values in wanted.items():
        assert np.array_equal(found[name], values, equal_nan=True)
