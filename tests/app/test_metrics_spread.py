"""How often intervals of metrics and of gaps hold the truth, in simulations; and when there are none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.app.metrics.kinds import Sums, limits, measured
from lossloop.app.metrics.spread import LeftOut, gaps, intervals, left_out, together
from lossloop.core.tasks import Task
from lossloop.summaries import Residuals, Scores

Array = np.ndarray[Any, Any]


def sums_of(values: Array, clusters: Array, empty: Sums) -> dict[int, Sums]:
    return {int(each): empty.add(values[clusters == each]) for each in np.unique(clusters)}


def in_clusters(values: Array, clusters: Array, empty: Sums) -> LeftOut:
    return left_out(sums_of(values, clusters, empty))


def of_blocks(
    draw: np.random.Generator, blocks: int, *, shock: float, rows: int = 100
) -> tuple[Array, Array]:
    """Labels with chances that are right on average, but off by a shock that all rows of a block share."""
    cluster = np.repeat(np.arange(blocks), rows)
    chance = draw.uniform(0.1, 0.9, len(cluster))
    real = np.clip(chance + draw.normal(0.0, shock, blocks)[cluster], 0, 1)
    return np.stack([draw.random(len(cluster)) < real, chance], axis=1).astype(float), cluster


def share_held(truth: float, name: str, make: Callable[[], LeftOut], runs: int) -> float:
    held = 0
    for _ in range(runs):
        found = intervals(make(), level=0.95)[name]
        assert found is not None
        held += found.low <= truth <= found.high
    return held / runs


@pytest.mark.parametrize("name", ["accuracy", "recall", "auc", "bias", "miscalibration"])
@pytest.mark.parametrize("shock", [0.0, 0.15])
def test_intervals_hold_the_truth_whether_or_not_rows_of_a_block_depend(name: str, shock: float) -> None:
    """An interval that took rows for independent would miss half of the time where a block shares a shock."""
    draw = np.random.default_rng(17)
    many, _ = of_blocks(draw, 4000, shock=shock, rows=25)
    truth = Scores().add(many).metrics()[name] or 0.0

    def make() -> LeftOut:
        return in_clusters(*of_blocks(draw, 12, shock=shock), Scores())

    assert share_held(truth, name, make, 80) >= 0.92


def test_rows_taken_for_independent_would_miss_what_blocks_share() -> None:
    draw = np.random.default_rng(18)

    def make() -> LeftOut:
        values, cluster = of_blocks(draw, 12, shock=0.15)
        return in_clusters(values, draw.permutation(len(cluster)) % 12, Scores())

    assert share_held(0.0, "bias", make, 80) < 0.8


def test_gaps_hold_the_truth_and_forget_what_slices_share() -> None:
    """Both slices have the block's shock, which their difference does not have."""
    draw = np.random.default_rng(19)
    held, paired, single = 0, [], []
    for _ in range(80):
        values, cluster = of_blocks(draw, 12, shock=0.2)
        first = draw.random(len(cluster)) < 0.5
        one = in_clusters(values[first], cluster[first], Scores())
        other = in_clusters(values[~first], cluster[~first], Scores())
        found, alone = gaps(one, other, level=0.95)["bias"], intervals(one, level=0.95)["bias"]
        assert found is not None
        assert alone is not None
        held += found.low <= 0.0 <= found.high
        paired.append(found.high - found.low)
        single.append(alone.high - alone.low)
    assert held >= 0.92 * 80
    assert np.median(paired) < 0.8 * np.median(single)


def test_a_jackknife_of_a_mean_is_the_spread_of_its_parts() -> None:
    draw = np.random.default_rng(20)
    values = np.stack([np.zeros(60), draw.normal(size=60)], axis=1)
    found = intervals(in_clusters(values, np.arange(60) // 5, Residuals()), level=0.95)["bias"]
    means = values[:, 1].reshape(12, 5).mean(axis=1)
    assert found is not None
    error = means.std(ddof=1) / np.sqrt(12)
    assert found.estimate == pytest.approx(means.mean())
    assert (found.high - found.low) / 2 / error == pytest.approx(2.9, abs=0.2), "for looking at any time"


def test_what_chance_raises_has_no_interval() -> None:
    """With right probabilities and few rows the calibration error is .05 on average, and 0 in truth."""
    draw = np.random.default_rng(21)
    found = [in_clusters(*of_blocks(draw, 6, shock=0.0, rows=60), Scores()) for _ in range(40)]
    assert np.mean([each.whole["calibration_error"] or 0.0 for each in found]) > 0.03
    assert abs(np.mean([each.whole["miscalibration"] or 0.0 for each in found])) < 0.001
    assert intervals(found[0], level=0.95)["calibration_error"] is None
    assert gaps(found[0], found[1], level=0.95)["calibration_error"] is None


def test_too_few_clusters_or_nothing_left_have_no_interval() -> None:
    few = in_clusters(np.array([[1.0, 0.9]] * 8), np.arange(8) // 2, Scores())
    assert intervals(few, level=0.95)["accuracy"] is None
    rows = np.array([[1.0, 0.9], *[[0.0, 0.1]] * 11])
    found = intervals(in_clusters(rows, np.arange(12) // 2, Scores()), level=0.95)
    assert found["recall"] is None, "one cluster holds the only positive"
    assert found["accuracy"] is not None
    more = in_clusters(rows, np.arange(12), Scores())
    assert set(gaps(few, more, level=0.95).values()) == {None}


def test_intervals_stay_within_what_a_metric_can_be() -> None:
    rows = np.array([[1.0, 0.9], [0.0, 0.2]] * 6 + [[1.0, 0.1]])
    found = intervals(in_clusters(rows, np.arange(13) // 2, Scores()), level=0.95)
    assert all(each is None or each.high <= 1 for name, each in found.items() if name != "bias")
    assert [limits(name) for name in ("auc", "rmse", "r2")] == [(0.0, 1.0), (0.0, np.inf), (-np.inf, 1.0)]


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.floats(0, 1)), min_size=1, max_size=40))
def test_clusters_together_are_all_rows(rows: list[tuple[int, bool, float]]) -> None:
    cluster, *columns = zip(*rows, strict=True)
    values = np.stack([np.asarray(each, dtype=float) for each in columns], axis=1)
    whole = together(list(sums_of(values, np.asarray(cluster), Scores()).values()))
    assert whole.metrics() == pytest.approx(Scores().add(values).metrics())


# What goes into sums.


def test_rows_without_a_label_or_a_prediction_do_not_fit() -> None:
    nan = np.nan
    assert measured(Task.BINARY, np.array([1.0, nan, 0.5]), np.array([0.5, 0.5, 0.5])).fits.tolist() == [
        True, False, False
    ]  # fmt: skip
    assert measured(Task.BINARY, np.array([1.0, 1.0]), np.array([nan, 1.5])).fits.tolist() == [False, False]
    assert not measured(Task.REGRESSION, np.array([1.0]), np.array([1e200])).fits.any()
    classes = measured(Task.MULTICLASS, np.array([2.0, 1e6]), np.array([[0.1, 0.2, 0.7], [1.0, 0.0, nan]]))
    assert classes.fits.tolist() == [True, False]
    assert classes.values[:, 1].tolist() == [2.0, 0.0]


def test_the_risk_is_what_the_last_horizon_leaves() -> None:
    pred = np.array([[0.9, 0.25], [0.5, np.nan], [np.nan, np.nan]])
    found = measured(Task.SURVIVAL, np.array([[1.0, 1.0]] * 3), pred)
    assert found.fits.tolist() == [True, True, False]
    assert found.values[:2, 2].tolist() == [0.75, 0.5]
    assert not measured(Task.SURVIVAL, np.array([np.nan]), np.array([[0.5]])).fits.any()
