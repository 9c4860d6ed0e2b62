"""A loss recomputed over history: all predictions have an outcome by then."""

from __future__ import annotations

import time
from collections.abc import Iterator

import numpy as np

from lossloop.app.bench import rows
from lossloop.app.bench.base import Bench, Part, Spread
from lossloop.app.bench.figure import Figure
from lossloop.app.bench.floors import log_loss
from lossloop.app.bench.house import AT_ONCE
from lossloop.app.bench.targets import figure
from lossloop.app.recompute import Question, recompute
from lossloop.pipelines.executors import open_executor

ANOTHER = "brier"


def measure(bench: Bench) -> Iterator[Figure]:
    """The executor has started; everything from the first byte of history to the figures is timed."""
    house, many = bench.house, bench.sizes.many
    bench.screen.phase(f"recompute_10m_s: {many:,} predictions and their outcomes")
    house.grow(many - (house.count - house.open), bench.screen)
    _answer_all(bench)
    bench.screen.phase(f"recompute_10m_s: {bench.sizes.repeats} times over {house.count:,} rows")
    with open_executor() as executor:
        asked = Question(model=rows.MODEL), Question(model=rows.MODEL, loss=ANOTHER)
        times: list[list[float]] = [[], []]
        for _ in range(bench.sizes.repeats):
            for question, seconds in zip(asked, times, strict=True):
                started = time.perf_counter()
                recompute(house.home, question, executor)
                seconds.append(time.perf_counter() - started)
    spread, floor = Spread.of(times[0]), _numpy(house.count)
    yield figure(
        "recompute_10m_s", spread.median, floor=floor, low=spread.low, high=spread.high, first=times[0][0],
        ratio=spread.median / floor, beside_the_one_in_force_s=Spread.of(times[1]).median, rows=house.count,
    )  # fmt: skip


def _answer_all(bench: Bench) -> None:
    house = bench.house
    numbers = house.take(house.open)
    with house.folding() as folding:
        for start in range(0, len(numbers), AT_ONCE):
            house.append("outcomes", numbers[start : start + AT_ONCE])
            folding.drain()
            bench.screen.progress(start / len(numbers))


def _numpy(count: int) -> float:
    random = np.random.default_rng(0)
    y_pred, y_true = random.uniform(0.01, 0.99, count), (random.random(count) < 0.5).astype(float)
    started = time.perf_counter()
    losses = log_loss(y_true, y_pred)
    float(losses.mean()), float(losses.var())
    return time.perf_counter() - started


PART = Part(ids=("recompute_10m_s",), house="many", measure=measure)
