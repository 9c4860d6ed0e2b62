"""Rows to predict are read by column, and a bad one is told."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.core.errors import InputError
from lossloop.serve.asked import Asked, Read, joined, read
from lossloop.serve.given import Given
from lossloop.serve.schema import Schema
from tests.serve.models import FEATURES

SCHEMA = Schema(FEATURES)


def reading(*rows: Any) -> Read:
    return read(SCHEMA, list(rows), now=9, replays=False)


def test_a_row_without_an_id_gets_one_that_nobody_sends_again() -> None:
    found = reading({"features": {"x": 1}}, {"features": {"x": 1}})
    one, other = found.asked.ids
    assert one != other
    assert (found.asked.units, found.asked.times, found.asked.contents) == ([None] * 2, [9] * 2, [None] * 2)
    assert found.sent == []


def test_ids_that_were_made_for_columns_are_theirs_and_nobody_sends_them_again() -> None:
    columns = Given(count=2, features={"x": np.array([1.0, 2.0])}, made=["a/0", "a/1"], units=["ann", None])
    found = read(SCHEMA, columns, now=9, replays=False)
    assert (found.asked.ids, found.asked.contents, found.sent) == (["a/0", "a/1"], [None, None], [])
    assert found.asked.units == ["ann", None]
    with pytest.raises(InputError, match="id has 1 values for 2 rows"):
        Given(count=2, features={"x": np.array([1.0, 2.0])}, made=["a/0"])
    slow = Given(count=1, features={"x": np.array([1.0])}, made=["a"], times=["2020-01-01T00:00:00Z"])
    assert read(SCHEMA, slow, now=2**60, replays=False).asked.ids == ["a"]


def test_a_row_with_an_id_is_known_by_what_was_sent() -> None:
    rows = [{"id": "a", "features": {"x": 1}}, {"features": {"x": 1}, "id": "b"}]
    found = reading({"features": {"x": 2}}, *rows)
    assert [(place, sent.id) for place, sent in found.sent] == [(1, "a"), (2, "b")]
    assert found.asked.contents == [None, *(sent.content for _, sent in found.sent)]
    again = reading({"features": {"x": 1}, "id": "a"})
    assert again.sent[0][1] == found.sent[0][1], "the order of keys says nothing"


def test_features_are_columns() -> None:
    found = reading({"features": {"x": 1, "colour": "red"}}, {"features": {"x": 2.5, "y": None}})
    made = joined([found.asked], SCHEMA).features
    assert np.array_equal(made["x"], [1.0, 2.5])
    assert np.isnan(made["y"]).all()
    assert list(made["colour"]) == ["red", None]


def test_good_rows_keep_their_places() -> None:
    found = reading({"features": {}}, {"features": {"x": 1}}, 7, {"features": {"x": 3}, "unit": "ann"})
    assert (found.places, found.asked.units) == ([1, 3], [None, "ann"])
    assert [(each.row, each.field) for each in found.problems] == [(0, "features.x"), (2, None)]


@pytest.mark.parametrize(
    ("row", "field", "message"),
    [
        ({}, "features", "features must be an object of names to values"),
        ({"features": [1]}, "features", "features must be an object of names to values"),
        ({"features": {}}, "features.x", "feature 'x' is missing"),
        ({"features": {"x": 1}, "id": 5}, "id", "id must be text, not 5"),
        ({"features": {"x": 1}, "uint": "a"}, "uint", "unknown key 'uint'; did you mean 'unit'?"),
        ({"features": {"x": 1}, "time": "soon"}, "time", "'soon' is not an ISO 8601 time, such as"),
    ],
)
def test_a_bad_row_is_told(row: dict[str, Any], field: str, message: str) -> None:
    (problem,) = reading(row).problems
    assert str(problem).startswith(message)
    assert (problem.field, problem.row) == (field, 0)


def test_an_id_stands_once() -> None:
    found = reading({"id": "a", "features": {"x": 1}}, {"id": "a", "features": {"x": 1}})
    assert [str(each) for each in found.problems] == ["the id 'a' stands twice in this batch"]


plain = st.fixed_dictionaries(
    {"x": st.floats() | st.integers() | st.just(10**400), "y": st.floats() | st.none()},
    optional={"colour": st.sampled_from(["red", "", None, 7]), "z": st.floats()},
)


@given(st.lists(plain, min_size=1, max_size=12), st.booleans())
def test_many_plain_rows_are_read_like_single_ones(rows: list[dict[str, Any]], full: bool) -> None:
    if full:
        rows = [{"x": 0.5, "y": 1, "colour": "red"} | row for row in rows]
    together = reading(*({"features": row} for row in rows))
    apart = [reading({"features": row, "unit": None}) for row in rows]
    assert together.places == [place for place, each in enumerate(apart) if each.places]
    wanted = [str(problem) for each in apart for problem in each.problems]
    assert [str(problem) for problem in together.problems] == wanted
    alone = joined([each.asked for each in apart], SCHEMA).features
    for name, column in joined([together.asked], SCHEMA).features.items():
        assert list(map(repr, column)) == list(map(repr, alone[name]))


# Columns.

numbers = st.floats(width=64) | st.sampled_from([0.0, np.nan, np.inf])
texts = st.sampled_from(["red", "", None, 7])


@given(st.lists(st.tuples(numbers, numbers, texts), min_size=1, max_size=4), st.booleans())
def test_columns_are_read_like_rows(rows: list[tuple[float, float, Any]], short: bool) -> None:
    features: dict[str, Any] = {"x": np.array([row[0] for row in rows])}
    if not short:
        features |= {"y": np.array([row[1] for row in rows]), "colour": [row[2] for row in rows]}
    columns = Given(count=len(rows), features=features, units=["ann"] * len(rows))
    found = read(SCHEMA, columns, now=9, replays=False)
    wanted = read(SCHEMA, columns.rows(), now=9, replays=False)
    assert (found.places, found.asked.units) == (wanted.places, wanted.asked.units)
    assert [str(each) for each in found.problems] == [str(each) for each in wanted.problems]
    for one, other in zip(
        joined([found.asked], SCHEMA).features.values(),
        joined([wanted.asked], SCHEMA).features.values(),
        strict=True,
    ):
        assert list(map(repr, one)) == list(map(repr, other))


@pytest.mark.parametrize(
    "more",
    [
        {"ids": ["a"]},
        {"times": ["2024-01-01T00:00:00Z"]},
        {"units": [7]},
        {"units": ["u" * 100]},
        {"features": {"x": np.array([1.0]), "z": np.array([1.0])}},
        {"features": {"x": np.array([True])}},
        {"features": {"x": ["1"]}},
    ],
)
def test_columns_that_say_more_are_looked_at_row_by_row(more: dict[str, Any]) -> None:
    columns = Given(count=1, **{"features": {"x": np.array([1.0])}, **more})
    found, wanted = (read(SCHEMA, each, now=9, replays=False) for each in (columns, columns.rows()))
    assert [str(each) for each in found.problems] == [str(each) for each in wanted.problems]
    assert (found.asked.units, found.asked.times) == (wanted.asked.units, wanted.asked.times)


@pytest.mark.parametrize("count", [0, 100_001])
def test_columns_have_the_limits_of_rows(count: int) -> None:
    with pytest.raises(InputError, match="row"):
        read(SCHEMA, Given(count=count, features={"x": np.zeros(count)}), now=9, replays=False)


# Batches.


def some(*xs: float, array: bool) -> Asked:
    if array:
        return read(SCHEMA, Given(count=len(xs), features={"x": np.array(xs)}), now=9, replays=False).asked
    return reading(*({"features": {"x": x}} for x in xs)).asked


@given(st.lists(st.tuples(st.lists(st.floats(-9, 9), min_size=1, max_size=3), st.booleans()), min_size=1))
def test_requests_stand_one_below_the_other(requests: list[tuple[list[float], bool]]) -> None:
    parts = [some(*xs, array=array) for xs, array in requests]
    made = joined(parts, SCHEMA)
    assert made.ids == [id for part in parts for id in part.ids]
    assert list(made.features["x"]) == [x for xs, _ in requests for x in xs]
    assert {name: column.dtype for name, column in made.features.items()} == {  # type: ignore[union-attr]
        "x": np.dtype(np.float64), "y": np.dtype(np.float64), "colour": np.dtype(object)
    }  # fmt: skip


@pytest.mark.parametrize("array", [True, False])
def test_rows_are_taken_with_all_their_columns(array: bool) -> None:
    asked = some(1.0, 2.0, 3.0, array=array)
    taken = asked.take([2, 0])
    assert taken.ids == [asked.ids[2], asked.ids[0]]
    assert list(taken.features["x"]) == [3.0, 1.0]
    assert len(taken) == 2
