"""Many streams side by side are the same streams apart, bit for bit."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.core.errors import InputError
from lossloop.judges import Columns, Engine, Promise, Streams, Wealth, parse
from lossloop.judges.engine import CANARY_KAPPAS, bet_sums

Array = npt.NDArray[np.float64]
PROMISES = ("1 per 1000 outcomes", "5% ever", "5% once")
promises = st.sampled_from(PROMISES).map(parse)
outcomes = st.lists(
    st.tuples(st.integers(0, 4), st.floats(0.0, 30.0) | st.sampled_from([0.0, 1e9, 1e300])), max_size=80
)


def apart(
    judge: Streams, state: Sequence[Wealth], codes: npt.NDArray[np.int64], ratios: Array
) -> list[Wealth]:
    engine = Engine(judge.promise, judge.kappas)
    return [engine.update(each, ratios[codes == row])[0] for row, each in enumerate(state)]


def same(judge: Streams, together: Columns, alone: Sequence[Wealth]) -> None:
    """Down to the last bit, except that a column always has its gains and shares written out."""
    engine = Engine(judge.promise, judge.kappas)
    for one, other in zip(judge.wealths(together), alone, strict=True):
        assert (one.count, one.crossed, one.crossed_evidence) == (
            other.count, other.crossed, other.crossed_evidence,
        )  # fmt: skip
        for mine, its in zip(engine.holding(one), engine.holding(other), strict=True):
            assert mine.tobytes() == its.tobytes()
        if other.count:
            assert engine.evidence(one) == engine.evidence(other)


def split(rows: list[tuple[int, float]]) -> tuple[npt.NDArray[np.int64], Array]:
    codes = np.array([code for code, _ in rows], dtype=np.int64)
    return codes, np.array([ratio for _, ratio in rows], dtype=np.float64)


@given(promise=promises, batches=st.lists(outcomes, max_size=3))
def test_side_by_side_is_apart(promise: Promise, batches: list[list[tuple[int, float]]]) -> None:
    judge = Streams(promise)
    state, alone = judge.start(5), [Engine(promise).start()] * 5
    for codes, ratios in map(split, batches):
        state, alone = judge.update(state, codes, ratios), apart(judge, alone, codes, ratios)
    same(judge, state, alone)


@pytest.mark.parametrize("words", PROMISES)
@pytest.mark.parametrize("spread", ["even", "one has most"])
def test_many_streams_over_settlements_and_alarms(words: str, spread: str) -> None:
    rng = np.random.default_rng(7)
    judge = Streams(parse(words), CANARY_KAPPAS)
    state, alone = judge.start(150), [Engine(judge.promise, CANARY_KAPPAS).start()] * 150
    for share in (0.08, 0.3):
        codes = rng.integers(0, 150, 30_000) if spread == "even" else rng.zipf(1.6, 9_000) % 150
        ratios = (rng.random(len(codes)) < share) / 0.1
        state, alone = judge.update(state, codes, ratios), apart(judge, alone, codes, ratios)
    assert (state.crossed > 0).any()
    same(judge, state, alone)


@pytest.mark.parametrize("words", PROMISES)
def test_together_is_apart(words: str) -> None:
    ratios = np.random.default_rng(8).lognormal(-1.0, 1.2, (600, 12))
    ratios[300, 3] = 1e300
    judge = Streams(parse(words))
    codes = np.tile(np.arange(12), 600)
    alone = apart(judge, [Engine(judge.promise).start()] * 12, codes, ratios.ravel())
    for rows in (600, 20):  # one stream after another, and all side by side
        together = judge.start(12)
        for start in range(0, 600, rows):
            together = judge.update_together(together, ratios[start : start + rows])
        same(judge, together, alone)


@given(
    promise=promises,
    blocks=st.lists(
        st.lists(st.tuples(st.integers(0, 500), st.floats(0.0, 1.0)), min_size=3, max_size=3), max_size=4
    ),
)
def test_counts_are_those_of_one_stream(promise: Promise, blocks: list[list[tuple[int, float]]]) -> None:
    judge, engine = Streams(promise), Engine(promise)
    state, alone = judge.start(3), [engine.start()] * 3
    for block in blocks:
        counts = np.array([count for count, _ in block])
        ones = np.array([round(count * share) for count, share in block])
        state = judge.update_counts(state, counts, ones, np.array([0.1, 0.2, 0.4]))
        alone = [
            engine.update_counts(each, int(counts[row]), int(ones[row]), (0.1, 0.2, 0.4)[row])[0]
            for row, each in enumerate(alone)
        ]
    assert state.count.tolist() == [each.count for each in alone]
    assert state.crossed.tolist() == [each.crossed or 0 for each in alone]
    found = [engine.evidence(each) for each in alone]
    assert judge.evidence(state) == pytest.approx(found, rel=1e-9, abs=1e-9)


def test_sums_and_outcomes_may_alternate() -> None:
    rng = np.random.default_rng(9)
    judge, engine = Streams(parse("1 per 1000 outcomes")), Engine(parse("1 per 1000 outcomes"))
    knots, weights = np.linspace(0.0, 4.0, 9), rng.integers(0, 40, (6, 9)).astype(np.float64)
    sums, counts = bet_sums(knots, weights), weights.sum(axis=1).astype(np.int64)
    codes, ratios = rng.integers(0, 6, 900), rng.exponential(0.8, 900)
    state = judge.update(judge.update_sums(judge.start(6), counts, sums), codes, ratios)
    for row, one in enumerate(judge.wealths(state)):
        other, _ = engine.update_sums(engine.start(), int(counts[row]), sums[row])
        other, _ = engine.update(other, ratios[codes == row])
        assert engine.evidence(one) == pytest.approx(engine.evidence(other), rel=1e-12)


def test_a_stream_without_outcomes_stays_as_it_is() -> None:
    judge = Streams(parse("5% ever"))
    state = judge.update(judge.start(3), np.array([1, 1]), np.array([2.0, 0.5]))
    assert (state.count.tolist(), judge.evidence(state)[[0, 2]].tolist()) == ([0, 2, 0], [0.0, 0.0])
    nothing = judge.update_sums(state, np.zeros(3, dtype=np.int64), np.zeros((3, 12)))
    assert nothing is state
    assert judge.update(state, np.empty(0, dtype=np.int64), np.empty(0)) is state
    assert len(state.rows(state.count > 0)) == 1


def test_an_update_leaves_the_state_it_was_given() -> None:
    judge = Streams(parse("5% ever"))
    start = judge.start(2)
    judge.update(start, np.array([0, 1, 1]), np.ones(3))
    judge.update_together(start, np.ones((4, 2)))
    judge.update_counts(start, np.array([9, 9]), np.array([9, 0]), 0.1)
    same(judge, start, [Engine(judge.promise).start()] * 2)


def test_what_does_not_fit_is_refused() -> None:
    judge = Streams(parse("5% ever"))
    start = judge.start(2)
    for codes, ratios in (
        (np.array([0, 2]), np.ones(2)),
        (np.array([-1]), np.ones(1)),
        (np.array([0]), np.ones(2)),
        (np.array([0.0]), np.ones(1)),
    ):
        with pytest.raises(InputError, match="streams"):
            judge.update(start, codes, ratios)
    with pytest.raises(InputError, match="shape"):
        judge.update_together(start, np.ones((4, 3)))
    with pytest.raises(InputError, match="sums of bets"):
        judge.update_sums(start, np.ones(2, dtype=np.int64), np.zeros((3, 12)))
    for ones, limit in ((3, 0.1), (-1, 0.1), (1, 0.0)):
        with pytest.raises(InputError, match="ones <= count"):
            judge.update_counts(start, np.array([2, 2]), np.array([1, ones]), limit)


@given(promise=promises, rows=outcomes, seed=st.integers(0, 1000))
def test_only_the_order_within_a_stream_counts(
    promise: Promise, rows: list[tuple[int, float]], seed: int
) -> None:
    codes, ratios = split(rows)
    judge = Streams(promise)
    one = judge.update(judge.start(5), codes, ratios)
    place = np.random.default_rng(seed).permutation(len(codes))
    sorted_within = np.empty(len(codes), dtype=np.int64)
    for code in range(5):
        slots = np.flatnonzero(codes[place] == code)
        sorted_within[slots] = np.flatnonzero(codes == code)
    other = judge.update(judge.start(5), codes[sorted_within], ratios[sorted_within])
    same(judge, other, list(judge.wealths(one)))


@given(promise=promises, rows=outcomes, cut=st.integers(0, 80))
def test_cutting_a_batch_changes_no_bit(promise: Promise, rows: list[tuple[int, float]], cut: int) -> None:
    codes, ratios = split(rows)
    judge = Streams(promise)
    whole = judge.update(judge.start(5), codes, ratios)
    parts = judge.update(judge.update(judge.start(5), codes[:cut], ratios[:cut]), codes[cut:], ratios[cut:])
    same(judge, parts, list(judge.wealths(whole)))


def test_a_stream_s_state_goes_on_alone() -> None:
    """What one column holds is what an engine goes on with."""
    rng = np.random.default_rng(10)
    judge, engine = Streams(parse("5% ever")), Engine(parse("5% ever"))
    codes, ratios = rng.integers(0, 3, 400), rng.exponential(0.9, 400)
    state = judge.update(judge.start(3), codes, ratios)
    more = rng.exponential(1.0, 300)
    alone, _ = engine.update(list(judge.wealths(state))[1], more)
    together = judge.update(state, np.full(300, 1), more)
    assert engine.evidence(alone) == judge.evidence(together)[1]
    assert judge.evidence(together)[0] == judge.evidence(state)[0]


def test_each_stream_has_its_own_crossing() -> None:
    judge = Streams(parse("5% once"))
    state = judge.update_together(judge.start(3), np.array([[10.0, 0.0, 1.0]] * 4))
    assert state.crossed[0] > 0
    assert state.crossed[1:].tolist() == [0, 0]
    later = judge.update_together(state, np.full((30, 3), 0.1))
    assert later.crossed[0] == state.crossed[0]
    assert judge.evidence(later)[0] == state.evidence[0] == judge.evidence(state)[0]
    assert judge.evidence(later)[0] >= judge.promise.log_threshold
