"""Columns checked at once: odd values, nulls, and where the fast way has to give in to the slow one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.core.clock import MINUTE, format_time
from lossloop.core.tasks import Task
from lossloop.serve import columns
from lossloop.serve.columns import Checked
from tests.serve.sending import HUGE, NOW


def told(found: Checked) -> list[Any]:
    """Values that fit; "no" for those that do not."""
    return [value if fit else "no" for value, fit in zip(found.values.to_pylist(), found.fit, strict=True)]


def micros(found: Checked) -> list[Any]:
    return told(Checked(found.values.cast(pa.int64()), found.fit))


def test_texts() -> None:
    assert told(columns.texts(["a", None, "", 7, "é" * 256, "x" * 257])) == [
        "a",
        None,
        "no",
        "no",
        "é" * 256,
        "no",
    ]
    assert told(columns.texts(pa.array(["zz", "a", None, ""]).slice(1))) == ["a", None, "no"]


def test_roles() -> None:
    assert told(columns.roles(["champion", "challenger", None, "king", 1])) == [
        "champion", "challenger", "champion", "no", "no"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("values", "truths", "wanted"),
    [
        ([1, 2.5, None], False, [1.0, 2.5, None]),
        ([2**60 + 1, HUGE], False, [float(2**60), "no"]),
        ([True, False, None], True, [1.0, 0.0, None]),
        ([True, 0.5], True, [1.0, 0.5]),
        ([True, 0.5], False, ["no", 0.5]),
        (["1", [1], {}, 1], False, ["no", "no", "no", 1.0]),
        ([None, None], False, [None, None]),
        ([math.inf, -math.inf], False, [math.inf, -math.inf]),
    ],
)
def test_numbers(values: list[Any], truths: bool, wanted: list[Any]) -> None:
    assert told(columns.numbers(values, truths=truths)) == wanted


def test_truths_in_arrow_are_numbers_where_they_may_be() -> None:
    values = pa.array([True, None, False])
    assert told(columns.numbers(values, truths=True)) == [1.0, None, 0.0]
    assert told(columns.numbers(values)) == ["no", None, "no"]


def test_labels() -> None:
    assert told(columns.labels([0, 1, True, 0.5, None, "1"], Task.BINARY)) == [
        0.0,
        1.0,
        1.0,
        "no",
        None,
        "no",
    ]
    assert told(columns.labels([2, 2.5, -1, None], Task.MULTICLASS)) == [2.0, "no", "no", None]
    assert told(columns.labels([[1, 2], [], 3, None, [math.nan]], Task.VECTOR)) == [
        [1.0, 2.0], "no", "no", None, "no"
    ]  # fmt: skip
    assert told(columns.labels(pa.array([1.0]), Task.RANKING)) == ["no"]
    lives = [[3.5, 1], [3.5, 0], [0, 1], [-1, 1], [1, 0.5], [1], [1, 1, 1], None, 3.5, [math.nan, 1]]
    assert told(columns.labels(lives, Task.SURVIVAL)) == [
        [3.5, 1.0], [3.5, 0.0], [0.0, 1.0], "no", "no", "no", "no", None, "no", "no"
    ]  # fmt: skip
    assert told(columns.labels([1.5, [1.5], None], Task.DISTRIBUTION)) == [1.5, "no", None]


def test_outputs() -> None:
    assert told(columns.outputs([0.5, 1.5, None, math.nan], Task.BINARY)) == [0.5, "no", "no", "no"]
    vectors = [[0.5, 0.5], [0.5], [1.5, -0.5], [], None, [0.5, "a"], [0.25] * 4]
    assert told(columns.outputs(vectors, Task.MULTICLASS)) == [
        [0.5, 0.5], "no", "no", "no", "no", "no", [0.25] * 4
    ]  # fmt: skip
    assert told(columns.outputs([[1, -2.5], [], [math.inf], 3, None], Task.DISTRIBUTION)) == [
        [1.0, -2.5], "no", "no", "no", "no"
    ]  # fmt: skip
    assert told(columns.outputs([[1, 0.5], [0.5, 1.5], []], Task.SURVIVAL)) == [[1.0, 0.5], "no", "no"]
    offsets, inside = pa.array([0, 2, 4, 6], pa.int32()), pa.array([0.5, 0.5, 9.0, 9.0, 1.0, 0.0])
    hidden = pa.ListArray.from_arrays(offsets, inside, mask=pa.array([False, True, False]))
    assert told(columns.outputs(hidden, Task.MULTICLASS)) == [[0.5, 0.5], "no", [1.0, 0.0]]


def test_propensities() -> None:
    assert told(columns.propensities([1, 0.5, None, 0, 2, True])) == [1.0, 0.5, 1.0, "no", "no", "no"]


def test_latencies() -> None:
    sent = [0, 1.5, None, -1, math.nan, math.inf, 3.2e12, HUGE, True, "1"]
    assert told(columns.latencies(sent)) == [0.0, 1.5, None, *["no"] * 7]
    assert told(columns.latencies(pa.array([1.5, None, math.nan]))) == [1.5, None, "no"]


def test_answers_are_there_unless_an_error_says_why_not() -> None:
    errors = pa.array([None, "e", "e", None], pa.string())
    assert told(columns.answers([0.5, None, 0.5, None], Task.BINARY, errors)) == [0.5, None, "no", "no"]
    assert told(columns.answers(pa.array([0.5, None, 0.5, None]), Task.BINARY, errors)) == [
        0.5, None, "no", "no"
    ]  # fmt: skip
    lists = [[0.5, 0.5], None, [0.5, 0.5], [0.5]]
    assert told(columns.answers(lists, Task.MULTICLASS, errors)) == [[0.5, 0.5], None, "no", "no"]
    nothing = columns.answers([None] * 4, Task.MULTICLASS, pa.array(["e"] * 4))
    assert told(nothing) == [None] * 4
    assert columns.answers(pa.nulls(4, pa.float64()), Task.RANKING, pa.array(["e"] * 4)).fit.all()


@pytest.mark.parametrize(
    ("column", "wanted"),
    [
        ([1, 2, 3, 0, -1, True, 1.0, None, HUGE], [1, "no", 3, "no", "no", "no", "no", "no", "no"]),
        (pa.array([1, 2, 3, 0, -1, None, 2**62]), [1, "no", 3, "no", "no", "no", "no"]),
        (pa.array([1, 3, 2**64 - 1], pa.uint64()), [1, 3, "no"]),
        (pa.array([1.0]), ["no"]),
    ],
)
def test_versions(column: Any, wanted: list[Any]) -> None:
    assert told(columns.versions(column, frozenset({1, 3}))) == wanted
    assert not columns.versions(column, frozenset()).fit.any()


def test_moments() -> None:
    good, late = format_time(NOW), format_time(NOW + 6 * MINUTE)
    column = [good, None, late, "noon", 7, "20240101T120000Z"]
    assert micros(columns.moments(column, now=NOW, replays=False)) == [NOW, NOW, "no", "no", "no", NOW]
    assert micros(columns.moments([late], now=NOW, replays=True)) == [NOW + 6 * MINUTE]
    assert micros(columns.moments([good, None], now=NOW, replays=False)) == [NOW, NOW]
    stamps = columns.at(np.array([NOW, NOW + 6 * MINUTE]))
    assert micros(columns.moments(stamps, now=NOW, replays=False)) == [NOW, "no"]


@given(st.lists(st.none() | st.sampled_from("abc"), min_size=1))
def test_what_stands_earlier_already_is_repeated(values: list[str | None]) -> None:
    wanted = [value is not None and value in values[:place] for place, value in enumerate(values)]
    assert columns.repeated(pa.array(values, pa.string())).tolist() == wanted
