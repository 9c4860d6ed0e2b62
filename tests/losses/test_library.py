"""Each loss against an independent implementation, and the laws that hold for any input."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special
from sklearn import metrics

from lossloop.core.errors import InputError
from lossloop.losses import (
    Array,
    Loss,
    absolute,
    brier,
    brier_multiclass,
    constraint_violation,
    cost_matrix,
    hinge,
    huber,
    log_loss,
    log_loss_multiclass,
    one_minus_click,
    pinball,
    pinball_mean,
    poisson_deviance,
    squared,
    warning_cost,
    zero_one,
)

RNG = np.random.default_rng(7)
LABELS = RNG.integers(0, 2, 200)
PROBABILITIES = RNG.uniform(0.001, 0.999, 200)
NUMBERS, GUESSES = RNG.normal(size=200), RNG.normal(size=200)
COUNTS, RATES = RNG.poisson(3.0, 200), RNG.uniform(0.1, 6.0, 200)
CLASSES, SHARES = RNG.integers(0, 4, 200), RNG.dirichlet(np.ones(4), 200)


def quantile_score(level: float) -> float:
    return float(metrics.mean_pinball_loss(NUMBERS, GUESSES, alpha=level))


@pytest.mark.parametrize(
    ("loss", "true", "pred", "expected"),
    [
        (squared, NUMBERS, GUESSES, metrics.mean_squared_error(NUMBERS, GUESSES)),
        (absolute, NUMBERS, GUESSES, metrics.mean_absolute_error(NUMBERS, GUESSES)),
        (huber, NUMBERS, GUESSES, special.huber(1.0, NUMBERS - GUESSES).mean()),
        (huber.with_parameters(delta=0.3), NUMBERS, GUESSES, special.huber(0.3, NUMBERS - GUESSES).mean()),
        (pinball, NUMBERS, GUESSES, quantile_score(0.5)),
        (pinball.with_parameters(level=0.9), NUMBERS, GUESSES, quantile_score(0.9)),
        (poisson_deviance, COUNTS, RATES, metrics.mean_poisson_deviance(COUNTS, RATES)),
        (log_loss, LABELS, PROBABILITIES, metrics.log_loss(LABELS, PROBABILITIES)),
        (log_loss_multiclass, CLASSES, SHARES, metrics.log_loss(CLASSES, SHARES)),
        (brier, LABELS, PROBABILITIES, metrics.brier_score_loss(LABELS, PROBABILITIES)),
        (brier_multiclass, CLASSES, SHARES, metrics.brier_score_loss(CLASSES, SHARES, scale_by_half=False)),
        (zero_one, CLASSES, SHARES.argmax(1), metrics.zero_one_loss(CLASSES, SHARES.argmax(1))),
        (hinge, LABELS, GUESSES, metrics.hinge_loss(LABELS, GUESSES)),
        (one_minus_click, LABELS, CLASSES, 1 - LABELS.mean()),
    ],
    ids=lambda value: str(value) if isinstance(value, Loss) else "",
)
def test_means_agree_with_other_libraries(loss: Loss, true: Array, pred: Array, expected: float) -> None:
    assert loss(true, pred).mean() == pytest.approx(expected, rel=1e-9)


def test_several_quantiles_are_the_mean_of_each() -> None:
    loss = pinball_mean.with_parameters(levels=(0.1, 0.9))
    each = [pinball.with_parameters(level=level)(NUMBERS, GUESSES) for level in (0.1, 0.9)]
    table = np.stack([GUESSES, GUESSES], axis=1)
    assert np.allclose(loss(NUMBERS, table), np.mean(each, axis=0))


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1)), min_size=1, max_size=20), st.floats(0.01, 50))
def test_log_loss_stays_within_its_cap(rows: list[tuple[bool, float]], cap: float) -> None:
    true, pred = zip(*rows, strict=True)
    costs = log_loss.with_parameters(cap=cap)(true, pred)
    assert (costs >= 0).all()
    assert (costs <= cap).all()


NUMBER = st.floats(-1e6, 1e6)


@pytest.mark.parametrize("loss", [squared, absolute, huber, pinball], ids=str)
@given(pair=st.tuples(NUMBER, NUMBER))
def test_errors_cost_nothing_only_where_there_is_none(loss: Loss, pair: tuple[float, float]) -> None:
    (cost,) = loss([pair[0]], [pair[1]])
    assert cost >= 0
    assert loss([pair[0]], [pair[0]])[0] == 0
    if abs(pair[0] - pair[1]) > 1e-3:
        assert cost > 0


@given(st.lists(NUMBER, min_size=2, max_size=10), st.randoms(use_true_random=False))
def test_costs_move_with_their_rows(values: list[float], random: Any) -> None:
    order = list(range(len(values)))
    random.shuffle(order)
    true, pred = np.asarray(values), np.asarray(values[::-1])
    assert np.array_equal(huber(true[order], pred[order]), huber(true, pred)[order])


@pytest.mark.parametrize("loss", [log_loss, brier], ids=str)
@given(truth=st.floats(0.05, 0.95), other=st.floats(0.05, 0.95))
def test_proper_scores_are_least_at_the_truth(loss: Loss, truth: float, other: float) -> None:
    def expected(said: float) -> float:
        happened, not_happened = loss([1, 0], [said, said])
        return float(truth * happened + (1 - truth) * not_happened)

    assert expected(truth) <= expected(other) + 1e-12


def test_two_classes_are_many_classes_of_two() -> None:
    table = np.stack([1 - PROBABILITIES, PROBABILITIES], axis=1)
    assert np.allclose(log_loss_multiclass(LABELS, table), log_loss(LABELS, PROBABILITIES))
    assert np.allclose(brier_multiclass(LABELS, table), 2 * brier(LABELS, PROBABILITIES))


def test_a_certain_mistake_costs_the_cap_and_not_infinity() -> None:
    assert log_loss.with_parameters(cap=5)([1, 0], [0.0, 1.0]).tolist() == [5.0, 5.0]
    assert log_loss.with_parameters(cap=5).bounds == (0.0, 5.0)


def test_a_count_of_zero_has_a_deviance() -> None:
    assert poisson_deviance([0], [0.7])[0] == pytest.approx(1.4)


def test_warnings_follow_the_cheaper_choice() -> None:
    loss = warning_cost.with_parameters(missed=20, false_alarm=10)
    assert loss.bounds == (0.0, 20.0)
    assert loss([1, 1, 0, 0], [1 / 3, 0.3, 0.4, 0.3]).tolist() == [0.0, 20.0, 10.0, 0.0]


@given(st.floats(0, 1), st.floats(0.1, 100), st.floats(0.1, 100))
def test_no_threshold_beats_the_warning_cost(probability: float, missed: float, false_alarm: float) -> None:
    loss = warning_cost.with_parameters(missed=missed, false_alarm=false_alarm)
    cost = probability * loss([1], [probability])[0] + (1 - probability) * loss([0], [probability])[0]
    assert cost <= min(probability * missed, (1 - probability) * false_alarm) * (1 + 1e-9) + 1e-12


def test_money_has_the_unit_that_was_asked_for() -> None:
    assert warning_cost.unit == "USD"
    assert warning_cost.with_parameters(unit="EUR").unit == "EUR"
    assert cost_matrix.with_parameters(unit="min").unit == "min"


@pytest.mark.parametrize(
    "costs", [((0, 1),), ((0, 1), (1,)), ((0, -1), (1, 0)), ((0, 0), (0, 0)), ((0, "a"), (1, 0)), ()]
)
def test_a_matrix_must_be_one(costs: Any) -> None:
    with pytest.raises(InputError, match="must be a square matrix of costs of at least 0"):
        cost_matrix.with_parameters(costs=costs)


@pytest.mark.parametrize("levels", [(), (0.5, 0.1), (0.0, 0.5), (0.5, 0.5), ("a",)])
def test_levels_must_rise_between_0_and_1(levels: Any) -> None:
    with pytest.raises(InputError, match="must be rising numbers between 0 and 1"):
        pinball_mean.with_parameters(levels=levels)


def test_a_limit_may_be_open_on_one_side() -> None:
    loss = constraint_violation.with_parameters(low=-math.inf, high=2)
    assert loss(None, [-1e9, 2.0, 2.1]).tolist() == [0.0, 0.0, 1.0]


def test_any_component_breaks_a_limit() -> None:
    assert constraint_violation(None, [[0.5, 0.5], [0.5, 1.5]]).tolist() == [0.0, 1.0]


def test_a_constraint_needs_no_outcome_and_does_not_look_at_one() -> None:
    assert not constraint_violation.needs_outcome
    assert constraint_violation([math.nan], [0.5]).tolist() == [0.0]
