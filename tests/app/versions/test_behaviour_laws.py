"""Flips: what holds of them whatever two versions answer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossloop.act.checks import Status
from lossloop.app.versions import behaviour
from lossloop.app.versions.base import Arm, Case
from lossloop.core.thresholds import Thresholds
from tests.app.versions.cases import Array, Says, arm, case, recent

CHANCES = st.lists(st.floats(0.0, 1.0), min_size=40, max_size=40)
CUTS = st.lists(st.floats(0.01, 0.99), min_size=1, max_size=3).map(sorted)
NAMES = ("pass", "review", "hold", "block")


def says(values: Any, number: int, **manifest: Any) -> Arm:
    """A version that answers these, row by row."""
    fixed = np.asarray(values, np.float64)
    return arm(
        Says(lambda columns: fixed[: len(columns["x"])]), name=f"m:{number}", number=number, **manifest
    )


def beside(ours: Any, theirs: Any, count: int = 40, **check: Any) -> Case:
    return case(says(ours, 2), says(theirs, 1), rows=recent(count), **check)


def figures(found: Case) -> dict[str, float]:
    return behaviour.check(found).finding.figures


@settings(max_examples=30)
@given(CHANCES, CHANCES, st.integers(0, 500).map(lambda n: n / 1_000))
def test_flips_are_those_of_the_definition_and_the_same_the_other_way(
    ours: list[float], theirs: list[float], moved_by: float
) -> None:
    one, other = (figures(beside(*each, moved_by=moved_by)) for each in ((ours, theirs), (theirs, ours)))
    expected = sum(abs(a - b) > moved_by for a, b in zip(ours, theirs, strict=True))
    assert one["flips"] == other["flips"] == expected
    assert one["mean_moves"] == pytest.approx(abs(np.mean(ours) - np.mean(theirs)))
    assert one["largest"] == max(abs(a - b) for a, b in zip(ours, theirs, strict=True))


@settings(max_examples=30)
@given(CHANCES, CUTS)
def test_equal_cut_offs_and_scores_never_flip(values: list[float], cuts: list[float]) -> None:
    made = Thresholds(actions=NAMES[: len(cuts) + 1], least=tuple(cuts))
    found = case(says(values, 2, thresholds=made), says(values, 1, thresholds=made), rows=recent(40))
    assert figures(found)["flips"] == 0


@settings(max_examples=30)
@given(CHANCES, CHANCES, CUTS, CUTS)
def test_a_flip_of_actions_is_another_name(
    ours: list[float], theirs: list[float], mine: list[float], other: list[float]
) -> None:
    """Also where the versions have another number of actions: names are compared, not places."""
    cuts = [Thresholds(actions=NAMES[: len(each) + 1], least=tuple(each)) for each in (mine, other)]
    found = case(says(ours, 2, thresholds=cuts[0]), says(theirs, 1, thresholds=cuts[1]), rows=recent(40))
    expected = sum(cuts[0].action(a) != cuts[1].action(b) for a, b in zip(ours, theirs, strict=True))
    assert figures(found)["flips"] == expected


def test_one_that_has_no_cut_offs_is_cut_by_those_of_the_other() -> None:
    cuts = Thresholds(actions=("pass", "block"), least=(0.5,))
    theirs = np.linspace(0, 1, 40)
    found = case(says(1 - theirs, 2), says(theirs, 1, thresholds=cuts), rows=recent(40))
    assert figures(found)["flips"] == 40


@pytest.mark.parametrize(("share", "status"), [("24%", Status.FAILED), ("25%", Status.PASSED)])
def test_a_limit_is_kept_where_it_is_reached(share: str, status: Status) -> None:
    ours = np.where(np.arange(40) < 10, 0.9, 0.1)
    found = behaviour.check(beside(ours, np.full(40, 0.1), flips_at_most=share))
    assert found.finding.status is status


def test_other_numbers_flip_by_a_part_of_what_they_vary_by() -> None:
    regression = {"task": "regression", "loss": "absolute"}
    theirs = np.linspace(-100.0, 100.0, 40)
    limit = 0.1 * float(np.std(theirs))
    for off, flips in ((0.99 * limit, 0), (1.01 * limit, 40)):
        found = case(says(theirs + off, 2), says(theirs, 1), rows=recent(40), policy=regression)
        assert figures(found)["flips"] == flips


def test_vectors_flip_where_any_of_their_numbers_does() -> None:
    vector = {"task": "vector", "loss": "vector_squared"}
    theirs = np.zeros((40, 3))
    ours: Array = theirs.copy()
    ours[:7, 2] = 1.0
    found = case(says(ours, 2), says(theirs, 1), rows=recent(40), policy=vector, moved_by=0.5)
    assert figures(found)["flips"] == 7
    assert figures(found)["mean_moves"] == pytest.approx(7 / 40)


def test_quantiles_of_differences_rise() -> None:
    ours = np.random.default_rng(5).random(40)
    shown = behaviour.check(beside(ours, np.full(40, 0.5))).details[0]
    values = [float(value) for _, value in shown.rows]
    assert values == sorted(values)
    assert [name for name, _ in shown.rows] == ["1%", "5%", "25%", "50%", "75%", "95%", "99%"]


def test_slices_with_few_rows_are_not_named() -> None:
    """Ten rows of a colour are no ground to accuse it."""
    rows = recent(400)
    rows.features["colour"][:] = "red"
    rows.features["colour"][:10] = "blue"
    ours = np.where(np.arange(400) < 10, 0.9, 0.1)
    found = behaviour.check(case(says(ours, 2), says(np.full(400, 0.1), 1), rows=rows))
    assert not [row for row in found.details[1].rows if row[0].startswith("colour=blue")]
    assert found.finding.figures["flips"] == 10


def test_where_nothing_flips_no_slice_is_shown() -> None:
    same = np.full(40, 0.3)
    assert len(behaviour.check(beside(same, same)).details) == 1


def test_rows_that_only_one_answers_are_left_out() -> None:
    ours = np.where(np.arange(40) < 5, np.nan, 0.5)
    found = figures(beside(ours, np.full(40, 0.5)))
    assert found["rows"] == 35
