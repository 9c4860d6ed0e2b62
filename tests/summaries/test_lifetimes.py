"""The concordance of risks and lives: against a count of all pairs, and the bounds of what bins forget."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.core.errors import InputError
from lossloop.summaries import Lifetimes

TIME = st.floats(0, 1e6) | st.floats(1, 2) | st.sampled_from([0.0, 1.0, 2.0, 4.0, 5e-324, 1e300])
ROWS = st.lists(st.tuples(TIME, st.booleans(), st.floats(0, 1)), min_size=2, max_size=25)


def summed(rows: Any) -> Lifetimes:
    return Lifetimes().add(np.asarray(rows, dtype=np.float64))


def harrell(rows: Any) -> tuple[float, int]:
    """Pairs that are in order (half where risks are equal) and pairs that are comparable, one by one."""
    right, pairs = 0.0, 0
    for one, other in combinations(rows, 2):
        (time, event, risk), (later, its_event, lower) = sorted(
            (one, other), key=lambda row: (row[0], -row[1])
        )
        if not event or (time == later and its_event):
            continue
        pairs += 1
        right += 1.0 if risk > lower else 0.5 if risk == lower else 0.0
    return right, pairs


@given(ROWS)
def test_the_concordance_of_the_rows_lies_within_its_bounds(rows: list[tuple[float, bool, float]]) -> None:
    found = summed(rows).bounds()
    right, pairs = harrell(rows)
    if found is None:
        return
    assert pairs > 0
    value, low, high = found
    assert 0 <= low <= value <= high + 1e-12
    assert high <= 1
    assert low - 1e-12 <= right / pairs <= high + 1e-12


def test_distinct_bins_give_the_concordance_itself() -> None:
    draw = np.random.default_rng(8)
    for _ in range(20):
        times = 2.0 ** draw.permutation(12)
        rows = list(zip(times, draw.integers(0, 2, 12), draw.permutation(12) / 20, strict=True))
        right, pairs = harrell(rows)
        if pairs:
            value, low, high = summed(rows).bounds() or (0, 0, 0)
            assert value == low == high == pytest.approx(right / pairs)


def test_a_worked_example() -> None:
    """The first died and was riskiest; the second was lost; the third died before the fourth, the safest."""
    rows = [(1.0, 1, 0.9), (2.0, 0, 0.2), (4.0, 1, 0.3), (8.0, 1, 0.4)]
    assert harrell(rows) == (3.0, 4)
    assert summed(rows).metrics() == {"events": 0.75, "concordance": 0.75}


def test_risks_that_tell_much_are_near_those_of_all_pairs() -> None:
    draw = np.random.default_rng(9)
    risk = draw.random(700)
    rows = np.stack([draw.exponential(1 / (0.1 + risk)), draw.random(700) < 0.8, risk], axis=1)
    right, pairs = harrell(rows.tolist())
    value, low, high = summed(rows).bounds() or (0, 0, 0)
    assert value == pytest.approx(right / pairs, abs=2e-3)
    assert high - low < 0.06


def test_the_order_of_risks_is_all_that_counts() -> None:
    draw = np.random.default_rng(10)
    rows = np.stack([draw.exponential(1.0, 200), np.ones(200), draw.integers(0, 10, 200) / 10 + 0.05], axis=1)
    mirrored = np.stack([rows[:, 0], rows[:, 1], 1 - rows[:, 2]], axis=1)
    one, other = (summed(each).metrics()["concordance"] for each in (rows, mirrored))
    assert (one or 0) + (other or 0) == pytest.approx(1.0)


def test_without_a_pair_there_is_no_concordance() -> None:
    assert summed([(1.0, 0, 0.5), (2.0, 0, 0.1)]).metrics() == {"events": 0.0, "concordance": None}
    assert Lifetimes().metrics() == {"events": None, "concordance": None}


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ((-1.0, 1, 0.5), "a time is at least 0"),
        ((1.0, 2, 0.5), "an event is 0 or 1"),
        ((1.0, 1, 1.5), r"a risk lies in \[0, 1\]"),
        ((np.inf, 1, 0.5), "every number must be finite"),
    ],
)
def test_what_is_no_life_is_named(row: tuple[float, float, float], words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        summed([(1.0, 1, 0.5), row])
    assert caught.value.row == 1
