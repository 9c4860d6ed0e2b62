"""Whatever comes, goes and is merged in any order, a summary says what the rows that are left say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.core.errors import InputError
from lossloop.core.tasks import MOST_CLASSES
from lossloop.summaries import Confusion, Lifetimes, Metrics, Residuals, Scores
from lossloop.summaries.tables import cells_of, combined, counted, pack, ratio, rows_of, unpack

Row = tuple[float, ...]
LABEL, CHANCE = st.sampled_from([0.0, 1.0]), st.floats(0, 1)
CLASS = st.integers(0, 4).map(float) | st.just(MOST_CLASSES - 1.0)
NUMBER = st.floats(-1e4, 1e4)
KINDS: dict[str, tuple[Any, st.SearchStrategy[Row]]] = {
    "scores": (Scores(threshold=0.3), st.tuples(LABEL, CHANCE)),
    "confusion": (Confusion(), st.tuples(CLASS, CLASS)),
    "residuals": (Residuals(), st.tuples(NUMBER, NUMBER)),
    "lifetimes": (Lifetimes(), st.tuples(st.floats(0, 1e4), LABEL, CHANCE)),
}


def of(empty: Any, rows: list[Row]) -> Any:
    return empty.add(np.asarray(rows, dtype=np.float64))


def alike(one: Metrics, other: Metrics) -> None:
    mine, theirs = one.metrics(), other.metrics()
    assert mine.keys() == theirs.keys()
    for name, value in mine.items():
        if name == "r2" and value is not None and abs(value) > 1e3:
            continue  # next to nothing varies, and rounding decides how little
        assert value == (None if theirs[name] is None else pytest.approx(theirs[name], rel=1e-6, abs=1e-6))


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_pieces_in_any_order_are_the_whole(kind: str, data: st.DataObject) -> None:
    empty, row = KINDS[kind]
    pieces = data.draw(st.lists(st.lists(row, max_size=6), min_size=1, max_size=5))
    whole = of(empty, [each for piece in pieces for each in piece])
    found = empty
    for piece in data.draw(st.permutations(pieces)):
        found = found.merge(of(empty, piece))
    assert found.count == whole.count
    alike(found, whole)


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_what_is_taken_back_was_never_there(kind: str, data: st.DataObject) -> None:
    empty, row = KINDS[kind]
    kept = data.draw(st.lists(row, min_size=1, max_size=8))
    gone = data.draw(st.lists(row, max_size=8))
    left = of(empty, [*gone, *kept]).minus(of(empty, gone))
    assert left.count == len(kept)
    if kind != "residuals":  # whose sums of squares keep a rounding of what was there
        alike(left, of(empty, kept))


@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_a_copy_through_json_is_equal_and_says_the_same(kind: str, data: st.DataObject) -> None:
    empty, row = KINDS[kind]
    some = of(empty, data.draw(st.lists(row, max_size=8)))
    copy = msgspec.json.decode(msgspec.json.encode(some), type=type(some))
    assert copy == some
    assert copy.metrics() == some.metrics()


@pytest.mark.parametrize("kind", KINDS)
def test_more_cannot_be_taken_than_was_added(kind: str) -> None:
    empty, _ = KINDS[kind]
    one = of(empty, [(1.0, 0.0, 0.5)[: 3 if kind == "lifetimes" else 2]])
    with pytest.raises(InputError, match="cannot take 1 values from 0"):
        empty.minus(one)


# What they are made of.


@given(
    st.lists(st.integers(0, 9).map(float), max_size=20), st.lists(st.integers(0, 9).map(float), max_size=20)
)
def test_cells_count_codes(mine: list[float], others: list[float]) -> None:
    one, other = counted(np.array(mine)), counted(np.array(others))
    assert combined(one, other, 1) == counted(np.array([*mine, *others]))
    assert combined(combined(one, other, 1), other, -1) == one
    codes, counts = cells_of(one)
    assert dict(zip(codes.tolist(), counts.tolist(), strict=True)) == {
        code: mine.count(code) for code in mine
    }


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: rows_of(np.zeros((3, 3)), 2), r"values have shape \(n, 2\), not \(3, 3\)"),
        (lambda: rows_of(np.zeros(4), 2), r"values have shape \(n, 2\), not \(4,\)"),
        (lambda: rows_of(np.array([[0.0, 1.0], [np.nan, 1.0]]), 2), r"\[nan, 1.0\] cannot be summarised"),
    ],
)
def test_values_are_a_table_of_finite_numbers(make: Callable[[], object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        make()


def test_nothing_is_no_rows_whatever_its_shape() -> None:
    assert rows_of(np.empty(0), 3).shape == (0, 3)
    assert unpack(pack(np.array([1.5, -2.0]))).tolist() == [1.5, -2.0]
    assert (ratio(1, 4), ratio(0, 0)) == (0.25, None)
