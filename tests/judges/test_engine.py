"""The engine keeps its formulas, its promises, and its state."""

from __future__ import annotations

import base64
import math

import msgspec
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.core.errors import InputError
from lossloop.judges import Engine, Mode, Promise, Streams, Wealth, parse
from lossloop.judges.engine import (
    CANARY_KAPPAS,
    KAPPAS,
    bet_sums,
    log_bets,
)
from lossloop.judges.restarts import log_restart_mass, piece_restarts

Array = npt.NDArray[np.float64]
PROMISES = ("1 per 1000 outcomes", "5% ever", "5% once")
engines = st.sampled_from(PROMISES).map(lambda words: Engine(parse(words)))
ratios = st.lists(
    st.floats(0.0, 1e6) | st.sampled_from([0.0, 1.0, 10.0, 1e300]), min_size=1, max_size=60
).map(lambda values: np.array(values, dtype=np.float64))


def logs_of(engine: Engine, state: Wealth) -> Array:
    return engine.logs(state)


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


def in_pieces(engine: Engine, stream: Array, cuts: list[int]) -> tuple[Wealth, float, int | None]:
    """State, evidence and deciding outcome of a stream cut there."""
    state, evidence, crossed = engine.start(), 0.0, None
    ends = [*sorted(min(cut, len(stream)) for cut in cuts), len(stream)]
    for start, end in zip([0, *ends], ends, strict=False):
        state, (evidence, found) = engine.update(state, stream[start:end])
        if found is not None:
            crossed = start + found
    return state, evidence, crossed


@given(engine=engines, stream=ratios, cuts=st.lists(st.integers(0, 60), max_size=4))
def test_cutting_changes_no_bit(engine: Engine, stream: Array, cuts: list[int]) -> None:
    assert in_pieces(engine, stream, cuts) == in_pieces(engine, stream, [])


@given(
    engine=engines,
    seed=st.integers(0, 2**32),
    share=st.floats(0.01, 0.5),
    cuts=st.lists(st.integers(0, 1500), max_size=8),
)
def test_cutting_long_streams_changes_no_bit(
    engine: Engine, seed: int, share: float, cuts: list[int]
) -> None:
    """Over several settlements, with and without an alarm."""
    stream = (np.random.default_rng(seed).random(1500) < share) / 0.1
    assert in_pieces(engine, stream, cuts) == in_pieces(engine, stream, [])


@pytest.mark.parametrize("words", PROMISES)
@pytest.mark.parametrize("kappas", [KAPPAS, CANARY_KAPPAS, np.array([0.5, 0.9999])])
def test_one_at_a_time_changes_no_bit(words: str, kappas: Array) -> None:
    engine = Engine(parse(words), kappas)
    stream = np.random.default_rng(5).lognormal(-0.6, 1.0, 700)
    assert in_pieces(engine, stream, list(range(700))) == in_pieces(engine, stream, [])


@given(engine=engines, stream=ratios, more=ratios)
def test_what_follows_changes_no_verdict_before(engine: Engine, stream: Array, more: Array) -> None:
    """A prefix of a stream gives a prefix of the verdicts."""
    whole = np.concatenate((stream, more))
    state, prefix = engine.start(), []
    for row in range(len(whole)):
        state, step = engine.update(state, whole[row : row + 1])
        prefix.append(step)
    last, at = engine.update(engine.start(), stream)[1]
    assert prefix[len(stream) - 1].evidence == last
    deciding = [row for row, step in enumerate(prefix[: len(stream)]) if step.crossed_at is not None]
    assert deciding == ([] if at is None else [at])


@pytest.mark.parametrize("words", PROMISES)
def test_a_state_of_an_older_release_goes_on(words: str) -> None:
    """It had the log wealth only, as after a settlement."""
    engine = Engine(parse(words))
    stream = np.random.default_rng(6).exponential(0.9, 200)
    state, _ = engine.update(engine.start(), stream[:50])
    logs = base64.b64encode(engine.logs(state).tobytes()).decode()
    old = {"logs": logs, "count": 50, "crossed": None, "crossed_evidence": 0.0}
    read = msgspec.json.decode(msgspec.json.encode(old), type=Wealth)
    assert engine.evidence(read) == pytest.approx(engine.evidence(state), rel=1e-12)
    one, other = engine.update(read, stream[50:])[1], engine.update(state, stream[50:])[1]
    assert one.evidence == pytest.approx(other.evidence, rel=1e-9)


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
    assert np.allclose(logs_of(engine, block), sums + mass, rtol=1e-9, atol=1e-9)
    if engine.promise.mode is Mode.ONCE:
        exact, _ = engine.update(engine.start(), stream)
        assert np.allclose(logs_of(engine, block), logs_of(engine, exact), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("words", PROMISES)
def test_counts_are_sums_of_zeros_and_ones(words: str) -> None:
    engine = Engine(parse(words))
    losses = np.array([0.0, 1.0, 0.0, 0.0, 1.0])
    state, _ = engine.update(engine.start(), np.ones(3))
    counted, _ = engine.update_counts(state, 5, 2, 0.1)
    summed, _ = engine.update_sums(state, 5, bet_sums(losses / 0.1, np.ones(5)))
    assert np.allclose(logs_of(engine, counted), logs_of(engine, summed), rtol=1e-12)
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
    total = piece_restarts(mode, start, count).sum()
    assert total == pytest.approx(math.exp(log_restart_mass(mode, start, count)), rel=1e-9)


def test_life_spends_one_unit_over_all_time() -> None:
    spent = np.cumsum(piece_restarts(Mode.LIFE, 0, 100_000))
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
    assert np.all(np.isfinite(logs_of(engine, state)))
    assert np.allclose(logs_of(engine, state), logs_of(engine, slow), rtol=1e-9, atol=1e-9)


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


@pytest.mark.parametrize("words", PROMISES)
def test_nothing_vanishes_in_ten_million_exact_outcomes(words: str) -> None:
    """No loss at all: 400,000 outcomes one by one, the rest by sums of their bets."""
    engine = Engine(parse(words))
    state, _ = engine.update(engine.start(), np.zeros(400_000))
    sums = log_bets(np.zeros(1)).sum(axis=0) * 2_400_000
    for _ in range(4):
        state, _ = engine.update_sums(state, 2_400_000, sums)
    state, step = engine.update(state, np.array([0.0, 0.5, 1.0]))
    assert state.count == 10_000_003
    assert math.isfinite(step.evidence)
    assert np.isfinite(engine.logs(state)).all()
    if engine.promise.mode is not Mode.ONCE:
        state, step = engine.update(state, np.full(40, 10.0))
        assert step.crossed_at is not None
        assert step.crossed_at < 25


@pytest.mark.parametrize("mode", list(Mode))
def test_fair_ratios_keep_the_promise(mode: Mode) -> None:
    """By the definition of the promise: E[M_t] = the restart mass so far, for fair ratios."""
    fair = np.random.default_rng(3).choice([0.5, 1.5], (20, 20_000))
    judge = Streams(Promise(mode=mode, threshold=1e300))
    wealth = judge.log_wealth(judge.update_together(judge.start(20_000), fair))
    expected = math.exp(log_restart_mass(mode, 0, 20))
    assert np.exp(wealth).mean() == pytest.approx(expected, rel=0.03)
