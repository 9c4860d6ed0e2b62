"""Futures drawn from a law: how long the engine takes to cross."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.core.errors import InputError
from lossloop.judges.comparison import TwoTests
from lossloop.judges.engine import CANARY_KAPPAS, KAPPAS, Engine
from lossloop.judges.planning import MOST_VALUES, Law, Test, quantile, waits
from lossloop.judges.promise import parse

RATE = Test.of_watch(parse("1 per 200000 outcomes"))
EVER = Test.of_watch(parse("5% ever"))
COINS = Law.of(np.resize([0.0] * 9 + [1.0], 1000))
"""Of ten outcomes one is bad."""


def ratios(law: Law, limit: float = 0.1) -> Law:
    return Law(law.values / limit, law.chances)


samples = st.lists(st.floats(0.0, 20.0), min_size=1, max_size=400)


# Laws.


@given(sample=samples)
def test_a_law_has_the_mean_of_its_sample_however_large(sample: list[float]) -> None:
    law = Law.of(sample)
    assert law.mean == pytest.approx(float(np.mean(sample)), rel=1e-9, abs=1e-9)
    assert law.chances.sum() == pytest.approx(1.0)
    assert len(law.values) <= MOST_VALUES
    assert (np.diff(law.values) >= 0).all()


@given(sample=samples, share=st.floats(0.01, 0.99))
def test_a_tilt_reaches_any_mean_between_its_values_and_keeps_them(sample: list[float], share: float) -> None:
    law = Law.of(sample)
    low, high = float(law.values[0]), float(law.values[-1])
    to = low + share * (high - low)
    tilted = law.tilted(to)
    assert tilted.mean == pytest.approx(to, rel=1e-6, abs=1e-6 * max(1.0, high))
    assert (tilted.chances >= 0).all()
    assert tilted.chances.sum() == pytest.approx(1.0)
    if low < to < high:
        assert tilted.values.tolist() == law.values.tolist()


def test_a_tilt_of_zeros_and_ones_changes_how_many_are_ones() -> None:
    tilted = COINS.tilted(0.25)
    assert tilted.values.tolist() == [0.0, 1.0]
    assert tilted.chances == pytest.approx([0.75, 0.25])


def test_a_mean_that_no_chances_make_moves_every_value() -> None:
    law = Law.of([1.0, 3.0])
    assert law.tilted(5.0).values.tolist() == [4.0, 6.0]
    assert Law.of([2.0, 2.0]).tilted(2.5).values.tolist() == [2.5]
    assert law.moved(-1.0).mean == pytest.approx(1.0)


@pytest.mark.parametrize("sample", [[], [1.0, math.nan], [math.inf]])
def test_a_law_of_nothing_or_of_no_numbers_is_refused(sample: list[float]) -> None:
    with pytest.raises(InputError, match="one or more finite losses"):
        Law.of(sample)


# Waits.


@pytest.mark.parametrize(("to", "median"), [(0.15, 577), (0.2, 191)])
def test_the_waits_of_the_specification_come_out_a_little_late(to: float, median: int) -> None:
    """Statistics.md, section 3: after 2,000 healthy outcomes; the block form may be late, never early."""
    found = waits(RATE, ratios(COINS.tilted(to)), most=20_000, before=ratios(COINS), quiet=2_000, futures=300)
    assert 0.88 * median <= quantile(found, 0.5) <= 1.25 * median


def test_what_lies_within_the_limit_is_not_told() -> None:
    found = waits(EVER, ratios(COINS, limit=0.12), most=5_000, futures=100)
    assert np.isinf(found).mean() >= 0.95


def test_healthy_futures_alarm_as_seldom_as_promised() -> None:
    found = waits(EVER, ratios(COINS), most=20_000, futures=300, seed=3)
    assert np.isfinite(found).mean() <= 0.05


def test_a_larger_rise_is_told_sooner() -> None:
    medians = [
        quantile(waits(RATE, ratios(COINS.tilted(to)), most=20_000, futures=60), 0.5)
        for to in (0.15, 0.2, 0.4, 0.8)
    ]
    assert medians == sorted(medians, reverse=True)


def test_the_same_seed_draws_the_same_futures_and_another_others() -> None:
    worse = ratios(COINS.tilted(0.3))
    one, same, other = (waits(RATE, worse, most=2_000, futures=20, seed=seed) for seed in (1, 1, 2))
    assert one.tolist() == same.tolist()
    assert one.tolist() != other.tolist()


def test_a_longer_look_leaves_what_was_told_as_it_was() -> None:
    worse = ratios(COINS.tilted(0.15))
    short = waits(RATE, worse, most=300, futures=50)
    told = np.isfinite(short)
    assert (short[told] <= 300).all()
    longer = waits(RATE, worse, most=20_000, futures=50)
    assert np.isfinite(longer).all()


def test_one_at_a_time_it_is_the_engine_itself() -> None:
    certain = Law(np.array([5.0]), np.array([1.0]))
    (found,) = waits(EVER, certain, most=150, futures=1)
    engine = Engine(EVER.promise)
    wealth, _ = engine.update(engine.start(), np.full(150, 5.0))
    assert wealth.crossed == found


def test_who_raised_a_false_alarm_before_begins_anew() -> None:
    loud = Law(np.array([5.0]), np.array([1.0]))
    healthy = Law(np.array([1.0]), np.array([1.0]))
    found = waits(EVER, healthy, most=50, before=loud, quiet=100, futures=5)
    fresh = waits(EVER, loud, most=50, futures=1)
    assert np.isinf(found).all() or (found > 0).all()
    after = waits(EVER, loud, most=50, before=loud, quiet=int(fresh[0]), futures=5)
    assert after.tolist() == fresh.tolist() * 5


@pytest.mark.parametrize("most", [1, 2, 199, 200, 201, 5_000])
def test_no_wait_is_longer_than_the_look(most: int) -> None:
    found = waits(RATE, ratios(COINS.tilted(0.9)), most=most, futures=30)
    assert (found[np.isfinite(found)] <= most).all()


def test_quantiles_are_waits_that_were_seen() -> None:
    found = np.array([5.0, 1.0, math.inf, 3.0, 9.0])
    assert [quantile(found, share) for share in (0.2, 0.5, 0.8, 0.9)] == [1.0, 5.0, 9.0, math.inf]


def test_watches_and_rollouts_bet_as_their_judges_do() -> None:
    tests = TwoTests(worse_by=0.1, within=0.1, error=0.05)
    assert Test.of_rollout(tests).kappas is CANARY_KAPPAS
    assert Test.of_rollout(tests).promise == tests.engine.promise
    assert RATE.kappas is KAPPAS
