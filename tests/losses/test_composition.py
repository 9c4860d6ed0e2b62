"""Losses made of losses: what they cost, what they declare, and what is refused."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.core.errors import InputError
from lossloop.losses import (
    Array,
    Features,
    Loss,
    absolute,
    brier,
    constraint_violation,
    cost_matrix,
    get,
    log_loss,
    poisson_deviance,
    squared,
    warning_cost,
    zero_one,
)

LABELS, PROBABILITIES = np.asarray([0, 1, 1, 0]), np.asarray([0.2, 0.9, 0.01, 0.7])
CARRIERS = {"carrier": np.asarray(["UA", "AA", "UA", "AA"]), "hour": np.asarray([5, 6, 7, 8])}
WEIGHT = st.floats(0.01, 100)
ROWS = st.lists(st.tuples(st.booleans(), st.floats(0, 1)), min_size=1, max_size=8)


def split(rows: list[tuple[bool, float]]) -> tuple[Array, Array]:
    return np.asarray([row[0] for row in rows]), np.asarray([row[1] for row in rows])


@given(WEIGHT, WEIGHT, ROWS)
def test_a_weighted_sum_is_the_sum_of_the_weighted(
    a: float, b: float, rows: list[tuple[bool, float]]
) -> None:
    true, pred = split(rows)
    mixed = a * log_loss + b * brier
    assert np.allclose(mixed(true, pred), a * log_loss(true, pred) + b * brier(true, pred))
    assert mixed.bounds == pytest.approx((0.0, a * 10 + b))


@given(WEIGHT, ROWS)
def test_weighting_is_linear_and_its_order_does_not_matter(
    weight: float, rows: list[tuple[bool, float]]
) -> None:
    true, pred = split(rows)
    assert np.allclose(
        (weight * (brier + log_loss))(true, pred), (brier * weight + weight * log_loss)(true, pred)
    )
    assert weight * brier == brier * weight


@given(st.floats(0.01, 20), ROWS)
def test_a_clip_bounds_the_costs(high: float, rows: list[tuple[bool, float]]) -> None:
    true, pred = split(rows)
    clipped = log_loss.clip(high)
    assert np.array_equal(clipped(true, pred), np.minimum(log_loss(true, pred), high))
    assert clipped.bounds == (0.0, min(high, 10.0))
    assert np.array_equal(clipped.clip(high)(true, pred), clipped(true, pred))


def test_a_clip_makes_an_unbounded_loss_bounded() -> None:
    assert squared.bounds == (0.0, math.inf)
    assert squared.clip(4).bounds == (0.0, 4.0)
    assert squared.clip(4, low=1).bounds == (1.0, 4.0)
    assert squared.clip(4, low=1)([0.0, 0.0, 0.0], [0.0, 1.5, 9.0]).tolist() == [1.0, 2.25, 4.0]


def test_where_confines_a_loss_to_some_rows() -> None:
    united = log_loss.where(carrier="UA")
    costs = united(LABELS, PROBABILITIES, CARRIERS)
    assert np.array_equal(costs, log_loss(LABELS, PROBABILITIES) * [1, 0, 1, 0])
    assert (united.needs_features, united.bounds) == (True, (0.0, 10.0))


def late(y_true: Array) -> Array:
    return y_true


def not_late(y_true: Array) -> Array:
    return ~y_true


def early(features: Features) -> Array:
    return features["hour"] < 7


def confident(y_pred: Array) -> Array:
    return y_pred > 0.5


def test_a_condition_and_its_contrary_add_up_to_the_whole() -> None:
    whole = log_loss.where(late) + log_loss.where(not_late)
    assert np.allclose(whole(LABELS, PROBABILITIES), log_loss(LABELS, PROBABILITIES))


@pytest.mark.parametrize(
    ("condition", "kept"), [(late, [0, 1, 1, 0]), (early, [1, 1, 0, 0]), (confident, [0, 1, 0, 1])]
)
def test_a_condition_is_a_function_of_what_it_names(condition: Callable[..., Array], kept: list[int]) -> None:
    costs = brier.where(condition)(LABELS, PROBABILITIES, CARRIERS)
    assert np.array_equal(costs, brier(LABELS, PROBABILITIES) * kept)


def test_conditions_and_values_hold_together() -> None:
    both = brier.where(late, carrier="UA")
    assert np.flatnonzero(both(LABELS, PROBABILITIES, CARRIERS)).tolist() == [2]
    assert str(both) == "brier.where(late, carrier='UA')"


def test_a_cost_elsewhere_is_0_even_where_the_loss_never_is() -> None:
    assert squared.clip(4, low=1).where(carrier="UA").bounds == (0.0, 4.0)


def test_a_condition_may_need_what_the_loss_did_not() -> None:
    assert not constraint_violation.where(early).needs_outcome
    assert constraint_violation.where(late).needs_outcome
    assert constraint_violation.where(early).needs_features


def test_other_libraries_compose_too() -> None:
    pred = jnp.asarray(PROBABILITIES)
    made = (0.5 * log_loss + brier).clip(2).where(confident)
    expected = made(LABELS, PROBABILITIES)
    assert np.allclose(made(jnp.asarray(LABELS), pred), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("compose", "words"),
    [
        (
            lambda: squared + brier,
            "squared + brier has no meaning: their kinds differ, 'value' and 'probability'",
        ),
        (lambda: warning_cost + brier, "their units differ, 'USD' and ''"),
        (lambda: squared + poisson_deviance, "their outcomes differ, 'value' and 'count'"),
        (
            lambda: cost_matrix + cost_matrix.with_parameters(costs=((0, 1, 1), (1, 0, 1), (1, 1, 0))),
            "one loss is about 2 classes and the other about 3",
        ),
        (lambda: -1 * brier, "a weight must be a positive number, not -1.0"),
        (lambda: 0 * brier, "a weight must be a positive number, not 0.0"),
        (lambda: math.inf * brier, "a weight must be a positive number, not inf"),
        (lambda: brier.clip(0), "clip(0) leaves brier no room: [0, 0]"),
        (lambda: brier.clip(0.5, low=0.6), "clip(0.5) leaves brier no room: [0.6, 0.5]"),
        (brier.where, "where() takes a function of y_true, y_pred or features"),
        (lambda: brier.where(lambda rows: rows), "where() takes a function of y_true, y_pred or features"),
    ],
)
def test_what_has_no_meaning_is_refused(compose: Callable[[], Loss], words: str) -> None:
    with pytest.raises(InputError, match=re.escape(words)):
        compose()


@pytest.mark.parametrize("weight", [True, "2", None, np.ones(3)])
def test_only_a_number_is_a_weight(weight: Any) -> None:
    with pytest.raises(TypeError):
        brier * weight


def test_a_numpy_number_is_a_weight() -> None:
    assert np.float64(0.5) * brier == 0.5 * brier


def test_only_a_loss_can_be_added() -> None:
    with pytest.raises(TypeError):
        brier + 1


def test_one_number_of_classes_goes_with_any() -> None:
    zero_one_of_two = zero_one.with_parameters()
    mixed = cost_matrix.with_parameters(unit="") + zero_one_of_two
    assert mixed.declared.classes == 2
    assert mixed([0, 1], [1, 1]).tolist() == [2.0, 0.0]


def test_a_condition_that_gives_no_booleans_is_an_error() -> None:
    with pytest.raises(InputError, match=re.escape("a condition must give one boolean per row: shape (4,)")):
        brier.where(lambda y_true: y_true[:2])(LABELS, PROBABILITIES)


def test_a_feature_that_is_not_there_is_named() -> None:
    with pytest.raises(InputError, match="this loss needs the feature 'carier'") as caught:
        brier.where(carier="UA")(LABELS, PROBABILITIES, CARRIERS)
    assert caught.value.field == "features.carier"


def test_versions_are_made_of_the_parts_versions() -> None:
    cap = get("log_loss", cap=5)
    made = 0.7 * cap + 0.3 * brier
    assert made == 0.7 * get("log_loss", cap=5) + 0.3 * brier
    others = [
        0.7 * cap + 0.4 * brier,
        0.7 * log_loss + 0.3 * brier,
        0.3 * brier + 0.7 * cap,
        cap,
        made.clip(1),
    ]
    assert made.version not in {other.version for other in others}
    assert brier.where(late) != brier.where(not_late)
    assert brier.where(carrier="UA") != brier.where(carrier="AA")


def test_a_condition_of_unknown_code_makes_the_version_unknown() -> None:
    condition = eval("lambda y_true: y_true")
    assert brier.where(condition).version.endswith("+unknown")


def test_slopes_of_compositions_follow_from_those_of_the_parts() -> None:
    margin = np.asarray([0.3, -1.0, 5.0, 0.0])
    mixed = 2 * log_loss + brier
    assert np.allclose(
        mixed.gradient(LABELS, margin), 2 * log_loss.gradient(LABELS, margin) + brier.gradient(LABELS, margin)
    )
    assert np.allclose(
        mixed.hessian(LABELS, margin), 2 * log_loss.hessian(LABELS, margin) + brier.hessian(LABELS, margin)
    )
    assert log_loss.clip(1).gradient([0, 0], [5.0, -5.0]).tolist() == [0.0, log_loss.gradient([0], [-5.0])[0]]
    assert np.flatnonzero(brier.where(late).gradient(LABELS, margin)).tolist() == [1, 2]
    assert np.flatnonzero(brier.where(carrier="UA").hessian(LABELS, margin, CARRIERS)).tolist() == [0, 2]


def test_parts_without_a_common_link_are_no_objective() -> None:
    assert (log_loss + warning_cost.with_parameters(unit="")).link is None
    assert log_loss.where(confident).link is None
    assert (squared + absolute).link == "identity"
    assert not (squared + absolute).has_hessian
    with pytest.raises(InputError, match="has no hessian"):
        (squared + absolute).hessian([1.0], [2.0])
