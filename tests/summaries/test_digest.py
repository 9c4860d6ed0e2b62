"""A digest: exact sums, laws of merging, and a sketch that never claims too much."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.core.errors import InputError
from lossloop.judges.engine import CANARY_KAPPAS, KAPPAS, bet_sums, log_bets
from lossloop.summaries import Digest, Scale

Array = npt.NDArray[np.float64]
losses = st.lists(st.floats(0.0, 400.0), max_size=30).map(lambda values: np.array(values, dtype=np.float64))


def close(one: Digest, other: Digest) -> None:
    assert (one.count, one.low, one.high) == (other.count, other.low, other.high)
    assert (one.total, one.squares) == pytest.approx((other.total, other.squares), rel=1e-9, abs=1e-9)
    assert one.weights == pytest.approx(other.weights, abs=1e-9)


@given(a=losses, b=losses, c=losses)
def test_merging_is_associative_and_commutative(a: Array, b: Array, c: Array) -> None:
    one, two, three = (Digest().add(part) for part in (a, b, c))
    close(one.merge(two).merge(three), one.merge(two.merge(three)))
    close(one.merge(two), two.merge(one))
    close(Digest().add(np.concatenate((a, b, c))), one.add(b).add(c))


@given(a=losses, b=losses)
def test_minus_takes_back(a: Array, b: Array) -> None:
    one, two = Digest().add(a), Digest().add(b)
    back = one.merge(two).minus(two)
    assert back.count == one.count
    assert (back.total, back.squares) == pytest.approx((one.total, one.squares), rel=1e-9, abs=1e-6)
    assert back.weights == pytest.approx(one.weights, abs=1e-9)


@given(
    values=st.lists(st.floats(0.0, 100.0), min_size=1, max_size=50).map(np.array), unit=st.floats(0.01, 50.0)
)
def test_the_sketch_keeps_count_and_sum(values: Array, unit: float) -> None:
    digest = Digest(scale=Scale(unit=unit)).add(values)
    assert digest.weights.sum() == pytest.approx(len(values))
    inside = np.minimum(values, 100.0 * unit)
    assert digest.weights @ digest.scale.knots == pytest.approx(inside.sum(), rel=1e-9, abs=1e-9)


@given(values=losses)
def test_the_sketch_never_alarms_too_easily(values: Array) -> None:
    """The bets are concave: what is won on the sketch is at most what is won on the values."""
    digest = Digest().add(values)
    for kappas in (KAPPAS, CANARY_KAPPAS):
        won = bet_sums(digest.scale.knots, digest.weights, kappas)
        assert np.all(won <= log_bets(values, kappas).sum(axis=0) + 1e-9)


@given(values=st.lists(st.floats(0.0, 5.0), max_size=30).map(lambda v: np.array(v, dtype=np.float64)))
def test_a_bounded_sketch_never_certifies_too_easily(values: Array) -> None:
    digest = Digest(scale=Scale(bound=5.0)).add(values)
    won = bet_sums((5.0 - digest.scale.knots) / 4.5, digest.weights)
    assert np.all(won <= log_bets((5.0 - values) / 4.5).sum(axis=0) + 1e-9)


def test_the_sketch_loses_little() -> None:
    values = np.random.default_rng(0).lognormal(-0.5, 1.0, 5000)
    digest = Digest().add(values)
    exact = log_bets(values).sum(axis=0)
    rough = bet_sums(digest.scale.knots, digest.weights)
    assert np.all(exact - rough < 0.005 * len(values))


def test_the_knots_are_those_of_the_specification() -> None:
    knots = Scale().knots
    assert len(knots) == 64
    assert knots[:16] == pytest.approx(np.linspace(0.0, 1.0, 16))
    assert knots[15:] == pytest.approx(np.geomspace(1.0, 100.0, 49))
    assert Scale(unit=0.1, floor=-1.0).knots[[0, 15, 63]] == pytest.approx([-1.0, -0.9, 9.0])
    assert not knots.flags.writeable


def test_mean_variance_and_extremes() -> None:
    values = np.random.default_rng(1).exponential(2.0, 400)
    digest = Digest().add(values[:100]).add(values[100:])
    assert digest.mean == pytest.approx(values.mean())
    assert digest.variance == pytest.approx(values.var(ddof=1))
    assert (digest.low, digest.high) == (values.min(), values.max())


def test_quantiles_are_right_to_the_distance_of_two_knots() -> None:
    values = np.random.default_rng(2).random(10_000)
    digest = Digest(scale=Scale(bound=1.0)).add(values)
    for share in (0.05, 0.5, 0.95):
        assert digest.quantile(share) == pytest.approx(np.quantile(values, share), abs=1 / 63)
    assert digest.quantile(0.0) == values.min()
    with pytest.raises(InputError, match="between 0 and 1, not 2"):
        digest.quantile(2)


def test_of_nothing_there_is_nothing_to_say() -> None:
    digest = Digest()
    assert (digest.mean, digest.variance, digest.quantile(0.5), digest.low) == (None, None, None, None)
    assert digest.add(np.array([3.0])).variance is None


@pytest.mark.parametrize(
    ("scale", "bad"),
    [(Scale(), -0.1), (Scale(bound=5.0), 5.1), (Scale(floor=1.0), 0.5), (Scale(), np.nan), (Scale(), np.inf)],
)
def test_values_outside_the_scale_are_refused(scale: Scale, bad: float) -> None:
    with pytest.raises(InputError, match="cannot be summarised") as caught:
        Digest(scale=scale).add(np.array([2.0, bad]))
    assert (caught.value.row, caught.value.field) == (1, "values")


def test_what_does_not_belong_together_is_refused() -> None:
    one = Digest().add(np.array([1.0]))
    with pytest.raises(InputError, match="different scales"):
        one.merge(Digest(scale=Scale(unit=2.0)))
    with pytest.raises(InputError, match="cannot take 2 values from 1"):
        one.minus(one.merge(one))
    with pytest.raises(InputError, match="one dimension, not 2"):
        one.add(np.ones((2, 2)))
    with pytest.raises(InputError, match="64 knots"):
        Digest(bins=b"")


@pytest.mark.parametrize(
    "make",
    [
        lambda: Scale(unit=0.0),
        lambda: Scale(unit=np.inf),
        lambda: Scale(floor=np.nan),
        lambda: Scale(bound=0),
    ],
)
def test_impossible_scales_are_refused(make: type[Scale]) -> None:
    with pytest.raises(InputError, match="scale"):
        make()
