"""Columns that should be equal: which rows differ, by how much, and what they have in common."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.app.skew.comparing import FEWEST, MOST_SHOWN, compare, differing, share_of

NAN = math.nan


def texts(*values: str | None) -> np.ndarray[Any, Any]:
    found = np.empty(len(values), object)
    found[:] = values
    return found


def pattern(sent: Any, made: Any, tolerance: float = 1e-5) -> str:
    one, other = (np.asarray(each) for each in (sent, made))
    return compare("x", [str(place) for place in range(len(one))], one, other, tolerance=tolerance).pattern


@pytest.mark.parametrize(
    ("sent", "made", "apart"),
    [
        (1.0, 1.0, False), (1.0, 1.0 + 1e-6, False), (1.0, 1.001, True), (1e9, 1e9 + 1.0, False),
        (0.0, 1e-6, False), (0.0, 1e-3, True), (NAN, NAN, False), (NAN, 0.0, True), (0.0, NAN, True),
        (math.inf, math.inf, False), (math.inf, -math.inf, True), (math.inf, 1.0, True),
    ],
)  # fmt: skip
def test_numbers_differ_beyond_the_tolerance(sent: float, made: float, apart: bool) -> None:
    assert differing(np.array([sent]), np.array([made]), 1e-5).tolist() == [apart]


def test_texts_differ_where_they_are_not_the_same() -> None:
    found = differing(texts("a", "a", None, None, "b"), texts("a", "A", None, "b", None), 1e-5)
    assert found.tolist() == [False, True, False, True, True]


def test_lists_differ_where_one_of_their_numbers_does() -> None:
    one, other = np.array([[0.2, 0.8], [0.5, 0.5]]), np.array([[0.2, 0.8], [0.5, 0.6]])
    assert differing(one, other, 1e-5).tolist() == [False, True]
    assert differing(one, np.array([0.2, 0.5]), 1e-5).tolist() == [True, True]


numbers = st.none() | st.floats(allow_nan=False)


@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=30))
def test_it_is_the_same_either_way_round_and_nothing_differs_from_itself(
    pairs: list[tuple[Any, Any]],
) -> None:
    one, other = (
        np.array([NAN if value is None else value for value in each]) for each in zip(*pairs, strict=True)
    )
    assert differing(one, other, 1e-5).tolist() == differing(other, one, 1e-5).tolist()
    assert not differing(one, one.copy(), 0.0).any()
    finer, coarser = differing(one, other, 1e-9), differing(one, other, 1e-3)
    assert (finer | ~coarser).all()


# Shares.


@pytest.mark.parametrize(
    ("count", "rows", "low", "high"),
    [(0, 10, 0.0, 0.3085), (10, 10, 0.6915, 1.0), (5, 50, 0.0333, 0.2181), (1, 1000, 0.0000253, 0.00556)],
)  # from tables of Clopper and Pearson's interval
def test_intervals_are_exact(count: int, rows: int, low: float, high: float) -> None:
    found = share_of(count, rows)
    assert found.estimate == count / rows
    assert found.low == pytest.approx(low, rel=2e-3, abs=1e-9)
    assert found.high == pytest.approx(high, rel=2e-3)


def test_the_share_of_nothing_may_be_anything() -> None:
    found = share_of(0, 0)
    assert (found.low, found.high) == (0.0, 1.0)


def test_intervals_hold_what_they_promise() -> None:
    """Of samples of 60 rows of which 5% differ, at most 5% have an interval without that share."""
    chance, share = np.random.default_rng(5), 0.05
    counts = chance.binomial(60, share, 2000)
    intervals = {count: share_of(int(count), 60) for count in np.unique(counts)}
    held = [intervals[count].low <= share <= intervals[count].high for count in counts]
    assert np.mean(held) >= 0.95


# Patterns.


RANGE = np.arange(1.0, 21.0)


@pytest.mark.parametrize(
    ("sent", "made", "words"),
    [
        (RANGE * 1000, RANGE, "what was sent is 1000 times what should be"),
        (RANGE * 0.45359, RANGE, "what was sent is 0.45359 times what should be"),
        (-RANGE, RANGE, "what was sent is -1 times what should be"),
        (RANGE + 2, RANGE, "what was sent is what should be plus 2"),
        (RANGE - 273.15, RANGE, "what was sent is what should be minus 273.15"),
        (np.full(20, -1.0), np.full(20, NAN), "a value was sent where there is none: -1"),
        (RANGE, np.full(20, NAN), "a value was sent where there is none"),
        (np.full(20, NAN), np.full(20, 7.0), "nothing was sent where there is a value: 7"),
        (RANGE**2, RANGE, ""),
        (np.random.default_rng(1).normal(size=20), RANGE, ""),
        (texts(*["x"] * 5), texts(*["y"] * 5), "'x' was sent for 'y'"),
        (texts("a", "b", "c", "d"), texts("e", "f", "g", "h"), ""),
        (texts(*[""] * 4), texts(*[None] * 4), "a value was sent where there is none: ''"),
    ],
)  # fmt: skip
def test_what_rows_have_in_common_is_told(sent: Any, made: Any, words: str) -> None:
    assert pattern(sent, made) == words


def test_a_pattern_holds_for_most_rows_and_not_for_few() -> None:
    sent = RANGE * 1000
    sent[3] = 5.0
    assert pattern(sent, RANGE) == "what was sent is 1000 times what should be"
    sent[:6] = 5.0
    assert pattern(sent, RANGE) == ""
    assert pattern(RANGE[: FEWEST - 1] * 1000, RANGE[: FEWEST - 1]) == ""


def test_rows_that_are_equal_do_not_hide_a_pattern() -> None:
    made = np.concatenate([np.zeros(100), RANGE])
    sent = np.concatenate([np.zeros(100), RANGE + 1])
    found = compare("x", [str(place) for place in range(120)], sent, made, tolerance=1e-5)
    assert (found.rows, found.differing) == (120, 20)
    assert found.pattern == "what was sent is what should be plus 1"
    assert found.typical == 1.0
    assert [each.id for each in found.examples] == ["100", "101", "102", "103", "104"]
    assert len(found.examples) == MOST_SHOWN


def test_examples_are_plain_values() -> None:
    found = compare("y_pred", ["a"], np.array([[0.5, 0.5]]), np.array([[0.4, 0.6]]), tolerance=1e-5)
    assert (found.examples[0].sent, found.examples[0].made) == ((0.5, 0.5), (0.4, 0.6))
    found = compare("x", ["a", "b"], np.array([NAN, 1.0]), np.array([2.0, NAN]), tolerance=1e-5)
    assert [(each.sent, each.made) for each in found.examples] == [(None, 2.0), (1.0, None)]


def test_more_than_is_allowed_is_skew() -> None:
    ids = [str(place) for place in range(20)]
    found = compare("x", ids, RANGE + 1, RANGE, tolerance=1e-5)
    assert found.skewed(0.0)
    assert found.skewed(0.5)
    assert not found.skewed(0.9)  # 20 of 20 may well be 84%
    assert not compare("x", ids, RANGE, RANGE, tolerance=1e-5).skewed(0.0)
