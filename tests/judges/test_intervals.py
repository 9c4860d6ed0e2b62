"""Intervals agree with published values, hold at all times, and stay in their bounds."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.core.errors import InputError
from lossloop.judges import Moments, asymptotic_interval, betting_interval
from lossloop.summaries import Digest, Scale

values = st.lists(st.floats(0.0, 1.0), min_size=1, max_size=40).map(np.array)


@given(values=values)
def test_a_betting_interval_holds_its_estimate(values: np.ndarray) -> None:
    found = betting_interval(values)
    assert 0.0 <= found.low <= found.estimate + 1e-12
    assert found.estimate - 1e-12 <= found.high <= 1.0
    assert not found.approximate


@given(values=values)
def test_a_betting_interval_is_symmetric(values: np.ndarray) -> None:
    one, other = betting_interval(values), betting_interval(1.0 - values)
    assert (one.low, one.high) == pytest.approx((1.0 - other.high, 1.0 - other.low), abs=1e-9)


def test_a_betting_interval_follows_its_bounds() -> None:
    values = np.random.default_rng(0).random(300)
    unit, wide = betting_interval(values), betting_interval(6 * values - 1, low=-1.0, high=5.0)
    assert (wide.low, wide.high) == pytest.approx((6 * unit.low - 1, 6 * unit.high - 1), abs=1e-9)


def test_more_values_narrow_it_and_a_higher_level_widens_it() -> None:
    values = np.random.default_rng(1).random(5000)
    few, many = betting_interval(values[:500]), betting_interval(values)
    sure = betting_interval(values, level=0.999)
    assert many.high - many.low < 0.5 * (few.high - few.low)
    assert sure.low < many.low < many.high < sure.high


def test_it_is_under_twice_the_width_of_the_central_limit() -> None:
    """Statistics.md measured 1.75 at n = 10,000."""
    values = np.random.default_rng(2).random(10_000)
    found = betting_interval(values)
    central = 2 * 1.96 * values.std() / 100
    assert 1.5 < (found.high - found.low) / central < 2.0


def test_a_sketch_gives_nearly_the_same_interval_and_never_a_narrower_one() -> None:
    values = np.random.default_rng(3).beta(0.5, 4.0, 4000)
    scale = Scale(bound=1.0)
    sketch = Digest(scale=scale).add(values)
    exact, rough = betting_interval(values), betting_interval(scale.knots, sketch.weights)
    assert rough.low <= exact.low
    assert rough.high >= exact.high
    assert (rough.low, rough.high) == pytest.approx((exact.low, exact.high), abs=1e-3)


def test_without_values_it_is_the_whole_range() -> None:
    found = betting_interval(np.empty(0), low=-1.0, high=3.0)
    assert (found.low, found.estimate, found.high) == (-1.0, 1.0, 3.0)


def test_impossible_intervals_are_refused() -> None:
    with pytest.raises(InputError, match="given one outside"):
        betting_interval(np.array([0.5, 1.5]))
    with pytest.raises(InputError, match="low < high"):
        betting_interval(np.array([0.5]), low=1.0, high=1.0)
    with pytest.raises(InputError, match="between 0 and 1, not 95"):
        betting_interval(np.array([0.5]), level=95)
    with pytest.raises(InputError, match="between 0 and 1, not 0"):
        asymptotic_interval(Moments(), level=0)


def test_an_asymptotic_interval_needs_five_values_and_says_what_it_is() -> None:
    assert asymptotic_interval(Moments().add(np.arange(4.0))) is None
    found = asymptotic_interval(Moments().add(np.arange(5.0)))
    assert found is not None
    assert (found.estimate, found.approximate) == (2.0, True)
    assert found.low < 2.0 < found.high


def test_an_asymptotic_interval_holds_at_all_times() -> None:
    rng = np.random.default_rng(4)
    missed = 0
    for _ in range(300):
        moments = Moments().add(rng.exponential(1.0, 50))
        for _ in range(20):
            moments = moments.add(rng.exponential(1.0, 50))
            found = asymptotic_interval(moments)
            assert found is not None
            if not found.low <= 1.0 <= found.high:
                missed += 1
                break
    assert missed / 300 < 0.08


@given(
    parts=st.lists(st.lists(st.floats(-1e3, 1e3), max_size=20).map(np.array), min_size=1, max_size=5),
)
def test_moments_merge(parts: list[np.ndarray]) -> None:
    moments = Moments()
    for part in parts:
        moments = moments.merge(Moments().add(part.astype(np.float64)))
    every = np.concatenate(parts)
    assert moments.count == len(every)
    if len(every):
        assert moments.mean == pytest.approx(every.mean(), rel=1e-9, abs=1e-9)
    if len(every) > 1:
        assert moments.variance == pytest.approx(every.var(ddof=1), rel=1e-6, abs=1e-6)
        assert moments.spread == pytest.approx(math.sqrt(moments.variance))
