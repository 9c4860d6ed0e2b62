"""What judging by row does to dependent rows, and judging by block repairs (statistics.md, 2h).

    python -m benchmarks.judges.dependence [--replications 1000] [--seed 0] [--json]

Each day has 900 rows and a shock that they share: the loss has a design effect of about 74, as the flights
have. The reference is 59 healthy days (a t-bound), the tolerance .02; then 300 days go by in which nothing
changes, or in which the mean is higher by .1.

*Units.* 2,000 units have 20 identical rows each, a tenth of them with a loss, which is the limit.
*Waves.* The risk of 10,000 rows wanders about its limit of .10 (its logarithm is AR .99, of variance .5).
Both are judged by row, and averaged: per unit in blocks of 10 units, and in blocks of 500 rows. Promises
allow an alarm in 5%.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.judges.command import print_figures
from lossloop.core.records import VerdictKind
from lossloop.judges import (
    Guardrail,
    Regression,
    block_means,
    design_effect,
    parse,
    reference_of_blocks,
)

Array = npt.NDArray[np.float64]

ROWS, DAYS, REFERENCE_DAYS = 900, 300, 59
MEAN, TOLERANCE, RISE = 0.5, 0.02, 0.1
UNITS, EACH, LIMIT = 2_000, 20, 0.10
WAVES, WAVE, PERSISTS = 10_000, 0.5**0.5, 0.99
_PIECE = 500
"""Rows of a block of a wave."""
SHAPE = 10.3
"""Of the gamma distribution of a day's mean: a standard deviation of .156 at a mean of .5."""


@dataclass(frozen=True)
class Figures:
    """What was found; shares of the replications."""

    design_effect: float
    by_row_false_alarms: float
    by_block_false_alarms: float
    by_block_caught: float
    by_block_days_to_catch: float
    units_by_row_false_alarms: float
    units_averaged_false_alarms: float
    waves_by_row_false_alarms: float
    waves_by_block_false_alarms: float


def day_means(rng: np.random.Generator, days: int) -> Array:
    """Independent days' risks, mean .5."""
    return rng.gamma(SHAPE, MEAN / SHAPE, days)


def rows_of(rng: np.random.Generator, means: Array) -> Array:
    """The losses of each day's rows, shape (days, rows)."""
    return means[:, None] * rng.exponential(1.0, (len(means), ROWS))


def measure(replications: int, seed: int) -> Figures:
    """All figures; judging by row needs few replications, since it always alarms."""
    rng = np.random.default_rng(seed)
    losses = rows_of(rng, day_means(rng, 2000))
    effect = design_effect(losses.ravel(), np.repeat(np.arange(2000), ROWS))
    by_row = [_alarms_by_row(rng) for _ in range(20)]
    false = [_days_to_alarm(rng, 0.0) for _ in range(replications)]
    caught = np.array([_days_to_alarm(rng, RISE) for _ in range(replications)])
    return Figures(
        design_effect=effect,
        by_row_false_alarms=sum(by_row) / len(by_row),
        by_block_false_alarms=float(np.isfinite(false).mean()),
        by_block_caught=float(np.isfinite(caught).mean()),
        by_block_days_to_catch=float(np.median(caught)),
        units_by_row_false_alarms=_share(units_alarm(rng, averaged=False) for _ in range(20)),
        units_averaged_false_alarms=_share(units_alarm(rng, averaged=True) for _ in range(replications)),
        waves_by_row_false_alarms=_share(waves_alarm(rng, averaged=False) for _ in range(replications)),
        waves_by_block_false_alarms=_share(waves_alarm(rng, averaged=True) for _ in range(replications)),
    )


def units_alarm(rng: np.random.Generator, *, averaged: bool) -> bool:
    """Whether a healthy model alarms whose units have many rows that are all the same."""
    losses = (rng.random(UNITS) < LIMIT).astype(np.float64)
    rows, units = np.repeat(losses, EACH), np.repeat(np.arange(UNITS), EACH)
    judge = Guardrail(limit=LIMIT, promise=parse("5% ever"))
    judged = block_means(rows, units // 10, units).mean if averaged else rows
    return judge.update(judge.start(), judged)[1].kind is VerdictKind.ALARM


def waves_alarm(rng: np.random.Generator, *, averaged: bool) -> bool:
    """Whether a healthy model alarms whose risk wanders about its limit."""
    steps = rng.normal(0.0, WAVE * (1.0 - PERSISTS**2) ** 0.5, WAVES)
    steps[0] = rng.normal(0.0, WAVE)
    powers = PERSISTS ** np.arange(_PIECE + 1.0)
    logs, last = np.empty(WAVES), 0.0
    for start in range(0, WAVES, _PIECE):
        piece = steps[start : start + _PIECE]
        logs[start : start + _PIECE] = powers[: len(piece)] * np.cumsum(piece / powers[: len(piece)])
        logs[start : start + _PIECE] += last * powers[1 : len(piece) + 1]
        last = logs[start + len(piece) - 1]
    risk = LIMIT * np.exp(logs - 0.5 * WAVE**2)
    losses = (rng.random(WAVES) < risk).astype(np.float64)
    judge = Guardrail(limit=LIMIT, promise=parse("5% ever"))
    judged = losses.reshape(-1, _PIECE).mean(axis=1) if averaged else losses
    return judge.update(judge.start(), judged)[1].kind is VerdictKind.ALARM


def _share(alarms: Iterable[bool]) -> float:
    return float(np.mean(list(alarms)))


def _alarms_by_row(rng: np.random.Generator) -> bool:
    upper = reference_of_blocks(day_means(rng, REFERENCE_DAYS)).upper
    judge = Guardrail(limit=upper + TOLERANCE, promise=parse(f"1 per {3650 * ROWS} outcomes"))
    losses = rows_of(rng, day_means(rng, DAYS)).ravel()
    return judge.update(judge.start(), losses)[1].kind is VerdictKind.ALARM


def _days_to_alarm(rng: np.random.Generator, rise: float) -> float:
    noise = 1.0 + rng.normal(0.0, ROWS**-0.5, REFERENCE_DAYS + DAYS)
    means = day_means(rng, REFERENCE_DAYS + DAYS) * noise
    judge = Regression(
        reference=reference_of_blocks(means[:REFERENCE_DAYS]),
        tolerance=TOLERANCE,
        promise=parse("1 per 3650 blocks"),
    )
    verdict = judge.update(judge.start(), means[REFERENCE_DAYS:] + rise)[1]
    return np.inf if verdict.crossed_at is None else verdict.crossed_at + 1.0


def figures(replications: int, seed: int) -> dict[str, float]:
    """The same by name."""
    return dict(vars(measure(replications, seed)))


def main(arguments: list[str] | None = None) -> None:
    """Print the figures."""
    print_figures(
        "dependence",
        __doc__,
        figures,
        arguments,
        replications=1000,
    )


if __name__ == "__main__":
    main()
