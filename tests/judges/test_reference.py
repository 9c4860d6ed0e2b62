"""References: exact where they can be, marked where they are not, and their promise kept."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from lossloop.core.errors import InputError
from lossloop.judges import betting_interval, design_effect, reference_of, reference_of_blocks, refuse_per_row
from lossloop.judges.reference import betting_upper, clopper_pearson_upper, t_upper


@given(count=st.integers(1, 5000), share=st.floats(0.0, 1.0), confidence=st.sampled_from([0.8, 0.95, 0.999]))
def test_clopper_pearson_is_scipy_s(count: int, share: float, confidence: float) -> None:
    ones = round(share * count)
    expected = stats.binomtest(ones, count, alternative="less").proportion_ci(confidence, method="exact").high
    assert clopper_pearson_upper(ones, count, confidence) == pytest.approx(float(expected), rel=1e-7)


def test_t_bound_is_scipy_s() -> None:
    values = np.random.default_rng(0).normal(0.5, 0.1, 59)
    expected = stats.t.interval(0.9, 58, loc=values.mean(), scale=stats.sem(values))[1]
    assert t_upper(values) == pytest.approx(float(expected), rel=1e-9)


def test_the_betting_bound_misses_as_seldom_as_it_says() -> None:
    rng = np.random.default_rng(1)
    missed = [betting_upper(rng.beta(0.5, 1.5, 200), bound=1.0, confidence=0.9) < 0.25 for _ in range(400)]
    assert 0.02 < np.mean(missed) < 0.14  # .10, within three standard errors, and not far too cautious


def test_a_fixed_reference_is_narrower_than_a_confidence_sequence() -> None:
    """Statistics.md 2b, n = 2000: +.0139 for the fixed n, +.0246 for a sequence, two-sided."""
    values = np.zeros(2000)
    values[::10] = 1.0
    assert clopper_pearson_upper(200, 2000, 0.975) - 0.1 == pytest.approx(0.0140, abs=2e-4)
    sequence = betting_interval(values).high - 0.1
    fixed = betting_upper(np.random.default_rng(2).permutation(values), bound=1.0, confidence=0.975) - 0.1
    assert fixed < 0.75 * sequence


def test_few_block_means_have_no_useful_bound_without_assumptions() -> None:
    """Statistics.md 2b: about +.37 from 59 day means on [0, 5]; here +.30, and +.034 by Student's t."""
    rng, widths = np.random.default_rng(6), []
    for _ in range(20):
        days = rng.gamma(10.3, 0.5 / 10.3, 59)
        widths.append((betting_upper(days, bound=5.0) - days.mean(), t_upper(days) - days.mean()))
    free, by_t = np.mean(widths, axis=0)
    assert free == pytest.approx(0.30, abs=0.02)
    assert by_t == pytest.approx(0.034, abs=0.002)


def test_the_betting_bound_scales_with_its_bounds() -> None:
    values = np.random.default_rng(3).uniform(0.0, 1.0, 100)
    plain = betting_upper(values, bound=1.0)
    assert betting_upper(5.0 * values - 2.0, floor=-2.0, bound=3.0) == pytest.approx(5.0 * plain - 2.0)
    assert float(values.mean()) < plain < 1.0


def test_a_reference_chooses_its_method() -> None:
    zeros_and_ones = (np.arange(100) % 4 == 0).astype(float)
    exact = reference_of(zeros_and_ones, bound=1.0)
    assert (exact.method, exact.approximate, exact.count) == ("clopper_pearson", False, 100)
    assert exact.estimate == 0.25
    assert exact.upper == clopper_pearson_upper(25, 100)
    betting = reference_of(0.5 * zeros_and_ones, bound=1.0, confidence=0.99)
    assert (betting.method, betting.approximate, betting.confidence) == ("betting", False, 0.99)
    blocks = reference_of_blocks([0.4, 0.5, 0.6])
    assert (blocks.method, blocks.approximate, blocks.counts) == ("student_t", True, "blocks")


@pytest.mark.parametrize(
    ("losses", "message"),
    [
        ([], "at least one loss"),
        ([0.1, np.nan], "reference loss at row 1 is nan"),
        ([0.1, 1.5], "1.5 at row 1 lies outside"),
        (["a"], "must be numbers"),
        ([[0.1]], "one dimension, not 2"),
    ],
)
def test_bad_references_are_refused(losses: list[float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        reference_of(losses, bound=1.0)


def test_other_bad_references_are_refused() -> None:
    with pytest.raises(InputError, match="at least 2 blocks, there are 1"):
        reference_of_blocks([0.5])
    with pytest.raises(InputError, match="between 0 and 1, not 95"):
        reference_of([0.5], bound=1.0, confidence=95)
    with pytest.raises(InputError, match="floor < bound"):
        betting_upper(np.array([0.5]), bound=0.0)
    with pytest.raises(InputError, match="7 of 5"):
        clopper_pearson_upper(7, 5)


def test_the_design_effect_of_independent_rows_is_one() -> None:
    rng = np.random.default_rng(4)
    assert design_effect(rng.random(20_000), rng.integers(0, 500, 20_000)) == pytest.approx(1.0, abs=0.15)


def test_the_design_effect_of_copies_is_their_number() -> None:
    means = np.random.default_rng(5).random(400)
    assert design_effect(np.repeat(means, 20), np.repeat(np.arange(400), 20)) == pytest.approx(20.0, rel=0.01)


def test_a_shared_shock_shows_in_the_design_effect() -> None:
    """One day's shock of variance 1/3 of the whole, 100 rows a day: 1 + 99/3 = 34."""
    rng = np.random.default_rng(6)
    days = np.repeat(np.arange(2000), 100)
    losses = np.repeat(rng.normal(0.0, 1.0, 2000), 100) + rng.normal(0.0, np.sqrt(2.0), 200_000)
    assert design_effect(losses, days) == pytest.approx(34.0, rel=0.1)


def test_nothing_that_varies_has_no_design_effect() -> None:
    assert design_effect([0.5] * 4, ["a", "a", "b", "b"]) == 1.0


def test_bad_blocks_are_refused() -> None:
    with pytest.raises(InputError, match="at least 2 blocks"):
        design_effect([0.1, 0.2], [1, 1])
    with pytest.raises(InputError, match="2 losses and 3 block ids"):
        design_effect([0.1, 0.2], [1, 2, 3])


def test_dependent_rows_are_not_judged_one_by_one() -> None:
    refuse_per_row(2.0)
    with pytest.raises(InputError, match="design effect is 74, above 2") as caught:
        refuse_per_row(74.0)
    assert "'block: 1d'" in str(caught.value)
    assert caught.value.field == "block"
