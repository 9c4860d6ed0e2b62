"""Errors in units of a naive forecast's error."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.core.errors import InputError
from lossloop.losses import mase, naive_error, parse

WAVE = [10.0, 20.0, 30.0, 12.0, 22.0, 32.0, 14.0]


def test_a_naive_forecast_looks_one_season_back() -> None:
    assert naive_error([1, 4, 2]) == (3 + 2) / 2
    assert naive_error(WAVE, season=3) == 2.0


def test_the_example_of_hyndman_and_koehler_holds_by_its_definition() -> None:
    """A forecast that is the naive one has a MASE of 1 on the series that it is scaled by."""
    series = np.random.default_rng(3).normal(size=200).cumsum()
    loss = mase.with_parameters(scale=naive_error(series))
    assert loss(series[1:], series[:-1]).mean() == pytest.approx(1.0)


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6), st.floats(1e-3, 1e3), st.floats(1e-3, 1e3))
def test_the_unit_of_the_series_does_not_matter(y: float, p: float, scale: float, unit: float) -> None:
    ours, theirs = mase.with_parameters(scale=scale), mase.with_parameters(scale=scale * unit)
    assert theirs([y * unit], [p * unit])[0] == pytest.approx(ours([y], [p])[0], rel=1e-6, abs=1e-9)
    assert ours([y], [y])[0] == 0


def test_a_policy_writes_its_scale() -> None:
    loss = parse("mase(scale=2.5).clip(5)")
    assert (loss.bounds, loss.unit) == ((0.0, 5.0), "")
    assert loss([0.0, 0.0], [5.0, 50.0]).tolist() == [2.0, 5.0]


@pytest.mark.parametrize("scale", [0, -1, math.inf])
def test_a_scale_is_above_0(scale: float) -> None:
    with pytest.raises(InputError, match="scale of mase must be a finite number above 0"):
        mase.with_parameters(scale=scale)


@pytest.mark.parametrize(
    ("series", "season", "words"),
    [
        ([1.0], 1, "needs a series of more than 1 values"),
        (WAVE, 7, "needs a series of more than 7 values"),
        ([[1.0, 2.0]], 1, "needs a series of more than 1 values"),
        (WAVE, 0, "a season has at least 1 step, not 0"),
        ([1.0, math.nan, 2.0], 1, "row 1: nan is not a finite number"),
        ([5.0, 5.0, 5.0], 1, "the naive error is 0; a scale must be above 0"),
        ([1e308, -1e308, 1e308], 1, "the naive error is inf"),
    ],
)
def test_a_series_without_a_scale_is_refused(series: Any, season: int, words: str) -> None:
    with pytest.raises(InputError, match=words), np.errstate(over="ignore"):
        naive_error(series, season=season)
