"""Boundaries have the values of confseq's own tests, and the properties that make them boundaries."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from lossloop.core.errors import InputError
from lossloop.judges import boundaries
from lossloop.judges.boundaries import (
    log_beta_binomial_mixture,
    log_normal_mixture,
    log_one_sided_normal_mixture,
    normal_mixture_bound,
    normal_mixture_rho,
    one_sided_normal_mixture_bound,
    poly_stitching_bound,
)

TWO, ONE = normal_mixture_rho(100.0, 0.05), normal_mixture_rho(100.0, 0.1)
variances, errors = st.floats(1.0, 1e5), st.floats(0.001, 0.4)


@pytest.mark.parametrize(
    ("found", "published"),
    [
        (TWO, 12.60056),
        (log_normal_mixture(10, 100, TWO), -0.6510052),
        (normal_mixture_bound(100, 0.05, TWO), 30.35209),
        (log_one_sided_normal_mixture(10, 100, ONE), -0.06502391),
        (one_sided_normal_mixture_bound(100, 0.05, ONE), 27.66071),
        (log_beta_binomial_mixture(10, 100, TWO, g=0.2, h=0.8), -0.6941012),
        (poly_stitching_bound(100, 0.05, 10, c=3), 64.48755),
        (poly_stitching_bound(100, 0.05, 10, c=-1), 28.99389),
    ],
)
def test_they_are_those_of_confseq(found: float, published: float) -> None:
    """Statistics.md, section 4: v_opt = 100, alpha = .05, to 1e-5."""
    assert found == pytest.approx(published, abs=1e-5)


@given(variance=variances, error=errors, rho=st.floats(0.1, 1e3))
def test_a_boundary_is_where_the_wealth_reaches_its_threshold(
    variance: float, error: float, rho: float
) -> None:
    two, one = (
        normal_mixture_bound(variance, error, rho), one_sided_normal_mixture_bound(variance, error, rho)
    )  # fmt: skip
    assert log_normal_mixture(two, variance, rho) == pytest.approx(math.log(1 / error), abs=1e-6)
    assert log_one_sided_normal_mixture(one, variance, rho) == pytest.approx(math.log(1 / error), abs=1e-6)
    assert one < two, "whoever looks at one side only sees more there"


@given(variance=variances, error=errors, c=st.floats(0.0, 5.0))
def test_stitching_grows_with_what_can_go_wrong(variance: float, error: float, c: float) -> None:
    found = poly_stitching_bound(variance, error, 1.0, c=c)
    assert found <= poly_stitching_bound(2 * variance, error, 1.0, c=c)
    assert found <= poly_stitching_bound(variance, error / 2, 1.0, c=c)
    assert found <= poly_stitching_bound(variance, error, 1.0, c=c + 1)
    assert poly_stitching_bound(0.1, error, 1.0, c=c) == poly_stitching_bound(1.0, error, 1.0, c=c)


@given(total=st.floats(-60.0, 60.0), g=st.floats(0.2, 2.0), h=st.floats(0.2, 2.0))
def test_a_beta_binomial_mixture_is_the_same_seen_from_the_other_side(
    total: float, g: float, h: float
) -> None:
    rho = 5.0 + g * h
    one = log_beta_binomial_mixture(total, 150.0, rho, g=g, h=h)
    assert one == pytest.approx(log_beta_binomial_mixture(-total, 150.0, rho, g=h, h=g), rel=1e-9, abs=1e-7)


def test_of_small_steps_a_beta_binomial_mixture_is_the_normal_one() -> None:
    found = log_beta_binomial_mixture(10.0, 100.0, TWO, g=1e-3, h=1e-3)
    assert found == pytest.approx(log_normal_mixture(10.0, 100.0, TWO), abs=1e-4)


def test_sums_that_cannot_be_are_refused() -> None:
    with pytest.raises(InputError, match="cannot be"):
        log_beta_binomial_mixture(1e4, 1.0, 5.0, g=0.2, h=0.8)
    with pytest.raises(InputError, match="cannot be"):
        log_beta_binomial_mixture(0.0, 1.0, 0.1, g=0.2, h=0.8)
    for wrong in ({"s": 1.0}, {"eta": 1.0}):
        with pytest.raises(InputError, match="stitching needs"):
            poly_stitching_bound(10.0, 0.05, 1.0, **wrong)
    with pytest.raises(InputError, match="stitching needs"):
        poly_stitching_bound(10.0, 0.05, 0.0)


@pytest.mark.parametrize("s", [1.1, 1.4, 2.0, 4.0])
def test_zeta_is_scipys(s: float) -> None:
    assert boundaries._zeta(s) == pytest.approx(float(special.zeta(s)), rel=1e-9)


def test_sums_of_signs_stay_below_all_of_them() -> None:
    """10,000 steps of +1 or -1, looked at after each: 5% may cross."""
    sums = np.random.default_rng(0).choice([-1.0, 1.0], (400, 10_000)).cumsum(axis=1)
    steps = np.arange(1.0, 10_001.0)
    two = [normal_mixture_bound(step, 0.05, TWO) for step in steps]
    one = [one_sided_normal_mixture_bound(step, 0.05, ONE) for step in steps[::100]]
    stitched = [poly_stitching_bound(step, 0.05, 10.0) for step in steps]
    allowed = 0.05 + 3 * math.sqrt(0.05 * 0.95 / 400)
    assert (np.abs(sums) >= two).any(axis=1).mean() <= allowed
    assert (sums[:, ::100] >= one).any(axis=1).mean() <= allowed
    assert (sums >= stitched).any(axis=1).mean() <= allowed
