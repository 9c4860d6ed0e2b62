"""The engine keeps its formulas, its promises, and its state."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.core.errors import InputError
from lossloop.judges import Engine, Mode, Wealth, parse
from lossloop.judges.engine import (
    CANARY_KAPPAS,
    KAPPAS,
    bet_sums,
    log_bets,
    log_restart_mass,
    log_restarts,
    wealth_path,
)

Array = npt.NDArray[np.float64]
PROMISES = ("1 per 1000 outcomes", "5% ever", "5% once")
engines = st.sampled_from(PROMISES).map(lambda words: Engine(parse(words)))
ratios = st.lists(
    st.floats(0.0, 1e6) | st.sampled_from([0.0, 1.0, 10.0, 1e300]), min_size=1, max_size=60
).map(lambda values: np.array(values, dtype=np.float64))


def logs_of(state: Wealth) -> Array:
    return np.frombuffer(state.logs, dtype="<f8")


def plain_wealth(mode: Mode, stream: Array, kappas: Array = KAPPAS) -> list[float]:
    """The definition, ratio by ratio, without logarithms."""
    wealth, path = np.zeros(len(kappas)), []
    for t, ratio in enumerate(stream, start=1):
        if mode is Mode.LIFE:
            restart = 1 / math.log2(t + 1) - 1 / math.log2(t + 2)
        else:
            restart = 1.0 if mode is Mode.RATE or t == 1 else 0.0
        wealth = (1.0 + kappas * (ratio - 1.0)) * (wealth + restart)
        path.append(float(wealth.mean()))
    return path


@pytest.mark.parametrize("words", PROMISES)
def test_it_is_the_definition(words: str) -> None:
    engine = Engine(parse(words))
    stream = np.random.default_rng(0).exponential(1.0, 120)
    state = engine.start()
    for end, wealth in enumerate(plain_wealth(engine.promise.mode, stream), start=1):
        state, step = engine.update(engine.start(), stream[:end])
        assert math.exp(step.evidence) == pytest.approx(wealth, rel=1e-9)
    assert state.count == 120


def test_kappas_are_those_of_the_specification() -> None:
    assert (len(KAPPAS), KAPPAS[0], KAPPAS[-1]) == (12, pytest.approx(0.002), pytest.approx(0.9))
    assert (len(CANARY_KAPPAS), CANARY_KAPPAS[0]) == (12, pytest.approx(5e-4))


@given(engine=engines, stream=ratios, cuts=st.lists(st.integers(0, 60), max_size=4))
def test_batches_compose(engine: Engine, stream: Array, cuts: list[int]) -> None:
    whole, step = engine.update(engine.start(), stream)
    state, crossed = engine.start(), None
    ends = [*sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    for start, end in zip([0, *ends], ends, strict=False):
        state, found = engine.update(state, stream[start:end])
        if found.crossed_at is not None:
            crossed = start + found.crossed_at
    assert np.allclose(logs_of(state), logs_of(whole), rtol=1e-9, atol=1e-9)
    assert (state.count, state.crossed, crossed) == (whole.count, whole.crossed, step.crossed_at)


@given(engine=engines, stream=ratios)
def test_state_goes_through_json_bit_for_bit(engine: Engine, stream: Array) -> None:
    for state in (engine.start(), engine.update(engine.start(), stream)[0]):
        back = msgspec.json.decode(msgspec.json.encode(state), type=Wealth)
        assert back == state
        assert engine.update(back, stream) == engine.update(state, stream)


@given(engine=engines, stream=ratios)
def test_sums_never_claim_more_than_the_path(engine: Engine, stream: Array) -> None:
    """Restart mass at the block's start bets on the whole block: the same promise, another path."""
    sums = log_bets(stream).sum(axis=0)
    block, _ = engine.update_sums(engine.start(), len(stream), sums)
    mass = log_restart_mass(engine.promise.mode, 0, len(stream))
    assert np.allclose(logs_of(block), sums + mass, rtol=1e-9, atol=1e-9)
    if engine.promise.mode is Mode.ONCE:
        exact, _ = engine.update(engine.start(), stream)
        assert np.allclose(logs_of(block), logs_of(exact), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("words", PROMISES)
def test_counts_are_sums_of_zeros_and_ones(words: str) -> None:
    engine = Engine(parse(words))
    losses = np.array([0.0, 1.0, 0.0, 0.0, 1.0])
    state, _ = engine.update(engine.start(), np.ones(3))
    counted, _ = engine.update_counts(state, 5, 2, 0.1)
    summed, _ = engine.update_sums(state, 5, bet_sums(losses / 0.1, np.ones(5)))
    assert np.allclose(logs_of(counted), logs_of(summed), rtol=1e-12)
    assert counted.count == 8


@pytest.mark.parametrize(("count", "ones", "limit"), [(5, 6, 0.1), (5, -1, 0.1), (5, 1, 0.0)])
def test_impossible_counts_are_refused(count: int, ones: int, limit: float) -> None:
    engine = Engine(parse("5% once"))
    with pytest.raises(InputError, match="0 <= ones <= count"):
        engine.update_counts(engine.start(), count, ones, limit)


def test_a_crossing_by_sums_is_seen_at_the_block_s_end_and_stays() -> None:
    engine = Engine(parse("5% once"))
    state, step = engine.update_counts(engine.start(), 50, 50, 0.1)
    assert (step.crossed_at, state.crossed) == (49, 50)
    state, after = engine.update_counts(state, 500, 0, 0.1)
    assert after == (step.evidence, None)


@given(mode=st.sampled_from(list(Mode)), start=st.integers(0, 10**9), count=st.integers(1, 300))
def test_restart_masses_add_up(mode: Mode, start: int, count: int) -> None:
    total = np.exp(log_restarts(mode, start, count)).sum()
    assert total == pytest.approx(math.exp(log_restart_mass(mode, start, count)), rel=1e-9)


def test_life_spends_one_unit_over_all_time() -> None:
    spent = np.cumsum(np.exp(log_restarts(Mode.LIFE, 0, 100_000)))
    at = np.array([1, 10, 1000, 100_000])
    assert spent[at - 1] == pytest.approx(1 - 1 / np.log2(at + 2.0), rel=1e-9)


def test_nothing_judged_is_no_evidence() -> None:
    engine = Engine(parse("5% ever"))
    for state, step in (
        engine.update(engine.start(), np.empty(0)),
        engine.update_sums(engine.start(), 0, np.zeros(12)),
    ):
        assert (state, step) == (engine.start(), (0.0, None))


@pytest.mark.parametrize("words", PROMISES)
@pytest.mark.parametrize("stream", [np.zeros(5000), np.full(300, 1e300), np.tile([0.0, 1e9], 800)])
def test_extreme_ratios_neither_overflow_nor_vanish(words: str, stream: Array) -> None:
    engine = Engine(parse(words))
    state, step = engine.update(engine.start(), stream)
    slow = engine.start()
    for ratio in stream:
        slow, _ = engine.update(slow, np.array([ratio]))
    assert math.isfinite(step.evidence)
    assert np.all(np.isfinite(logs_of(state)))
    assert np.allclose(logs_of(state), logs_of(slow), rtol=1e-9, atol=1e-9)


def test_ten_million_healthy_outcomes_leave_a_rate_awake() -> None:
    engine = Engine(parse("1 per 200,000 outcomes"))
    state = engine.start()
    rng = np.random.default_rng(1)
    for _ in range(1000):
        state, _ = engine.update_counts(state, 10_000, int(rng.binomial(10_000, 0.02)), 0.1)
    assert (state.count, state.crossed) == (10_000_000, None)
    state, step = engine.update(state, (rng.random(5000) < 0.15) / 0.1)
    assert step.crossed_at is not None
    assert step.crossed_at < 3000


def test_streams_side_by_side_are_streams_apart() -> None:
    streams = np.random.default_rng(2).exponential(1.0, (50, 3))
    restarts = log_restarts(Mode.RATE, 0, 50)
    together = wealth_path(np.full((3, 12), -np.inf), log_bets(streams), restarts)
    for index in range(3):
        alone = wealth_path(np.full(12, -np.inf), log_bets(streams[:, index]), restarts)
        assert np.allclose(together[:, index], alone, rtol=1e-12)


@pytest.mark.parametrize("mode", list(Mode))
def test_fair_ratios_keep_the_promise(mode: Mode) -> None:
    """By the definition of the promise: E[M_t] = the restart mass so far, for fair ratios."""
    rng = np.random.default_rng(3)
    fair = rng.choice([0.5, 1.5], (20, 20_000))
    path = wealth_path(np.full((20_000, 12), -np.inf), log_bets(fair), log_restarts(mode, 0, 20))
    expected = math.exp(log_restart_mass(mode, 0, 20))
    assert np.exp(path[-1]).mean() == pytest.approx(expected, rel=0.03)
