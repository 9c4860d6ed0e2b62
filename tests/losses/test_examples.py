"""Examples from papers and textbooks, to the digits that they give."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from lossloop.losses import (
    Loss,
    crps_ensemble,
    crps_quantiles,
    get,
    integrated_brier,
    mase,
    naive_error,
    names,
    one_minus_map,
    one_minus_mrr,
    one_minus_ndcg,
    parse,
    winkler,
)


def ranked(*relevance: float) -> tuple[list[list[float]], list[list[float]]]:
    """A ranking whose items stand in the order in which they were scored."""
    return [list(relevance)], [list(range(len(relevance), 0, -1))]


def test_the_gain_of_six_documents() -> None:
    """Relevance 3, 2, 3, 0, 1, 2: a DCG of 6.861 where the best order has 7.141, so 0.961."""
    assert one_minus_ndcg(*ranked(3, 2, 3, 0, 1, 2))[0] == pytest.approx(1 - 6.861127 / 7.140995, abs=1e-6)


def test_two_queries_of_ten_documents() -> None:
    """Croft, Metzler and Strohman, Search Engines, section 8.4.2: average precisions .62 and .44, MAP .53."""
    first = np.isin(np.arange(1, 11), [1, 3, 6, 9, 10]).astype(float)
    second = np.isin(np.arange(1, 11), [2, 5, 7]).astype(float)
    scores = np.tile(np.arange(10.0, 0.0, -1.0), (2, 1))
    found = 1 - one_minus_map(np.stack([first, second]), scores)
    assert np.round(found, 2).tolist() == [0.62, 0.44]
    assert round(float(found.mean()), 2) == 0.53


def test_three_queries_for_plurals() -> None:
    """Reciprocal ranks 1/3, 1/2 and 1 of the right answer: a mean of 11/18, about .61."""
    true = [[0, 0, 1], [0, 1, 0], [1, 0, 0]]
    costs = one_minus_mrr(true, [[3, 2, 1]] * 3)
    assert 1 - costs.mean() == pytest.approx(11 / 18)


def test_a_standard_normal_forecast_that_is_right() -> None:
    """Gneiting and Raftery (2007), equation 21 at the mean: sqrt(2 / pi) - 1 / sqrt(pi), about .2337."""
    expected = np.sqrt(2 / np.pi) - 1 / np.sqrt(np.pi)
    levels = tuple(((np.arange(300) + 0.5) / 300).tolist())
    quantiles = stats.norm.ppf(levels)
    assert crps_quantiles.with_parameters(levels=levels)([0.0], [quantiles])[0] == pytest.approx(
        expected, abs=1e-3
    )
    assert crps_ensemble([0.0], [quantiles])[0] == pytest.approx(expected, abs=2e-3)


def test_an_interval_of_95_percent() -> None:
    """With alpha .05 each unit outside costs 40: Winkler's penalty of 2 / alpha."""
    loss = winkler.with_parameters(level=0.95)
    assert loss([9.0, 11.0, 12.0], [[8.0, 11.0]] * 3) == pytest.approx([3.0, 3.0, 43.0])


def test_a_seasonal_naive_forecast() -> None:
    """Quarters that repeat but for a rise of 2 a year: the seasonal naive error is 2, the plain one more."""
    series = [10.0, 20.0, 30.0, 40.0, 12.0, 22.0, 32.0, 42.0, 14.0, 24.0]
    assert naive_error(series, season=4) == 2.0
    assert naive_error(series) > 10
    loss = mase.with_parameters(scale=naive_error(series, season=4))
    assert loss([34.0, 44.0], [32.0, 42.0]).tolist() == [1.0, 1.0]


def test_a_survival_curve_that_always_says_one_half_scores_a_quarter() -> None:
    """Graf and others (1999): the value of a forecast without information."""
    lives = np.stack([np.random.default_rng(3).exponential(2.0, 50), np.ones(50)], axis=1)
    assert integrated_brier(lives, np.full((50, 3), 0.5)) == pytest.approx(np.full(50, 0.25))


@pytest.mark.parametrize(
    ("text", "bounds"),
    [
        ("one_minus_mrr(top=3)", (0.0, 1.0)),
        ("0.5*one_minus_mrr + 0.5*one_minus_map(top=5)", (0.0, 1.0)),
        ("winkler(level=0.8).clip(100)", (0.0, 100.0)),
        ("crps_ensemble.clip(3)", (0.0, 3.0)),
        (
            "crps_quantiles(levels=(0.05, 0.5, 0.95)) + 0.1*pinball_mean(levels=(0.05, 0.5, 0.95))",
            (0.0, np.inf),
        ),
        ("outside_interval", (0.0, 1.0)),
        ("mase(scale=12.5)", (0.0, np.inf)),
        ("integrated_brier(horizons=(30,), censoring=((10, 0.5),))", (0.0, 2.0)),
    ],
)
def test_a_policy_may_write(text: str, bounds: tuple[float, float]) -> None:
    loss = parse(text)
    assert loss.bounds == pytest.approx(bounds)
    assert parse(str(loss)) == loss


KINDS = {"quantiles", "ensemble", "survival", "ranking"}


@pytest.mark.parametrize("loss", [get(name) for name in names() if get(name).kind in KINDS], ids=str)
def test_an_empty_batch_costs_nothing(loss: Loss) -> None:
    width = loss.declared.classes or 3
    columns = loss.declared.outcome_columns(width)
    true = np.empty((0, columns)) if columns else np.empty(0)
    assert loss(true, np.empty((0, width))).shape == (0,)
