"""How fast the engine judges, in processor time: one core, whatever else the machine does."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from lossloop.app.bench.base import Part, Spread
from lossloop.app.bench.figure import Figure
from lossloop.app.bench.judge_base import JudgeBench
from lossloop.app.bench.judge_targets import TARGETS
from lossloop.judges import Engine, Streams, Wealth, parse

Array = npt.NDArray[np.float64]

PROMISE = parse("1 per 200,000 outcomes")
RISK, LIMIT = 0.08, 0.10
BATCH, BINARY_BATCH, EACH = 100, 10_000, 100
IDS = ("stream_100", "stream_binary", "streams_10k", "single")


def measure(bench: JudgeBench) -> Iterator[Figure]:
    """Healthy streams, so that nothing is skipped because it was decided."""
    rng = np.random.default_rng(0)
    flags = rng.random(bench.sizes.outcomes) < RISK
    ratios = flags / LIMIT
    yield _figure(bench, "stream_100", len(ratios), lambda: _batches(ratios), lambda: _sums(ratios, BATCH))
    # So fast that the same flags are gone through a hundred times.
    many = 100 * len(flags)
    yield _figure(bench, "stream_binary", many, lambda: _counts(flags), lambda: _ones(flags))
    yield _side_by_side(bench, rng)
    few = ratios[: bench.sizes.single]
    yield _figure(bench, "single", len(few), lambda: _one_by_one(few), lambda: _sums(few, 1))


def _figure(
    bench: JudgeBench, id: str, outcomes: int, ours: Callable[[], object], bare: Callable[[], object]
) -> Figure:
    bench.screen.phase(f"{id}: {bench.sizes.repeats} times {outcomes:,} outcomes")
    rates = [outcomes / _seconds(ours) for _ in range(bench.sizes.repeats)]
    spread, floor = Spread.of(rates), outcomes / _seconds(bare)
    return TARGETS[id].figure(
        id, spread.median, floor=floor, low=spread.low, high=spread.high, ratio=spread.median / floor
    )


def _side_by_side(bench: JudgeBench, rng: np.random.Generator) -> Figure:
    streams = bench.sizes.streams
    judge = Streams(PROMISE)
    codes = rng.integers(0, streams, EACH * streams)
    ratios = (rng.random(len(codes)) < RISK) / LIMIT
    state = judge.update(judge.start(streams), codes, ratios)
    return _figure(
        bench, "streams_10k", len(codes), lambda: judge.update(state, codes, ratios),
        lambda: np.bincount(codes, weights=ratios, minlength=streams),
    )  # fmt: skip


def _batches(ratios: Array) -> Wealth:
    engine = Engine(PROMISE)
    state = engine.start()
    for start in range(0, len(ratios), BATCH):
        state, _ = engine.update(state, ratios[start : start + BATCH])
    return state


def _one_by_one(ratios: Array) -> Wealth:
    engine = Engine(PROMISE)
    state = engine.start()
    for row in range(len(ratios)):
        state, _ = engine.update(state, ratios[row : row + 1])
    return state


def _counts(flags: npt.NDArray[np.bool_]) -> Wealth:
    engine = Engine(PROMISE)
    state = engine.start()
    for _ in range(100):
        for start in range(0, len(flags), BINARY_BATCH):
            batch = flags[start : start + BINARY_BATCH]
            state, _ = engine.update_counts(state, len(batch), int(np.count_nonzero(batch)), LIMIT)
    return state


def _ones(flags: npt.NDArray[np.bool_]) -> int:
    total = 0
    for _ in range(100):
        for start in range(0, len(flags), BINARY_BATCH):
            total += int(np.count_nonzero(flags[start : start + BINARY_BATCH]))
    return total


def _sums(ratios: Array, size: int) -> float:
    total = 0.0
    for start in range(0, len(ratios), size):
        total += float(ratios[start : start + size].sum())
    return total


def _seconds(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return max(time.process_time() - started, 1e-9)


PART = Part(ids=IDS, measure=measure)
