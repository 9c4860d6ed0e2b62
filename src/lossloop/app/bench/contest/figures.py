"""The figures of the contest: how far from the best possible, how far ahead of others, and promises kept."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lossloop.app.bench.base import Part
from lossloop.app.bench.contest import ours, peers
from lossloop.app.bench.contest.cells import (
    CELLS,
    CHANGES,
    RISK,
    Row,
    ahead,
    compete,
)
from lossloop.app.bench.contest.oracle import STATES, calibrated
from lossloop.app.bench.figure import Figure
from lossloop.app.bench.judge_base import JudgeBench
from lossloop.app.bench.judge_sizes import JudgeSizes
from lossloop.app.bench.judge_targets import TARGETS
from lossloop.judges import Mode, Promise, Streams

Array = npt.NDArray[np.float64]
Draw = Callable[[np.random.Generator, tuple[int, int]], Array]

SEED = 0
MEAN_TIME = 200_000.0
"""Outcomes to a false alarm that the oracle and ours both allow."""
SLOW = ("KSWIN",)
SHORT = 2_000.0
"""A rate's A that is short enough to wait for its false alarms."""
_BY_CHANCE = 3.0
"""Standard errors by which a share of false alarms may exceed its bound."""

HEALTHY: dict[str, tuple[float, Draw]] = {
    "0 or 1": (RISK, lambda rng, shape: (rng.random(shape) < RISK).astype(np.float64)),
    "lognormal, sigma 1.5": (1.0, lambda rng, shape: rng.lognormal(-1.125, 1.5, shape)),
    "Pareto 1.5": (1.0, lambda rng, shape: (1.0 + rng.pareto(1.5, shape)) / 3.0),
}
"""Losses in which nothing changes: their limit, which is their mean, and how they are drawn."""


@dataclass(frozen=True)
class Kept:
    """How a promise did: the share of streams with a false alarm, and the share that it allows."""

    promise: str
    losses: str
    share: float
    bound: float
    streams: int

    @property
    def broken(self) -> bool:
        """Whether it had more than it allows, by more than chance."""
        error = math.sqrt(self.bound * (1.0 - self.bound) / self.streams)
        return self.share > self.bound + _BY_CHANCE * error


def measure_oracle(bench: JudgeBench) -> Iterator[Figure]:
    """Ours starts fresh and the risk is changed from the first outcome: the worst for both."""
    told: dict[str, Any] = {}
    for place, changed in enumerate(CHANGES):
        bench.screen.phase(f"worst_delay_over_oracle: .10 becomes {changed:.2f}")
        bench.screen.progress(place / len(CHANGES))
        told[f"to_{changed:.2f}"] = worst_delay(changed, bench.sizes.delays) / oracle_delay(
            changed, states=bench.sizes.states
        )
    yield TARGETS["worst_delay_over_oracle"].figure("worst_delay_over_oracle", max(told.values()), **told)


def worst_delay(changed: float, streams: int, *, seed: int = SEED) -> float:
    """The mean delay of ours from a fresh start; all streams are run to their alarm."""
    rng = np.random.default_rng([seed, 1, int(1000 * changed)])
    judge = Streams(ours.PROMISES[ours.OURS])
    state = judge.start(streams)
    total, running = 0.0, streams
    while running:
        losses = rng.random((100, running), dtype=np.float32) < changed
        state = judge.update_together(state, losses / RISK)
        over = state.crossed > 0
        total += float(state.crossed[over].sum())
        state = state.rows(~over)
        running = len(state)
    return total / streams


def oracle_delay(changed: float, *, states: int = STATES) -> float:
    """The mean delay of the CUSUM that knows the change."""
    return calibrated(RISK, changed, MEAN_TIME, states=states).mean_delay()


def measure_peers(bench: JudgeBench) -> Iterator[Figure]:
    """Everyone sees the same streams."""
    mine, others = rows(bench)
    cells = ahead(mine, others)
    yield TARGETS["cells_ahead_of_peers"].figure(
        "cells_ahead_of_peers",
        len(cells),
        behind_in=[str(cell) for cell in CELLS if cell not in cells],
        compared_with=[row.detector for row in others if row.allowed],
        too_many_false_alarms={row.detector: row.false_alarms for row in others if not row.allowed},
    )


def rows(bench: JudgeBench) -> tuple[Row, list[Row]]:
    """Ours, and every peer as it is configured."""
    sizes = bench.sizes
    detectors = peers.as_configured(SEED)
    bench.screen.phase("cells_ahead_of_peers: ours")
    mine = compete(
        ours.OURS, ours.judge(ours.PROMISES[ours.OURS]), streams=sizes.peers, until=sizes.until, seed=SEED
    )
    others = []
    for place, (name, detect) in enumerate(detectors.items()):
        bench.screen.phase(f"cells_ahead_of_peers: {name}")
        bench.screen.progress(place / len(detectors))
        streams = sizes.slow if name in SLOW else sizes.peers
        others.append(compete(name, detect, streams=streams, until=sizes.until, seed=SEED))
    return mine, others


def measure_promises(bench: JudgeBench) -> Iterator[Figure]:
    """Healthy streams at their limit, every outcome looked at."""
    found: list[Kept] = []
    for name, promise in ours.PROMISES.items():
        for losses in HEALTHY:
            bench.screen.phase(f"promises_broken: {name}, losses {losses}")
            bench.screen.progress(len(found) / (len(ours.PROMISES) * len(HEALTHY)))
            found.append(kept(name, promise, losses, bench.sizes))
    mean_time = mean_time_to_false_alarm(SHORT, bench.sizes.healthy)
    broken = [f"{each.promise}, losses {each.losses}" for each in found if each.broken]
    if mean_time < SHORT * (1.0 - _BY_CHANCE / math.sqrt(bench.sizes.healthy)):
        broken.append(f"rate, A={SHORT:g}: mean time")
    yield TARGETS["promises_broken"].figure(
        "promises_broken",
        len(broken),
        of=len(found) + 1,
        broken=broken,
        false_alarms={f"{each.promise}, losses {each.losses}": each.share for each in found},
        mean_time_over_A=mean_time / SHORT,
    )


def kept(name: str, promise: Promise, losses: str, sizes: JudgeSizes, *, seed: int = SEED) -> Kept:
    """Count the false alarms of a promise within the horizon."""
    streams, horizon = sizes.healthy, sizes.horizon
    limit, draw = HEALTHY[losses]
    rng = np.random.default_rng([seed, 2, list(HEALTHY).index(losses)])
    wrong, left = 0, streams
    while left:
        group = min(left, 250)
        alarms = ours.first_alarms(Streams(promise), draw(rng, (group, horizon)), limit)
        wrong, left = wrong + int(np.isfinite(alarms).sum()), left - group
    bound = horizon / promise.threshold if promise.mode is Mode.RATE else 1.0 / promise.threshold
    return Kept(name, losses, wrong / streams, bound, streams)


def mean_time_to_false_alarm(threshold: float, streams: int, *, seed: int = SEED) -> float:
    """Mean outcomes to a false alarm of a rate with that A; all streams are run to their alarm."""
    rng = np.random.default_rng([seed, 3])
    judge = Streams(Promise(mode=Mode.RATE, threshold=threshold))
    state, total = judge.start(streams), 0.0
    while len(state):
        state = judge.update_together(state, (rng.random((100, len(state)), dtype=np.float32) < RISK) / RISK)
        over = state.crossed > 0
        total += float(state.crossed[over].sum())
        state = state.rows(~over)
    return total / streams


ORACLE: Part[JudgeBench] = Part(ids=("worst_delay_over_oracle",), measure=measure_oracle)
PEERS: Part[JudgeBench] = Part(ids=("cells_ahead_of_peers",), measure=measure_peers)
PROMISES: Part[JudgeBench] = Part(ids=("promises_broken",), measure=measure_promises)
