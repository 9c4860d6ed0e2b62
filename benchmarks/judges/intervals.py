"""How often the anytime-valid interval misses, ever, and how wide it is (statistics.md, section 1).

    python -m benchmarks.judges.intervals [--replications 1000] [--seed 0] [--json]

A miss is a moment, at any of the first 10,000 values, at which the true mean lies outside; level .95. It is
found from the two bets that the interval inverts, at the true mean.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from benchmarks.judges.command import print_figures
from benchmarks.judges.false_alarms import HORIZON, Draw, alarms
from lossloop.judges import Mode, betting_interval

Array = npt.NDArray[np.float64]
Sample = Callable[[np.random.Generator, tuple[int, ...]], Array]

ERROR = 0.05
NEVER = 1e300
"""A threshold that nothing reaches: all streams run to the end, so that both bets see the same values."""
SAMPLES: dict[str, tuple[float, Sample]] = {
    "Beta(1,1)": (0.5, lambda rng, shape: rng.random(shape)),
    "Bernoulli(.1)": (0.1, lambda rng, shape: (rng.random(shape) < 0.1).astype(np.float64)),
}


def missed(sample: Sample, mean: float, *, replications: int, seed: list[int]) -> float:
    """The share of streams whose interval ever missed the mean."""
    below = _first(sample, mean, upwards=False, replications=replications, seed=seed)
    above = _first(sample, mean, upwards=True, replications=replications, seed=seed)
    return float(np.isfinite(np.minimum(below, above)).mean())


def width(sample: Sample, *, count: int, seed: list[int]) -> float:
    """The interval's width over that of the central limit theorem, after `count` values."""
    values = sample(np.random.default_rng(seed), (count,))
    found = betting_interval(values, level=1.0 - ERROR)
    central = 2 * 1.959964 * float(values.std()) / math.sqrt(count)
    return (found.high - found.low) / central


def _first(sample: Sample, mean: float, *, upwards: bool, replications: int, seed: list[int]) -> Array:
    """When the bet on a lower (or higher) mean first reaches 2/ERROR; the same streams for both."""
    rng = np.random.default_rng(seed)

    def draw(_start: int, times: int, streams: int) -> Array:
        values = sample(rng, (times, streams))
        return 1.0 - values if upwards else values

    drawn: Draw = draw
    limit = 1.0 - mean if upwards else mean
    group = 250
    found = [
        alarms(drawn, group, HORIZON, mode=Mode.ONCE, thresholds=(2 / ERROR, NEVER), limit=limit)[0]
        for _ in range(0, replications, group)
    ]
    return np.concatenate(found)


def measure(replications: int, seed: int) -> dict[str, float]:
    """All figures, by name."""
    figures = {}
    for index, (name, (mean, sample)) in enumerate(SAMPLES.items()):
        share = missed(sample, mean, replications=replications, seed=[seed, index])
        figures[f"{name}: missed, ever"] = share
        figures[f"{name}: width / central limit, n = 10,000"] = width(
            sample, count=10_000, seed=[seed, 9, index]
        )
    return figures


def main(arguments: list[str] | None = None) -> None:
    """Print the figures."""
    print_figures("intervals", __doc__, measure, arguments, replications=1000)


if __name__ == "__main__":
    main()
