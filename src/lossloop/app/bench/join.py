"""Outcomes joined, scored, summarised and committed, a batch after the other, with many predictions open."""

from __future__ import annotations

import time
from collections.abc import Iterator

from lossloop.app.bench.base import Bench, Part, Spread
from lossloop.app.bench.figure import Figure
from lossloop.app.bench.floors import Joined
from lossloop.app.bench.keyed import keyed
from lossloop.app.bench.targets import figure
from lossloop.app.fold import Folding


def measure(bench: Bench) -> Iterator[Figure]:
    """What the applier does between reading a batch from the log and the end of its commit is timed."""
    sizes, house = bench.sizes, bench.house
    bench.screen.phase(f"join: {sizes.open:,} open predictions")
    house.grow(sizes.open, bench.screen)
    rates: dict[str, Spread] = {}
    shapes = {
        "join_100k": (sizes.large_batch, sizes.large_batches),
        "join_1k": (sizes.small_batch, sizes.small_batches),
    }
    with house.folding() as folding:
        for id, (size, batches) in shapes.items():
            bench.screen.phase(f"{id}: {sizes.repeats} times {batches} batches of {size:,}")
            _rate(bench, folding, size, 1)
            rates[id] = Spread.of([_rate(bench, folding, size, batches) for _ in range(sizes.repeats)])
    floors = _floors(bench, shapes)
    peers = _peers(bench, shapes)
    for id, rate in rates.items():
        yield figure(id, rate.median, floor=floors[id], peer=peers[id], low=rate.low, high=rate.high)


def _rate(bench: Bench, folding: Folding, size: int, batches: int) -> float:
    seconds = 0.0
    for _ in range(batches):
        bench.house.append("outcomes", bench.house.take(size))
        started = time.perf_counter()
        folding.drain()
        seconds += time.perf_counter() - started
    return size * batches / seconds


def _floors(bench: Bench, shapes: dict[str, tuple[int, int]]) -> dict[str, float]:
    bench.screen.phase("join: the floor")
    joined = Joined(bench.sizes.open, bench.directory)
    try:
        return {id: joined.rate(*shape) for id, shape in shapes.items()}
    finally:
        joined.close()


def _peers(bench: Bench, shapes: dict[str, tuple[int, int]]) -> dict[str, float]:
    count = bench.sizes.open
    bench.screen.phase(f"join: SQLite with {count:,} rows")
    numbers = bench.house.any(count)
    found, start = {}, 0
    with keyed(bench.directory, count) as table:
        for id, (size, batches) in shapes.items():
            end = start + size * batches
            found[id] = size * batches / sum(table.update(numbers[start:end], size))
            start = end
    return found


PART = Part(ids=("join_100k", "join_1k"), house="open", measure=measure)
