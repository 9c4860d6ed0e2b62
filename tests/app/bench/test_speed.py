"""What is timed is the work that it says: every way of judging a stream comes to the same end."""

from __future__ import annotations

import numpy as np
import pytest

from lossloop.app.bench import speed
from lossloop.app.bench.judge_base import JudgeBench
from lossloop.app.bench.judge_sizes import FULL, QUICK
from lossloop.app.bench.judge_targets import TARGETS
from lossloop.app.bench.screen import Quiet
from lossloop.judges import Engine


def ratios(count: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    flags = np.random.default_rng(0).random(count) < speed.RISK
    return np.asarray(flags / speed.LIMIT, dtype=np.float64)


def test_batches_and_single_outcomes_come_to_the_same_bits() -> None:
    stream = ratios(700)
    batched, single = speed._batches(stream), speed._one_by_one(stream)
    assert batched == single
    assert batched.count == 700


def test_the_streams_that_are_timed_are_not_decided() -> None:
    """A decided stream would be cheaper."""
    state = speed._batches(ratios(200_000))
    assert state.crossed is None
    assert state.count == 200_000


def test_counts_are_taken_of_every_flag() -> None:
    flags = np.arange(2 * speed.BINARY_BATCH) % 20 == 0
    state = speed._counts(flags)
    assert state.count == 100 * len(flags)
    assert speed._ones(flags) == 100 * len(flags) // 20
    engine, by_hand = Engine(speed.PROMISE), Engine(speed.PROMISE).start()
    for _ in range(200):
        by_hand, _ = engine.update_counts(by_hand, speed.BINARY_BATCH, speed.BINARY_BATCH // 20, speed.LIMIT)
    assert state == by_hand


def test_the_floor_adds_up_the_same_outcomes() -> None:
    stream = ratios(1_050)
    assert speed._sums(stream, speed.BATCH) == pytest.approx(stream.sum())
    assert speed._sums(stream, 1) == pytest.approx(stream.sum())


def test_figures_come_in_the_order_that_is_promised() -> None:
    found = list(speed.measure(JudgeBench(sizes=QUICK, screen=Quiet())))
    assert [each.id for each in found] == list(speed.IDS)
    for each in found:
        assert each.unit == TARGETS[each.id].unit == "outcomes/s"
        assert each.at_least
        assert each.value is not None
        assert each.floor is not None
        assert each.more["ratio"] == pytest.approx(each.value / each.floor)


def test_the_full_sizes_are_those_of_the_figures_names() -> None:
    assert FULL.streams == 10_000
    assert speed.BATCH == 100
    assert FULL.horizon == 10_000
    assert FULL.repeats > QUICK.repeats
