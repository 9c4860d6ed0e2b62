"""Rankings: against scikit-learn and a recount item by item, and the laws that hold for any ranking."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn import metrics

from lossloop.core.errors import InputError
from lossloop.losses import Loss, one_minus_map, one_minus_mrr, one_minus_ndcg

ALL = (one_minus_map, one_minus_mrr, one_minus_ndcg)
RNG = np.random.default_rng(5)
SCORES = np.stack([RNG.permutation(12) for _ in range(50)]).astype(float)
RELEVANCE = RNG.integers(0, 4, (50, 12)).astype(float)


def counted(relevant: list[bool], top: int) -> tuple[float, float]:
    """Reciprocal rank and average precision of items in their order, one by one."""
    found, precisions, reciprocal = 0, 0.0, 0.0
    for place, good in enumerate(relevant[:top], start=1):
        if good:
            found += 1
            precisions += found / place
            reciprocal = reciprocal or 1 / place
    return reciprocal, precisions / min(top, sum(relevant))


@pytest.mark.parametrize("top", [1, 3, 5, 12, 40])
def test_ndcg_is_that_of_scikit_learn(top: int) -> None:
    ours = one_minus_ndcg.with_parameters(top=top)(RELEVANCE, SCORES)
    theirs = [metrics.ndcg_score(RELEVANCE[[row]], SCORES[[row]], k=top) for row in range(50)]
    assert np.allclose(1 - ours, theirs)


def test_average_precision_over_all_items_is_that_of_scikit_learn() -> None:
    relevant = RELEVANCE > 1
    relevant[:, 0] = True
    theirs = [metrics.average_precision_score(relevant[row], SCORES[row]) for row in range(50)]
    assert np.allclose(1 - one_minus_map.with_parameters(top=100)(relevant, SCORES), theirs)


def test_reciprocal_rank_with_one_relevant_item_is_scikit_learns_average_precision() -> None:
    relevant = np.eye(12)[RNG.integers(0, 12, 50)]
    theirs = metrics.label_ranking_average_precision_score(relevant, SCORES)
    assert (1 - one_minus_mrr.with_parameters(top=12)(relevant, SCORES)).mean() == pytest.approx(theirs)


@given(arrays(bool, st.integers(1, 8)), st.integers(1, 9), st.randoms(use_true_random=False))
def test_places_are_those_of_a_recount(relevant: Any, top: int, random: Any) -> None:
    order = list(range(len(relevant)))
    random.shuffle(order)
    scores = -np.asarray(order, dtype=float)
    in_order = [bool(relevant[order.index(place)]) for place in range(len(order))]
    expected = counted(in_order, top) if relevant.any() else (1.0, 1.0)
    for loss, value in zip((one_minus_mrr, one_minus_map), expected, strict=True):
        assert loss.with_parameters(top=top)([relevant], [scores])[0] == pytest.approx(1 - value)


@pytest.mark.parametrize("loss", ALL, ids=str)
@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(-20, 20)), min_size=1, max_size=8, unique_by=lambda x: x[1]
    ),
    st.integers(1, 8),
    st.randoms(use_true_random=False),
)
def test_laws_of_a_ranking(loss: Loss, items: list[tuple[int, int]], top: int, random: Any) -> None:
    """In [0, 1]; 0 in the order of relevance; the same whatever order items come in or scale scores have."""
    loss = loss.with_parameters(top=top)
    relevance, scores = (np.asarray([column], dtype=float) for column in zip(*items, strict=True))
    (cost,) = loss(relevance, scores)
    assert 0 <= cost <= 1 + 1e-12
    assert loss(relevance, relevance)[0] == pytest.approx(0.0)
    random.shuffle(items)
    again, moved = (np.asarray([column], dtype=float) for column in zip(*items, strict=True))
    assert loss(again, moved)[0] == pytest.approx(cost)
    assert loss(relevance, np.exp(scores / 10) + 3)[0] == pytest.approx(cost)


@pytest.mark.parametrize("loss", ALL, ids=str)
def test_a_relevant_item_that_moves_up_never_costs_more(loss: Loss) -> None:
    scores = np.arange(6.0, 0.0, -1.0)
    costs = [loss([np.eye(6)[place]], [scores])[0] for place in range(6)]
    assert costs == sorted(costs)
    assert costs[0] == 0
    assert len(set(costs)) == 6


@pytest.mark.parametrize("loss", ALL, ids=str)
def test_nothing_to_find_costs_nothing_and_ties_keep_their_order(loss: Loss) -> None:
    assert loss([[0, 0], [-1, 0]], [[1, 2], [2, 1]]).tolist() == [0.0, 0.0]
    assert loss([[1, 0], [0, 1]], [[5, 5], [5, 5]]).tolist()[0] == 0.0
    assert loss([[0, 1]], [[5, 5]])[0] > 0


@pytest.mark.parametrize("loss", ALL, ids=str)
def test_an_ill_ranking_is_named(loss: Loss) -> None:
    with pytest.raises(InputError, match="row 1: the prediction is missing") as caught:
        loss([[1, 0], [1, 0]], [[1, 2], [1, np.nan]])
    assert caught.value.row == 1
    with pytest.raises(InputError, match="y_true has shape"):
        loss([[1, 0, 0]], [[1, 2]])
