"""Survival: closed forms, what censoring does to the mean, and outcomes that cannot be."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.core.errors import InputError
from lossloop.losses import brier, censoring_curve, integrated_brier, parse

HORIZONS = (0.5, 1.0, 2.0, 4.0)


def outcomes(rng: np.random.Generator, count: int, *, lost: float) -> tuple[Any, Any]:
    """Exponential lives of mean 2, and when they are lost sight of, at rate `lost`; seen as a sender sees."""
    life, left = rng.exponential(2.0, count), rng.exponential(1 / lost, count)
    seen = np.stack([np.minimum(life, left), life <= left], axis=1)
    return np.stack([life, np.ones(count)], axis=1), seen


def curves(count: int, rate: float = 0.5) -> Any:
    return np.tile(np.exp(-rate * np.asarray(HORIZONS)), (count, 1))


# One horizon, no censoring: a Brier score.


@given(st.lists(st.tuples(st.floats(0, 5), st.floats(0, 1)), min_size=1, max_size=10))
def test_one_horizon_without_censoring_is_a_brier_score(rows: list[tuple[float, float]]) -> None:
    times, chances = (np.asarray(column) for column in zip(*rows, strict=True))
    y_true = np.stack([times, np.ones(len(times))], axis=1)
    ours = integrated_brier.with_parameters(horizons=(2.0,))(y_true, chances[:, None])
    assert np.allclose(ours, brier(times > 2.0, chances))


def test_horizons_are_weighed_by_the_trapezoidal_rule() -> None:
    loss = integrated_brier.with_parameters(horizons=HORIZONS)
    pred, y_true = np.asarray([[0.9, 0.7, 0.4, 0.1]]), [[1.5, 1.0]]
    each = [brier([t < 1.5], [p])[0] for t, p in zip(HORIZONS, pred[0], strict=True)]
    expected = np.trapezoid(each, HORIZONS) / (HORIZONS[-1] - HORIZONS[0])
    assert loss(y_true, pred)[0] == pytest.approx(expected)


def test_certain_and_right_costs_nothing_certain_and_wrong_costs_the_bound() -> None:
    loss = integrated_brier.with_parameters(horizons=HORIZONS, censoring=((1.0, 0.8), (3.0, 0.5)))
    alive = [[9.0, 0.0]]
    assert loss(alive, np.ones((1, 4)))[0] == 0
    assert loss(alive, np.zeros((1, 4)))[0] == pytest.approx(loss.bounds[1])
    assert integrated_brier.bounds == (0.0, 1.0)


# Censoring.


def test_weights_give_the_mean_that_would_be_seen_without_censoring() -> None:
    """The claim of Graf and others, by simulation: not so without the weights."""
    rng = np.random.default_rng(11)
    whole, seen = outcomes(rng, 60_000, lost=0.2)
    plain = integrated_brier.with_parameters(horizons=HORIZONS)
    pred = curves(len(whole), rate=0.3)
    truth = plain(whole, pred).mean()
    exact = tuple((t, math.exp(-0.2 * t)) for t in np.linspace(0.01, 4.0, 400).tolist())
    learned = censoring_curve(seen[:3000], until=4.0)
    for curve, tolerance in ((exact, 0.004), (learned, 0.008)):
        loss = plain.with_parameters(censoring=curve)
        assert loss(seen, pred).mean() == pytest.approx(truth, abs=tolerance)
    assert abs(plain(seen, pred).mean() - truth) > 0.03


def test_the_true_curve_costs_less_than_any_other() -> None:
    rng = np.random.default_rng(12)
    _, seen = outcomes(rng, 40_000, lost=0.2)
    loss = integrated_brier.with_parameters(horizons=HORIZONS, censoring=censoring_curve(seen[:5000]))
    means = {rate: loss(seen, curves(len(seen), rate)).mean() for rate in (0.2, 0.35, 0.5, 0.7, 1.0)}
    assert min(means, key=means.__getitem__) == 0.5


def test_the_curve_of_a_worked_example() -> None:
    """Counted by hand: lost at 2 is one of the 4 that the event at 2 left, at 3 one of 2, at 5 the last."""
    y_true = [[1, 1], [2, 0], [2, 1], [3, 1], [3, 0], [5, 0]]
    found = censoring_curve(y_true)
    assert np.allclose(found, [(2.0, 1 - 1 / 4), (3.0, 3 / 4 * 1 / 2)])
    assert censoring_curve(np.empty((0, 2))) == ()
    assert censoring_curve([[1, 1], [4, 1]]) == ()


@pytest.mark.parametrize("steps", [5, 20, 60])
def test_a_curve_that_a_policy_can_hold_stays_near_the_whole_one(steps: int) -> None:
    _, seen = outcomes(np.random.default_rng(13), 4000, lost=0.4)
    whole = censoring_curve(seen, until=6.0, steps=10**6)
    short = censoring_curve(seen, until=6.0, steps=steps)
    assert len(short) == steps
    assert list(short) == sorted(short, key=lambda step: (step[0], -step[1]))
    at = np.linspace(0.0, 6.0, 997)
    apart = np.abs(shares_at(whole, at) - shares_at(short, at))
    assert apart.max() <= (1 - whole[-1][1]) / (2 * steps) + 1e-3
    loss = integrated_brier.with_parameters(horizons=(1.0, 6.0), censoring=short[:20])
    assert parse(str(loss)) == loss


def shares_at(curve: Any, times: Any) -> Any:
    steps, shares = zip((0.0, 1.0), *curve, strict=True)
    return np.asarray(shares)[np.searchsorted(steps, times, side="right") - 1]


def test_a_curve_ends_where_nobody_looks() -> None:
    y_true = [[1, 0], [2, 0], [3, 0], [9, 1]]
    assert np.allclose(censoring_curve(y_true, until=2.0), [(1.0, 0.75), (2.0, 0.5)])
    assert len(censoring_curve(y_true)) == 3


def test_a_policy_writes_a_curve() -> None:
    loss = parse("integrated_brier(horizons=(30, 90), censoring=((10, 0.9), (60, 0.5)))")
    assert np.allclose(loss.bounds, (0.0, (1 / 0.9 + 1 / 0.5) / 2))
    assert parse(str(loss)) == loss
    assert loss([[20, 1]], [[0.5, 0.5]])[0] == pytest.approx(0.25 / 0.9)


# Ill input.


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ([-1.0, 1.0], "row 1: time -1 is below 0"),
        ([1.0, 0.5], "row 1: event 0.5 is not 0 or 1"),
        ([math.nan, 1.0], "row 1: the outcome is missing"),
        ([math.inf, 1.0], "row 1: the outcome is infinite"),
        ([1.0], "row 1: there are 1 columns where other rows have 2"),
    ],
)
def test_an_outcome_that_cannot_be_is_named(row: list[float], words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        integrated_brier([[1.0, 1.0], row, [2.0, 0.0]], [[0.9, 0.8, 0.7]] * 3)
    assert (caught.value.field, caught.value.row) == ("y_true", 1)


def test_a_chance_outside_0_and_1_is_named() -> None:
    with pytest.raises(InputError, match=r"row 0: a probability of surviving is outside \[0, 1\]"):
        integrated_brier([[1.0, 1.0]], [[0.9, 1.1, 0.7]])
    with pytest.raises(InputError, match="there must be 3"):
        integrated_brier([[1.0, 1.0]], [[0.9, 0.7]])
    with pytest.raises(InputError, match="y_true has shape"):
        integrated_brier([[1.0, 1.0, 1.0]], [[0.9, 0.7, 0.1]])


@pytest.mark.parametrize("bad", [[[1.0, 2.0]], [[-1.0, 1.0]], [[math.nan, 0.0]]])
def test_a_curve_is_not_made_of_outcomes_that_cannot_be(bad: Any) -> None:
    with pytest.raises(InputError, match="row 1: "):
        censoring_curve([[1.0, 0.0], *bad])
    with pytest.raises(InputError, match=r"shape \(n, 2\)"):
        censoring_curve([1.0, 2.0])


@pytest.mark.parametrize("horizons", [(), (0.0, 1.0), (2.0, 1.0), (1.0, math.inf), ("a",)])
def test_horizons_rise_above_0(horizons: Any) -> None:
    with pytest.raises(InputError, match="horizons of integrated_brier must be rising times above 0"):
        integrated_brier.with_parameters(horizons=horizons)


@pytest.mark.parametrize(
    "curve",
    [((1.0, 0.0),), ((1.0, 1.1),), ((1.0, 0.5), (2.0, 0.6)), ((2.0, 0.5), (1.0, 0.4)), ((1.0,),), (1.0,)],
)
def test_a_curve_falls_and_stays_above_0(curve: Any) -> None:
    with pytest.raises(InputError, match="censoring of integrated_brier must be pairs"):
        integrated_brier.with_parameters(censoring=curve)
