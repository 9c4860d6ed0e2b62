"""Our quantiles are SciPy's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lossloop.core.errors import InputError
from lossloop.judges.quantiles import beta_cdf, beta_quantile, t_quantile


@given(x=st.floats(0.0, 1.0), a=st.floats(0.5, 5000.0), b=st.floats(0.5, 5000.0))
def test_beta_distribution(x: float, a: float, b: float) -> None:
    assert beta_cdf(x, a, b) == pytest.approx(float(stats.beta.cdf(x, a, b)), rel=1e-8, abs=1e-11)


@pytest.mark.parametrize("a", [0.5, 1.0, 12.0, 201.0, 50_000.0])
@pytest.mark.parametrize("b", [0.5, 1.0, 30.0, 1800.0, 450_000.0])
@pytest.mark.parametrize("probability", [0.001, 0.5, 0.95, 0.99999])
def test_beta_quantile(probability: float, a: float, b: float) -> None:
    expected = float(stats.beta.ppf(probability, a, b))
    assert beta_quantile(probability, a, b) == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize("freedom", [1.0, 2.0, 5.0, 13.0, 58.0, 1e4, 1e6])
@pytest.mark.parametrize("probability", [1e-6, 0.025, 0.4, 0.5, 0.95, 0.975, 0.9999])
def test_t_quantile(probability: float, freedom: float) -> None:
    expected = float(stats.t.ppf(probability, freedom))
    assert t_quantile(probability, freedom) == pytest.approx(expected, rel=1e-7, abs=1e-12)


@pytest.mark.parametrize("probability", [0.0, 1.0, -0.1, 1.5])
def test_a_probability_is_between_0_and_1(probability: float) -> None:
    with pytest.raises(InputError, match="between 0 and 1"):
        beta_quantile(probability, 1.0, 1.0)
    with pytest.raises(InputError, match="between 0 and 1"):
        t_quantile(probability, 3.0)


@pytest.mark.parametrize("freedom", [1.0, 13.0, 1e4])
def test_asked_again_in_another_order_it_answers_the_same_to_the_bit(freedom: float) -> None:
    asked = [0.6, 0.975, 0.9999, 1 - 1e-6]
    once = {probability: t_quantile(probability, freedom) for probability in asked}
    assert {probability: t_quantile(probability, freedom) for probability in reversed(asked)} == once
    assert {probability: -t_quantile(1.0 - probability, freedom) for probability in asked} == pytest.approx(
        once
    )
