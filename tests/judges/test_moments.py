"""Moments are the same however their values were cut, and those of NumPy."""

from __future__ import annotations

import msgspec
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.judges import Moments

values = st.lists(st.floats(-1e6, 1e6), max_size=50).map(lambda found: np.array(found, dtype=np.float64))


@given(values=values, cuts=st.lists(st.integers(0, 50), max_size=5))
def test_cutting_changes_no_bit(values: npt.NDArray[np.float64], cuts: list[int]) -> None:
    parts = Moments()
    for part in np.split(values, sorted(min(cut, len(values)) for cut in cuts)):
        parts = parts.add(part)
    assert parts == Moments().add(values)
    assert msgspec.json.decode(msgspec.json.encode(parts), type=Moments) == parts


@given(one=values, other=values)
def test_they_are_those_of_numpy(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> None:
    both = np.concatenate((one, other))
    if len(both) < 2:
        return
    scale = max(1.0, float(np.abs(both).max()))
    sums = Moments.of_sums(len(both), float(both.sum()), float(np.square(both).sum()))
    for found in (Moments().add(both), Moments().add(one).merge(Moments().add(other)), sums):
        assert found.count == len(both)
        assert found.mean == pytest.approx(both.mean(), abs=1e-9 * scale)
        assert found.variance == pytest.approx(both.var(ddof=1), abs=1e-9 * scale**2)


def test_a_far_origin_does_not_cancel() -> None:
    drawn = 1e9 + np.random.default_rng(0).normal(size=10_000)
    found = Moments().add(drawn)
    assert found.spread == pytest.approx(drawn.std(ddof=1), rel=1e-6)


def test_moments_of_an_older_release_go_on() -> None:
    """They had no running sums: these begin at the mean."""
    drawn = np.random.default_rng(1).exponential(1.0, 300)
    away = drawn[:100] - drawn[:100].mean()
    old = {"count": 100, "mean": float(drawn[:100].mean()), "deviations": float(np.square(away).sum())}
    found = msgspec.convert(old, type=Moments).add(drawn[100:])
    assert found.count == 300
    assert (found.mean, found.spread) == pytest.approx((drawn.mean(), drawn.std(ddof=1)), rel=1e-9)


def test_nothing_has_no_spread() -> None:
    assert Moments.of_sums(0, 0.0, 0.0) == Moments().add(np.empty(0)) == Moments()
    assert Moments().add(np.array([3.0])).spread == 0.0


parts = st.lists(values, min_size=1, max_size=5)


def close(one: Moments, other: Moments, scale: float) -> None:
    assert one.count == other.count
    assert one.mean == pytest.approx(other.mean, abs=1e-9 * scale)
    assert one.deviations == pytest.approx(other.deviations, rel=1e-7, abs=1e-7 * scale**2)


@given(pieces=parts, order=st.permutations(range(5)))
def test_merging_in_any_order_gives_the_same_moments(
    pieces: list[npt.NDArray[np.float64]], order: list[int]
) -> None:
    scale = max(1.0, float(np.abs(np.concatenate(pieces)).max(initial=0.0)))
    moments = [Moments().add(piece) for piece in pieces]
    straight, shuffled, right = Moments(), Moments(), Moments()
    for each in moments:
        straight, right = straight.merge(each), each.merge(right)
    for place in order:
        if place < len(moments):
            shuffled = shuffled.merge(moments[place])
    close(straight, shuffled, scale)
    close(straight, right, scale)
    close(straight, Moments().add(np.concatenate(pieces)), scale)


@given(one=values, other=values)
def test_values_may_follow_a_merge(one: npt.NDArray[np.float64], other: npt.NDArray[np.float64]) -> None:
    """What was merged has no running sums; they begin again at its mean."""
    merged = Moments().merge(Moments().add(one)).add(other)
    both = np.concatenate((one, other))
    close(merged, Moments().add(both), max(1.0, float(np.abs(both).max(initial=0.0))))


@pytest.mark.parametrize("value", [1e200, -1e200, 1e300])
def test_a_value_beyond_all_leaves_numbers(value: float) -> None:
    found = Moments().add(np.array([0.1, 0.2])).add(np.array([value]))
    assert np.isfinite([found.mean, found.deviations, found.total, found.squares]).all()
    assert np.isfinite(Moments.of_sums(2, value, 1e290).merge(found).deviations)


def test_a_constant_has_no_spread_at_all() -> None:
    found = Moments().add(np.full(10_000, 0.1))
    assert (found.mean, found.deviations, found.spread) == (0.1, 0.0, 0.0)
