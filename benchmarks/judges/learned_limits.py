"""Control charts whose limits are learned from data: why they show and do not act (statistics.md, 2f).

    python -m benchmarks.judges.learned_limits [--replications 4000] [--seed 0] [--json]

Each chart's limit is the one that signals falsely in 5% of spans of 100 values, found by simulation, where
the mean and the deviation are known. Then both are learned from 30, 50 or 100 earlier values, as people do,
and the same limit is used. Nothing ever changes. The values are normal, which is the best case.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from benchmarks.judges.command import print_figures
from lossloop.judges.charts import ControlChart, cusum, ewma, shewhart

Array = npt.NDArray[np.float64]
Peak = Callable[[Array, float, float], float]
"""How far a span's points went, in units of a limit of one: values, mean, deviation."""

SPAN, TARGET = 100, 0.05
LEARNED_FROM = (30, 50, 100)


def _peak(*charts: ControlChart) -> float:
    return max(
        float(np.max(np.abs(each.points - each.centre) / (each.high - each.centre))) for each in charts
    )


CHARTS: dict[str, Peak] = {
    "Shewhart": lambda values, mean, deviation: _peak(
        shewhart(values, mean=mean, deviation=deviation, width=1.0)
    ),
    "EWMA": lambda values, mean, deviation: _peak(ewma(values, mean=mean, deviation=deviation, width=1.0)),
    "CUSUM": lambda values, mean, deviation: _peak(
        *cusum(values, mean=mean, deviation=deviation, threshold=1.0)
    ),
}


def measure(replications: int, seed: int) -> dict[str, float]:
    """The share of spans with a false signal, by chart and by how many values it learned from."""
    figures = {}
    for number, (name, peak) in enumerate(CHARTS.items()):
        rng = np.random.default_rng([seed, number])
        known = [peak(rng.normal(size=SPAN), 0.0, 1.0) for _ in range(replications)]
        limit = float(np.quantile(known, 1.0 - TARGET))
        for count in LEARNED_FROM:
            peaks = [_learned(peak, rng, count) for _ in range(replications)]
            figures[f"{name}, learned from {count}: false signals"] = float(np.mean(np.array(peaks) > limit))
    return figures


def _learned(peak: Peak, rng: np.random.Generator, count: int) -> float:
    before = rng.normal(size=count)
    return peak(rng.normal(size=SPAN), float(before.mean()), float(before.std(ddof=1)))


def main(arguments: list[str] | None = None) -> None:
    """Print the figures."""
    print_figures("learned_limits", __doc__, measure, arguments, replications=4000)


if __name__ == "__main__":
    main()
