"""What a season does to a comparison and to a limit, and how both are kept right (statistics.md, 2c and 2h).

    python -m benchmarks.judges.seasons [--replications 1000] [--seed 0] [--json]

*Simpson.* Champion and canary are alike; the loss rises and falls with the week (10% give or take 4%), and
the canary's share of the traffic happens to be 10% while it is low and 50% while it is high. Pooled means
compare the canary's bad hours with the champion's good ones.

*Limit.* A healthy model's loss has a season (10% give or take 4.2%). A guardrail of its mean alarms in a bad
season; one with a limit for each hour does not: "1 per 1,000,000 outcomes", 10,000 of them.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from benchmarks.judges.command import print_figures
from benchmarks.judges.false_alarms import alarms
from lossloop.judges import Assigned, Canary, Mode
from lossloop.judges.boundaries import normal_mixture_bound, normal_mixture_rho

Array = npt.NDArray[np.float64]

MEAN, SWING = 0.10, 0.04
ROWS, SEASON = 20_000, 2_000
"""Rows of a rollout, and of one season."""
LOW_SHARE, HIGH_SHARE = 0.1, 0.5
OUTCOMES, THRESHOLD = 10_000, 1e6
LIMIT_SWING = 0.042
EVERY, ERROR = 100, 0.05
"""How often an interval is looked at, in rows, and the chance that it may miss."""


def risk(moment: npt.NDArray[np.int64], swing: float = SWING) -> Array:
    """The healthy risk at a moment, counted in rows."""
    found: Array = MEAN + swing * np.sin(2.0 * math.pi * moment / SEASON)
    return found


def rollout(rng: np.random.Generator, rows: int = ROWS) -> Assigned:
    """A rollout of a canary that is no worse."""
    risks = risk(np.arange(rows))
    p = np.where(risks > MEAN, HIGH_SHARE, LOW_SHARE)
    loss = (rng.random(rows) < risks).astype(np.float64)
    return Assigned(loss=loss, is_canary=rng.random(rows) < p, propensity=p)


def pooled_rolls_back(rows: Assigned) -> bool:
    """Whether an asymptotic interval of the difference of pooled means ever lies above 0."""
    ends = np.arange(EVERY, len(rows) + 1, EVERY)
    counts, means = [], []
    for arm in (rows.is_canary, ~rows.is_canary):
        counts.append(np.cumsum(arm)[ends - 1])
        means.append(np.cumsum(rows.loss * arm)[ends - 1] / counts[-1])
    # Losses of 0 and 1: the variance follows from the mean.
    spread = np.sqrt(sum(mean * (1.0 - mean) / count for mean, count in zip(means, counts, strict=True)))
    rho = normal_mixture_rho(100.0, ERROR)
    radius = [normal_mixture_bound(float(end), ERROR, rho) / math.sqrt(end) for end in ends]
    return bool((means[0] - means[1] > spread * radius).any())


def weighted_rolls_back(rows: Assigned) -> bool:
    """Whether the canary's judge, which knows the propensities, rolls it back."""
    judge = Canary(bound=1.0, roll_back_if_worse_by=0.0, promote_if_within=0.02, error=ERROR, centre=MEAN)
    return judge.update(judge.start(), rows)[0].tests.roll_back.crossed is not None


def seasonal_alarms(rng: np.random.Generator, streams: int, *, seasonal: bool) -> float:
    """The share of healthy streams that alarm, with the limit of each hour or the mean as the limit."""

    def draw(start: int, times: int, count: int) -> Array:
        risks = risk(np.arange(start, start + times), LIMIT_SWING)[:, None]
        losses = (rng.random((times, count)) < risks).astype(np.float64)
        return losses / risks if seasonal else losses / MEAN

    found = alarms(draw, streams, OUTCOMES, mode=Mode.RATE, thresholds=(THRESHOLD,), limit=1.0)
    return float(np.isfinite(found).mean())


def measure(replications: int, seed: int) -> dict[str, float]:
    """All figures, by name."""
    rng = np.random.default_rng(seed)
    rollouts = [rollout(rng) for _ in range(replications)]
    return {
        "Simpson: pooled interval falsely rolls back": sum(map(pooled_rolls_back, rollouts)) / replications,
        "Simpson: weighted bets falsely roll back": sum(map(weighted_rolls_back, rollouts)) / replications,
        "season: false alarms, the mean as limit": seasonal_alarms(rng, 2 * replications, seasonal=False),
        "season: false alarms, a limit per hour": seasonal_alarms(rng, 2 * replications, seasonal=True),
    }


def main(arguments: list[str] | None = None) -> None:
    """Print the figures."""
    print_figures("seasons", __doc__, measure, arguments, replications=1000)


if __name__ == "__main__":
    main()
