"""The false-alarm and delay rows of statistics.md, section 3, for the three promises.

    python -m benchmarks.judges.false_alarms [--replications 4000] [--delay-replications 1000] [--seed 0]
                                             [--others] [--json]

Bernoulli losses, limit .10. "FA" is the chance of an alarm within 10,000 healthy outcomes, every outcome
looked at; a delay is the median count of outcomes after a change that follows 2,000 healthy outcomes.
Streams run side by side, as many slices do in production. `--others` adds heavy-tailed
losses, the mean time to a false alarm, and a million healthy outcomes.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from benchmarks.judges.command import parser_of
from lossloop.judges import Engine, Mode, Promise, Streams, parse

Array = npt.NDArray[np.float64]
Draw = Callable[[int, int, int], Array]
"""(first time, times, streams) -> losses of shape (times, streams)."""
Make = Callable[[np.random.Generator], Draw]

LIMIT = 0.10
HORIZON = 10_000
HEALTHY = 2_000
LONGEST = 60_000
CHUNK = 64
SIDE_BY_SIDE = 250
CHANGES = (0.12, 0.15, 0.20)


@dataclass(frozen=True)
class Detector:
    """Detectors that share their streams: the same mode, at ascending thresholds."""

    names: tuple[str, ...]
    mode: Mode
    thresholds: tuple[float, ...]
    limit: float = LIMIT


DETECTORS = (
    Detector(("rate, A=2e5", "rate, A=1e6"), Mode.RATE, (2e5, 1e6)),
    Detector(("life, alpha=.05",), Mode.LIFE, (20.0,)),
    Detector(("once, alpha=.05",), Mode.ONCE, (20.0,)),
)


@dataclass(frozen=True)
class Row:
    """One detector: the share of replications with a false alarm, and the median delay to each change."""

    detector: str
    false_alarms: float
    delays: dict[str, float]


def alarms(
    draw: Draw, streams: int, until: int, *, mode: Mode, thresholds: tuple[float, ...], limit: float
) -> Array:
    """When each stream first alarms, from 1, at each threshold (ascending).

    Shape (thresholds, streams); infinite where it does not alarm by `until`.
    """
    levels = [Level(Streams(Promise(mode=mode, threshold=each)), streams) for each in thresholds]
    for start in range(0, until, CHUNK):
        ratios = draw(start, min(CHUNK, until - start), streams) / limit
        for level in levels:
            level.take(ratios)
        if not any(len(level.running) for level in levels):
            break
    return np.stack([level.found for level in levels])


class Level:
    """Streams judged at one threshold, each until it alarms."""

    def __init__(self, judge: Streams, streams: int) -> None:
        self._judge, self._state = judge, judge.start(streams)
        self.running = np.arange(streams)
        self.found = np.full(streams, np.inf)

    def take(self, ratios: Array) -> None:
        """Judge the next ratios of all streams, shape (times, streams)."""
        if not len(self.running):
            return
        state = self._judge.update_together(self._state, ratios[:, self.running])
        over = state.crossed > 0
        self.found[self.running[over]] = state.crossed[over]
        self.running, self._state = self.running[~over], state.rows(~over) if over.any() else state


def bernoulli(rng: np.random.Generator, risk: float, changed: float | None = None) -> Draw:
    """Losses of 0 or 1, of risk `risk`, or `changed` after the healthy span."""

    def draw(start: int, times: int, streams: int) -> Array:
        moment = np.arange(start, start + times)[:, None]
        risks = np.where(moment < HEALTHY, risk, risk if changed is None else changed)
        return (rng.random((times, streams)) < risks).astype(np.float64)

    return draw


def lognormal(rng: np.random.Generator, factor: float = 1.0, *, sigma: float = 1.5) -> Draw:
    """Heavy-tailed losses of mean 1, or `factor` after the healthy span."""

    def draw(start: int, times: int, streams: int) -> Array:
        moment = np.arange(start, start + times)[:, None]
        return np.where(moment < HEALTHY, 1.0, factor) * rng.lognormal(
            -(sigma**2) / 2, sigma, (times, streams)
        )

    return draw


def pareto(rng: np.random.Generator, *, shape: float = 1.5) -> Draw:
    """Losses of infinite variance and mean 1."""

    def draw(_start: int, times: int, streams: int) -> Array:
        return (1.0 + rng.pareto(shape, (times, streams))) * (shape - 1.0) / shape

    return draw


def chance_of_alarm(make: Make, detector: Detector, *, replications: int, seed: list[int]) -> list[float]:
    """The share of healthy streams with an alarm within the horizon, per threshold."""
    found = _runs(make, detector, HORIZON, replications, seed)
    return [float(share) for share in np.isfinite(found).mean(axis=1)]


def delays(make: Make, detector: Detector, *, replications: int, seed: list[int]) -> list[float]:
    """The median delay after the change, per threshold, over streams without a false alarm before it."""
    found = _runs(make, detector, LONGEST, replications, seed)
    return [float(np.median(times[times > HEALTHY] - HEALTHY)) for times in found]


def table(replications: int, delay_replications: int, seed: int) -> list[Row]:
    """The Bernoulli rows; detectors of one mode share their streams."""
    rows = []
    for detector in DETECTORS:
        shares = chance_of_alarm(
            lambda rng: bernoulli(rng, LIMIT), detector, replications=replications, seed=[seed, 0]
        )
        medians = [
            delays(_changing(change), detector, replications=delay_replications, seed=[seed, 1, index])
            for index, change in enumerate(CHANGES)
        ]
        for level, name in enumerate(detector.names):
            found = {f"{change:.2f}": medians[index][level] for index, change in enumerate(CHANGES)}
            rows.append(Row(name, shares[level], found))
    return rows


def others(replications: int, delay_replications: int, seed: int) -> dict[str, float]:
    """The figures beside the table, by name."""
    rate = Detector(("rate, A=2e5",), Mode.RATE, (2e5,), limit=1.0)
    short = Detector(("rate, A=2000",), Mode.RATE, (2e3,))
    figures = {
        "lognormal: false alarms": chance_of_alarm(
            lognormal, rate, replications=replications, seed=[seed, 2]
        )[0],
        "Pareto(1.5): false alarms": chance_of_alarm(pareto, rate, replications=replications, seed=[seed, 3])[
            0
        ],
    }
    for factor in (1.2, 1.5, 2.0):
        figures[f"lognormal: delay to x{factor:g}"] = delays(
            partial(lognormal, factor=factor), rate, replications=delay_replications, seed=[seed, 4]
        )[0]
    waits = _runs(lambda rng: bernoulli(rng, LIMIT), short, LONGEST, delay_replications, [seed, 5])
    figures["mean outcomes to a false alarm / A, rate, A=2000"] = float(waits.mean()) / 2e3
    figures["t-test at 5% looked at every 100: false alarms"] = peeked_t_test(replications, [seed, 7])
    return figures | long_life(min(100, delay_replications), seed)


def peeked_t_test(streams: int, seed: list[int], *, every: int = 100, z: float = 1.645) -> float:
    """What the usual test does if it is looked at often: the share of healthy streams it ever condemns."""
    drawn = np.random.default_rng(seed).binomial(every, LIMIT, (HORIZON // every, streams))
    seen = every * np.arange(1, HORIZON // every + 1)[:, None]
    means = drawn.cumsum(axis=0) / seen
    errors = np.sqrt(means * (1.0 - means) / seen)
    return float((means - LIMIT > z * errors).any(axis=0).mean())


def long_life(streams: int, seed: int) -> dict[str, float]:
    """The evidence after a million healthy outcomes at .02 (limit .10), and the delay to .15 after them."""
    rng = np.random.default_rng([seed, 6])
    healthy = (rng.random(1_000_000) < 0.02) / LIMIT
    risen = (rng.random((streams, 20_000)) < 0.15) / LIMIT
    figures = {}
    for name, promise in (("rate", "1 per 200,000 outcomes"), ("once", "5% once")):
        engine = Engine(parse(promise))
        state, step = engine.update(engine.start(), healthy)
        figures[f"{name}: evidence after a million healthy outcomes"] = step.evidence
        found = [engine.update(state, stream)[1].crossed_at for stream in risen]
        figures[f"{name}: median outcomes to catch .15 then"] = float(
            np.median([np.inf if at is None else at + 1.0 for at in found])
        )
    return figures


def _changing(to: float) -> Make:
    return lambda rng: bernoulli(rng, LIMIT, to)


def _runs(make: Make, detector: Detector, until: int, streams: int, seed: list[int]) -> Array:
    """When each stream alarms, shape (thresholds, streams)."""
    draw = make(np.random.default_rng(seed))
    found = [
        alarms(draw, n, until, mode=detector.mode, thresholds=detector.thresholds, limit=detector.limit)
        for n in _groups(streams)
    ]
    return np.concatenate(found, axis=1)


def _groups(streams: int) -> list[int]:
    """How many streams to run side by side at a time: few enough for the processor's cache."""
    whole, rest = divmod(streams, SIDE_BY_SIDE)
    return [SIDE_BY_SIDE] * whole + ([rest] if rest else [])


def main(arguments: list[str] | None = None) -> None:
    """Print the table."""
    parser = parser_of(__doc__, replications=4000)
    parser.add_argument("--delay-replications", type=int, default=1000)
    parser.add_argument("--others", action="store_true")
    args = parser.parse_args(arguments)
    rows = table(args.replications, args.delay_replications, args.seed)
    figures = others(args.replications, args.delay_replications, args.seed) if args.others else {}
    if args.json:
        print(json.dumps({"bench": "false_alarms", "rows": [vars(row) for row in rows], "others": figures}))
        return
    print(f"{'detector':18} {'FA':>6} {'to .12':>8} {'to .15':>8} {'to .20':>8}")
    for row in rows:
        medians = " ".join(f"{delay:8.0f}" for delay in row.delays.values())
        print(f"{row.detector:18} {row.false_alarms:6.3f} {medians}")
    for name, value in figures.items():
        print(f"{name:50} {value:10.4g}")


if __name__ == "__main__":
    main()
