"""Forecasts of more than one number: against closed forms, against each other, and their laws."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lossloop.core.errors import InputError
from lossloop.losses import (
    Loss,
    absolute,
    crps_ensemble,
    crps_quantiles,
    outside_interval,
    pinball,
    pinball_mean,
    winkler,
)

NUMBER = st.floats(-1e4, 1e4)
RNG = np.random.default_rng(9)


def crps_of_normal(y: float) -> float:
    """Gneiting and Raftery (2007), equation 21, for the standard normal distribution."""
    return float(y * (2 * stats.norm.cdf(y) - 1) + 2 * stats.norm.pdf(y) - 1 / math.sqrt(math.pi))


def ends(level: float) -> tuple[float, float]:
    return (1 - level) / 2, (1 + level) / 2


# Intervals.


@given(NUMBER, NUMBER, NUMBER, st.floats(0.05, 0.99))
def test_winkler_is_two_pinball_losses(y: float, one: float, other: float, level: float) -> None:
    """The interval score is 2 / alpha times the sum of the pinball losses of both ends."""
    low, high = sorted((one, other))
    lower, upper = (pinball.with_parameters(level=at) for at in ends(level))
    expected = 2 / (1 - level) * (lower([y], [low])[0] + upper([y], [high])[0])
    assert winkler.with_parameters(level=level)([y], [[low, high]])[0] == pytest.approx(expected, abs=1e-6)


@given(NUMBER, NUMBER, NUMBER)
def test_laws_of_an_interval(y: float, one: float, other: float) -> None:
    low, high = sorted((one, other))
    (cost,), (missed,) = winkler([y], [[low, high]]), outside_interval([y], [[low, high]])
    assert cost >= high - low
    assert (missed == 0) == (low <= y <= high)
    assert cost == high - low or missed
    assert winkler([y], [[y, y]])[0] == 0
    assert winkler([-y], [[-high, -low]])[0] == pytest.approx(cost), "mirrored, it costs the same"


def test_winkler_is_least_at_the_true_quantiles() -> None:
    y = stats.norm.ppf((np.arange(4000) + 0.5) / 4000)

    def mean(low: float, high: float) -> float:
        loss = winkler.with_parameters(level=0.8)
        return float(loss(y, np.tile([low, high], (len(y), 1))).mean())

    right = stats.norm.ppf(ends(0.8))
    for away in (-0.3, -0.1, 0.1, 0.3):
        assert mean(*right) < mean(right[0] + away, right[1])
        assert mean(*right) < mean(right[0], right[1] + away)


@pytest.mark.parametrize("loss", [winkler, outside_interval], ids=str)
def test_an_interval_that_ends_before_it_begins_is_named(loss: Loss) -> None:
    with pytest.raises(InputError, match="row 1: 3 is followed by 2, which is lower") as caught:
        loss([1.0, 1.0], [[0.0, 2.0], [3.0, 2.0]])
    assert (caught.value.row, caught.value.field) == (1, "y_pred")
    costs, problems = loss.rows([1.0, 1.0], [[0.0, 2.0], [3.0, 2.0]])
    assert [problem.row for problem in problems] == [1]
    assert np.isnan(costs).tolist() == [False, True]
    with pytest.raises(InputError, match="3 columns; there must be 2"):
        loss([1.0], [[0.0, 1.0, 2.0]])


# Quantiles.


@given(NUMBER, NUMBER)
def test_a_median_alone_is_an_absolute_error(y: float, p: float) -> None:
    loss = crps_quantiles.with_parameters(levels=(0.5,))
    assert loss([y], [[p]])[0] == pytest.approx(absolute([y], [p])[0])


@pytest.mark.parametrize("y", [-2.0, -0.3, 0.0, 1.0, 3.5])
def test_many_quantiles_come_to_the_crps_of_the_distribution(y: float) -> None:
    levels = tuple(((np.arange(400) + 0.5) / 400).tolist())
    loss = crps_quantiles.with_parameters(levels=levels)
    assert loss([y], [stats.norm.ppf(levels)])[0] == pytest.approx(crps_of_normal(y), abs=5e-4)


def test_even_levels_are_twice_the_mean_pinball_loss() -> None:
    levels = tuple(((np.arange(10) + 0.5) / 10).tolist())
    pred, y = np.sort(RNG.normal(size=(20, 10)), axis=1), RNG.normal(size=20)
    one, other = crps_quantiles.with_parameters(levels=levels), pinball_mean.with_parameters(levels=levels)
    assert np.allclose(one(y, pred), 2 * other(y, pred))


def test_uneven_levels_do_not_bend_the_score() -> None:
    """Levels that crowd at one end are worth what they stand for: a plain mean would not be."""
    levels = tuple(np.concatenate([np.linspace(0.01, 0.1, 60), np.linspace(0.12, 0.99, 90)]).tolist())
    quantiles = stats.norm.ppf(levels)
    ours = crps_quantiles.with_parameters(levels=levels)([0.5], [quantiles])[0]
    plain = 2 * pinball_mean.with_parameters(levels=levels)([0.5], [quantiles])[0]
    assert ours == pytest.approx(crps_of_normal(0.5), abs=2e-3)
    assert abs(plain - crps_of_normal(0.5)) > 0.02


# Ensembles.


@given(st.lists(NUMBER, min_size=1, max_size=7), NUMBER, st.randoms(use_true_random=False))
def test_an_ensemble_is_scored_pair_by_pair(members: list[float], y: float, random: Any) -> None:
    away = sum(abs(x - y) for x in members) / len(members)
    apart = sum(abs(one - other) for one in members for other in members) / len(members) ** 2
    (cost,) = crps_ensemble([y], [members])
    assert cost == pytest.approx(max(away - apart / 2, 0), abs=1e-8)
    assert crps_ensemble([y], [[y] * len(members)])[0] == pytest.approx(0, abs=1e-9)
    random.shuffle(members)
    assert crps_ensemble([y], [members])[0] == pytest.approx(cost, abs=1e-8)


def test_a_large_ensemble_comes_to_the_crps_of_the_distribution() -> None:
    members = stats.norm.ppf((np.arange(2000) + 0.5) / 2000)
    assert crps_ensemble([0.7], [members])[0] == pytest.approx(crps_of_normal(0.7), abs=1e-3)


def test_of_two_forecasts_the_sharper_that_is_right_costs_less() -> None:
    wide, narrow = [-4.0, -2.0, 2.0, 4.0], [-0.4, -0.2, 0.2, 0.4]
    for loss in (crps_ensemble, crps_quantiles.with_parameters(levels=(0.1, 0.3, 0.7, 0.9))):
        assert loss([0.0], [narrow])[0] < loss([0.0], [wide])[0]
        assert loss([9.0], [narrow])[0] > loss([9.0], [wide])[0]
