"""Latencies in bins of the logarithm: quantiles of any tail, within 4.4%."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.core.errors import InputError
from lossloop.summaries import Latencies

WIDTH = 2.0 ** (1 / 16)


def test_quantiles_are_at_most_a_bin_too_high() -> None:
    rng = np.random.default_rng(1)
    for times in (rng.exponential(40.0, 5000), rng.pareto(1.1, 5000) * 3.0, rng.lognormal(0.0, 3.0, 5000)):
        found = Latencies().add(times)
        ordered = np.sort(times)
        for share in (0.01, 0.5, 0.95, 0.99, 0.999, 1.0):
            exact = ordered[max(0, int(np.ceil(share * len(times))) - 1)]
            told = found.quantile(share)
            assert told is not None
            assert exact <= told * (1 + 1e-12) <= exact * WIDTH * (1 + 1e-9), share
        assert found.mean == pytest.approx(times.mean())
        assert found.quantile(1.0) == times.max()


@given(st.lists(st.floats(0, 3.1536e12), min_size=1, max_size=30), st.floats(0, 1))
def test_a_quantile_lies_among_the_times(times: list[float], share: float) -> None:
    told = Latencies().add(np.array(times)).quantile(share)
    assert told is not None
    assert min(times) <= told * (1 + 1e-9) + 1e-3
    assert told <= max(times)


def test_of_nothing_there_is_no_quantile() -> None:
    assert Latencies().quantile(0.5) is None
    assert Latencies().mean is None


def test_none_at_all_is_none_at_all() -> None:
    found = Latencies().add(np.zeros(3))
    assert (found.quantile(0.99), found.mean, found.high) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan")])
def test_a_share_lies_between_0_and_1(share: float) -> None:
    with pytest.raises(InputError, match="a share lies between 0 and 1"):
        Latencies().quantile(share)


def test_less_than_nothing_took_none() -> None:
    with pytest.raises(InputError, match="a time is at least 0") as caught:
        Latencies().add(np.array([1.0, -1.0]))
    assert caught.value.row == 1
