"""Features gathered from the log part by part are those that were sent, whatever the parts."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.app.recompute.gathered import Gathered

ROWS = 6
VALUES = st.lists(st.none() | st.floats(-5, 5) | st.text("ab", max_size=1), min_size=ROWS, max_size=ROWS)


def part(ids: list[int], **columns: Any) -> pa.Table:
    return pa.table({"id": [str(each) for each in ids], **columns})


def sent(ids: list[int], rows: list[dict[str, Any]]) -> pa.Table:
    """Features as JSON."""
    return part(ids, features=[json.dumps(row) for row in rows])


def everything(count: int = ROWS) -> Gathered:
    return Gathered(np.ones(count, dtype=bool))


def told(found: Gathered, name: str) -> list[Any]:
    values = found.told([name])[name].tolist()
    return [None if isinstance(value, float) and np.isnan(value) else value for value in values]


def test_each_part_fills_its_own_rows() -> None:
    found = everything(4)
    found.add(np.array([2, 0]), part([2, 0], size=[3.0, 1.0]))
    found.add(np.array([-1, 1]), part([9, 1], size=[7.0, None], place=["x", "y"]))
    assert told(found, "size") == [1.0, None, 3.0, None]
    assert told(found, "place") == [None, "y", None, None]
    assert found.names == ["size", "place"]


def test_what_was_sent_first_stands() -> None:
    found = everything(2)
    found.add(np.array([0, 0, 1]), part([0, 0, 1], size=[1.0, 2.0, 3.0]))
    found.add(np.array([0]), part([0], size=[9.0], more=["late"]))
    assert told(found, "size") == [1.0, 3.0]
    assert found.names == ["size"]


def test_rows_that_nobody_asked_for_are_left_out() -> None:
    found = Gathered(np.array([False, True, False]))
    found.add(np.arange(3), part([0, 1, 2], size=[1.0, 2.0, 3.0]))
    assert told(found, "size") == [None, 2.0, None]
    nothing = Gathered(np.zeros(3, dtype=bool))
    nothing.add(np.arange(3), part([0, 1, 2], size=[1.0, 2.0, 3.0]))
    assert nothing.names == []
    assert told(nothing, "size") == [None, None, None]


@pytest.mark.parametrize(
    ("first", "then", "expected"),
    [
        ([1.0], ["b"], ["1", "b"]),
        (["b"], [1.5], ["b", "1.5"]),
        ([True], [2.0], ["True", "2"]),
        ([True], [False], [True, False]),
        ([None], ["b"], [None, "b"]),
        ([None], [2], [None, 2.0]),
        ([2], [None], [2.0, None]),
        (["b"], [None], ["b", None]),
    ],
)
def test_what_comes_in_several_kinds_is_text(first: list[Any], then: list[Any], expected: list[Any]) -> None:
    for columns in (True, False):
        found = everything(2)
        for place, values in enumerate((first, then)):
            rows = [{"x": value} for value in values]
            one = part([place], x=values) if columns else sent([place], rows)
            found.add(np.array([place]), one)
        assert told(found, "x") == expected


def test_equal_texts_are_one_object() -> None:
    found = everything(4)
    found.add(np.arange(4), part([0, 1, 2, 3], x=["a" * 50, "b", "a" * 50, None]))
    values = found.told(["x"])["x"]
    assert values[0] is values[2]


@given(values=VALUES, cuts=st.sets(st.integers(1, ROWS - 1)), columns=st.booleans())
def test_it_does_not_matter_how_the_log_was_cut(values: list[Any], cuts: set[int], *, columns: bool) -> None:
    """One kind of value in each row; in whichever parts they come, the same is told."""
    whole, parts = everything(), everything()
    _add(whole, values, [0, ROWS], columns=columns)
    _add(parts, values, [0, *sorted(cuts), ROWS], columns=columns)
    assert told(parts, "x") == told(whole, "x")


def _add(found: Gathered, values: list[Any], borders: list[int], *, columns: bool) -> None:
    for start, end in pairwise(borders):
        mine, ids = values[start:end], list(range(start, end))
        kinds = {type(value) for value in mine} - {type(None)}
        if columns and len(kinds) < 2:
            found.add(np.arange(start, end), part(ids, x=mine))
        else:
            found.add(np.arange(start, end), sent(ids, [{"x": value} for value in mine]))
