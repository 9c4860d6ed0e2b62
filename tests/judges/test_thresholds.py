"""Learned cut-offs: the cheapest there are, an honest estimate, and refusals that say what is needed."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.core.errors import InputError
from lossloop.core.thresholds import NEVER
from lossloop.judges import LearnedThresholds, held_out_actions, learn_thresholds
from lossloop.judges.thresholds import FEWEST_OF_EACH, best_cuts

FRAUD = ((0.0, 3.0, 1.0), (40.0, 3.0, 0.0))
"""Pass, review, block."""
Array = np.ndarray[Any, Any]


def drawn(count: int, *, seed: int = 1, rate: float = 0.5) -> tuple[Array, Array]:
    """Calibrated scores and what happened."""
    draw = np.random.default_rng(seed)
    scores = draw.beta(2 * rate, 2 * (1 - rate), count)
    return scores, (draw.random(count) < scores).astype(float)


def cost(least: Any, scores: Array, labels: Array, costs: Any) -> float:
    done = np.searchsorted(np.asarray(least), scores, side="right")
    return float(np.asarray(costs)[labels.astype(int), done].sum())


# The cheapest.


@given(
    rows=st.lists(st.tuples(st.integers(0, 8), st.integers(0, 1)), min_size=1, max_size=14),
    costs=st.integers(2, 4).flatmap(
        lambda k: st.tuples(*[st.tuples(*[st.integers(0, 9).map(float)] * k) for _ in range(2)])
    ),
)
def test_no_other_cut_offs_cost_less(rows: list[tuple[int, int]], costs: Any) -> None:
    scores = np.array([score / 8 for score, _ in rows])
    labels = np.array([label for _, label in rows])
    found = best_cuts(scores, labels, np.array(costs))
    assert len(found) == len(costs[0]) - 1
    assert list(found) == sorted(found)
    candidates = [*np.unique(scores), NEVER]
    every = itertools.combinations_with_replacement(candidates, len(found))
    assert cost(found, scores, labels, costs) == min(cost(each, scores, labels, costs) for each in every)


@given(st.integers(0, 10_000), st.floats(1.0, 50.0), st.floats(1.0, 4.0))
def test_the_dearer_a_miss_the_lower_the_cut_off(seed: int, missed: float, more: float) -> None:
    scores, labels = drawn(80, seed=seed)
    labels = labels.astype(int)
    low, high = (
        best_cuts(scores, labels, np.array(((0.0, 1.0), (price, 0.0)))) for price in (missed * more, missed)
    )
    assert low[0] <= high[0]


@given(st.integers(0, 10_000), st.floats(0.5, 4.0))
def test_the_unit_of_costs_does_not_matter(seed: int, unit: float) -> None:
    scores, labels = drawn(60, seed=seed)
    labels, costs = labels.astype(int), np.array(FRAUD)
    one, other = best_cuts(scores, labels, costs), best_cuts(scores, labels, costs * 2.0 ** round(unit))
    assert one == other


def test_on_calibrated_scores_the_cut_offs_are_those_of_theory() -> None:
    scores, labels = drawn(60_000, rate=0.2)
    found = learn_thresholds(scores, labels, FRAUD)
    # Blocking costs at most 1 and a review 3: nothing is reviewed.
    assert found.least[0] == found.least[1]
    assert found.least[0] == pytest.approx(1 / 41, abs=0.01)
    dear = learn_thresholds(scores, labels, ((0.0, 3.0, 10.0), (40.0, 3.0, 0.0)))
    assert dear.least == pytest.approx((3 / 40, 0.7), abs=0.03)
    assert sum(dear.shares) == pytest.approx(1.0)


def test_scores_that_tell_apart_are_cut_between_and_useless_ones_not_at_all() -> None:
    scores, labels = np.repeat([0.2, 0.8], 50), np.repeat([0.0, 1.0], 50)
    assert learn_thresholds(scores, labels, ((0, 1), (1, 0))).least == (0.5,)
    same = learn_thresholds(np.full(100, 0.3), labels, ((0, 1), (9, 0)))
    assert same.least == (0.0,), "everything is acted on"
    assert same.change.estimate == 0.0
    assert not same.cheaper
    assert same.needed is None
    assert learn_thresholds(np.full(100, 0.3), labels, ((0, 9), (1, 0))).least == (NEVER,)


# The estimate.


def test_the_cost_is_told_on_rows_that_did_not_choose() -> None:
    """Scores that say nothing: on the rows that choose, a cut-off looks cheaper than it is."""
    told, flattered, truth = [], [], 0.5
    for seed in range(40):
        draw = np.random.default_rng(seed)
        scores, labels = draw.random(100), (draw.random(100) < 0.5).astype(float)
        found = learn_thresholds(scores, labels, ((0, 1), (1, 0)))
        told.append(found.cost.estimate)
        flattered.append(cost(found.least, scores, labels, ((0, 1), (1, 0))) / 100)
    assert np.mean(flattered) < truth - 0.04
    assert abs(np.mean(told) - truth) < 0.02


def test_the_interval_of_the_cost_covers_what_later_rows_cost() -> None:
    """95% intervals over days with a shock each: what the learned cut-off costs later is in most of them."""
    covered, narrower, later = 0, 0, _days(1000, seed=99)
    for seed in range(60):
        scores, labels, days = _days(40, seed=seed)
        by_day = learn_thresholds(scores, labels, ((0, 1), (1, 0)), blocks=days)
        by_row = learn_thresholds(scores, labels, ((0, 1), (1, 0)))
        truth = cost(by_day.least, *later[:2], ((0, 1), (1, 0))) / len(later[0])
        covered += by_day.cost.low <= truth <= by_day.cost.high
        narrower += by_row.cost.high - by_row.cost.low < by_day.cost.high - by_day.cost.low
    assert covered >= 53, "at least 88% of 60: two standard errors below 95%"
    assert narrower >= 40, "rows that share a day are worth less than as many apart"


def _days(count: int, *, seed: int) -> tuple[Array, Array, Array]:
    """Days of 25 rows with a shock each, which the model does not see."""
    draw = np.random.default_rng(seed)
    days = np.repeat(np.arange(count), 25)
    own, shock = draw.normal(0, 1.5, len(days)), draw.normal(0, 0.8, count)[days]
    labels = (draw.random(len(days)) < 1 / (1 + np.exp(-own - shock))).astype(float)
    return 1 / (1 + np.exp(-own)), labels, days


def test_the_change_is_measured_on_the_same_rows() -> None:
    scores, labels = drawn(4000)
    assert learn_thresholds(scores, labels, ((0, 1), (4, 0)), present=(0.5,)).cheaper
    found = learn_thresholds(scores, labels, ((0, 1), (4, 0)), present=(0.25,))
    assert found.change.estimate == pytest.approx(found.cost.estimate - found.present_cost.estimate)
    width = found.present_cost.high - found.present_cost.low
    assert found.change.high - found.change.low < width
    again = learn_thresholds(scores, labels, ((0, 1), (4, 0)), present=found.least)
    assert not again.cheaper, "they cannot beat themselves"


def test_a_change_that_is_not_shown_says_how_many_rows_would_show_it() -> None:
    scores, labels = drawn(400, seed=3)
    found = learn_thresholds(scores, labels, ((0, 1), (1, 0)), present=(0.6,))
    assert not found.cheaper
    assert found.needed is not None
    assert found.needed > 400
    scores, labels = drawn(20 * found.needed, seed=4)
    assert learn_thresholds(scores, labels, ((0, 1), (1, 0)), present=(0.6,)).cheaper


def test_without_present_ones_the_cheapest_single_action_stands_in_their_place() -> None:
    scores, labels = drawn(1000, rate=0.1)
    found = learn_thresholds(scores, labels, FRAUD)
    assert found.present == (0.0, 0.0), "blocking all costs least of all that is done to all"
    assert found.present_cost.estimate == pytest.approx((labels == 0).mean())


def test_each_row_is_charged_for_what_others_chose() -> None:
    """Change the outcomes of one fold: what is done about its rows stays as it is."""
    scores, labels = drawn(500, seed=7)
    days = np.arange(500) // 50
    before = held_out_actions(scores, labels, ((0, 1), (1, 0)), blocks=days)
    turned = np.where(days < 2, 1 - labels, labels)
    after = held_out_actions(scores, turned, ((0, 1), (1, 0)), blocks=days)
    assert (before[days < 2] == after[days < 2]).all()


def test_the_order_of_rows_in_a_block_does_not_matter() -> None:
    scores, labels = drawn(600)
    days = np.arange(600) // 30
    mixed = np.random.default_rng(0).permutation(600)
    one, other = (
        learn_thresholds(scores[rows], labels[rows], FRAUD, blocks=days[rows])
        for rows in (np.arange(600), mixed)
    )
    assert one.least == other.least
    assert one.cost.high == pytest.approx(other.cost.high)


# Refusals.


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"y_score": [np.nan] + [0.5] * 99}, r"y_score is a probability in \[0, 1\], not nan"),
        ({"y_score": [0.5] * 99 + [1.5]}, "not 1.5"),
        ({"y_score": [0.5] * 99}, "99 scores and 100 outcomes"),
        ({"y_score": ["high"] * 100}, "must be a list of numbers"),
        ({"y_score": [[0.5]] * 100}, "shape"),
        ({"y_true": [0.5] * 100}, "y_true is 0 or 1, not 0.5"),
        ({"y_true": [np.nan] * 100}, "y_true is 0 or 1, not nan"),
        ({"y_true": [0.0] * 100}, "rows of both kinds would do"),
        ({"y_true": [1.0] * 100}, "where 0 happened; of these 100 it was 0"),
        ({"y_true": [0.0, 1.0] * 10, "y_score": [0.5] * 20}, r"it was 10. At this rate about \d+ rows"),
        ({"y_true": [], "y_score": []}, "of these 0 it was 0"),
        ({"costs": ((0, 1),)}, "two rows"),
        ({"costs": ((0, 1), (1,))}, "two rows"),
        ({"costs": ((0,), (1,))}, "2 to 20 actions"),
        ({"costs": ((0, np.inf), (1, 0))}, "finite"),
        ({"blocks": [0] * 100}, "need 10 blocks or more"),
        ({"blocks": [0] * 99}, "100 scores and 99 blocks"),
        ({"present": (0.1, 0.2)}, "2 actions have 1 cut-offs, not 2"),
        ({"present": (np.nan,)}, "finite"),
    ],
)
def test_what_cannot_be_learned_from_is_refused(change: dict[str, Any], said: str) -> None:
    given_ = {"y_score": [0.5] * 100, "y_true": [0.0, 1.0] * 50, "costs": ((0, 1), (1, 0)), **change}
    with pytest.raises(InputError, match=said):
        learn_thresholds(given_.pop("y_score"), given_.pop("y_true"), given_.pop("costs"), **given_)


def test_as_many_rows_as_are_asked_for_are_enough() -> None:
    labels = [0.0, 1.0] * FEWEST_OF_EACH
    found = learn_thresholds(np.linspace(0, 1, len(labels)), labels, ((0, 1), (1, 0)))
    assert isinstance(found, LearnedThresholds)
    assert found.of_each == (FEWEST_OF_EACH, FEWEST_OF_EACH)
