"""Sums of errors: against scikit-learn, and numbers that are large beside what they differ by."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from lossloop.core.errors import InputError
from lossloop.summaries import Residuals

NUMBER = st.floats(-1e6, 1e6)
ROWS = st.lists(st.tuples(NUMBER, NUMBER), min_size=2, max_size=30)


def summed(rows: Any) -> Residuals:
    return Residuals().add(np.asarray(rows, dtype=np.float64))


@given(ROWS, st.integers(0, 30))
def test_metrics_are_those_of_scikit_learn(rows: list[tuple[float, float]], cut: int) -> None:
    true, pred = (np.asarray(column) for column in zip(*rows, strict=True))
    found = summed(rows[:cut]).merge(summed(rows[cut:])).metrics()
    assert found["mae"] == pytest.approx(metrics.mean_absolute_error(true, pred))
    assert found["rmse"] == pytest.approx(metrics.root_mean_squared_error(true, pred))
    assert found["bias"] == pytest.approx((pred - true).mean(), abs=1e-6)
    if np.abs(true).sum() > 1e-3:
        assert found["wape"] == pytest.approx(np.abs(pred - true).sum() / np.abs(true).sum())
    if true.std() > 1e-3:
        assert found["r2"] == pytest.approx(metrics.r2_score(true, pred))


def test_wape_is_a_ratio_of_sums_and_no_mean_of_ratios() -> None:
    rows = [(100.0, 90.0), (1.0, 3.0)]
    assert summed(rows).metrics()["wape"] == pytest.approx(12 / 101)
    assert np.mean([10 / 100, 2 / 1]) == pytest.approx(1.05), "which is what a mean of rows would say"


def test_large_numbers_do_not_drown_what_they_differ_by() -> None:
    """The naive sum of squares of y leaves nothing of R squared here."""
    draw = np.random.default_rng(2)
    true = 1e9 + draw.normal(0.0, 1.0, 3000)
    pred = true + draw.normal(0.0, 0.5, 3000)
    found = Residuals()
    for part in np.array_split(np.stack([true, pred], axis=1), 17):
        found = found.merge(summed(part))
    assert found.metrics()["r2"] == pytest.approx(metrics.r2_score(true, pred), rel=1e-6)


def test_what_is_taken_away_leaves_what_was_there() -> None:
    kept, gone = summed([(1.0, 2.0), (5.0, 5.0)]), summed([(9.0, 0.0)])
    assert kept.merge(gone).minus(gone).metrics() == pytest.approx(kept.metrics())
    assert kept.merge(gone).minus(kept.merge(gone)) == Residuals()
    with pytest.raises(InputError, match="cannot take 2 values from 1"):
        gone.minus(kept)


def test_what_has_no_meaning_is_none() -> None:
    assert set(Residuals().metrics().values()) == {None}
    found = summed([(0.0, 1.0), (0.0, 3.0)]).metrics()
    assert (found["wape"], found["r2"], found["mae"]) == (None, None, 2.0)


def test_a_number_without_a_square_is_named() -> None:
    with pytest.raises(InputError, match=r"numbers of at most 1e\+100 have squares") as caught:
        summed([(0.0, 0.0), (0.0, 1e200)])
    assert caught.value.row == 1
