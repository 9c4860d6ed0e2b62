"""Intervals for people that stay valid however often anyone looks.

`betting_interval` is exact for bounded values (Waudby-Smith, Ramdas, "Estimating means of bounded random
variables by betting"). `asymptotic_interval` needs no bounds but many values, and is marked approximate
(Waudby-Smith, Arbour, Sinha, Kennedy, Ramdas, "Time-uniform central limit theory"). Neither decides anything.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from lossloop.core.errors import InputError
from lossloop.core.records import Interval
from lossloop.judges.boundaries import normal_mixture_bound, normal_mixture_rho
from lossloop.judges.engine import KAPPAS, bet_sums
from lossloop.judges.holding import log_mean
from lossloop.judges.moments import Moments

Array = npt.NDArray[np.float64]

FEWEST = 5
"""An asymptotic interval is shown from this many values on; below, a spread says too little."""


def betting_interval(
    values: Array,
    weights: Array | None = None,
    *,
    low: float = 0.0,
    high: float = 1.0,
    level: float = 0.95,
) -> Interval:
    """An anytime-valid interval for the mean of values in [low, high].

    Args:
        values: Shape (n,): the values, or the knots of their sketch.
        weights: Shape (n,): how much each knot weighs; None for one each.
        low: The least that a value can be.
        high: The most that a value can be.
        level: The chance that the true mean lies inside at all times; half of the rest is spent on each side.

    Without values the interval is [low, high]. Raises InputError where a value lies outside.
    """
    if not low < high:
        raise InputError(f"an interval needs low < high, not [{low}, {high}]")
    error = _error(level)
    counts = np.ones(len(values)) if weights is None else weights
    total = float(counts.sum())
    if total <= 0.0:
        return Interval(estimate=0.5 * (low + high), low=low, high=high, level=level)
    scaled = (values - low) / (high - low)
    if not np.all((scaled >= -1e-9) & (scaled <= 1.0 + 1e-9)):
        raise InputError(f"an interval for values in [{low}, {high}] was given one outside", field="values")
    scaled = np.clip(scaled, 0.0, 1.0)
    mean = float(scaled @ counts) / total
    threshold = math.log(2.0 / error)
    bottom = _lower_bound(scaled, counts, mean, threshold)
    top = 1.0 - _lower_bound(1.0 - scaled, counts, 1.0 - mean, threshold)
    width = high - low
    return Interval(
        estimate=low + mean * width, low=low + bottom * width, high=low + top * width, level=level
    )


def asymptotic_interval(
    moments: Moments, *, level: float = 0.95, tuned_for: float = 100.0
) -> Interval | None:
    """An anytime-valid interval for a mean, by a normal mixture; approximate, and None below 5 values.

    `tuned_for` is the count at which it is narrowest; it stays valid at any other.
    """
    error = _error(level)
    if moments.count < FEWEST:
        return None
    rho = normal_mixture_rho(tuned_for, error)
    radius = moments.spread * normal_mixture_bound(float(moments.count), error, rho) / moments.count
    return Interval(
        estimate=moments.mean,
        low=moments.mean - radius,
        high=moments.mean + radius,
        level=level,
        approximate=True,
    )


def _lower_bound(values: Array, weights: Array, mean: float, threshold: float) -> float:
    """The least m in (0, mean] against which "the mean is at most m" does not reach the threshold."""
    low, high = 0.0, mean
    for _ in range(60):
        middle = 0.5 * (low + high)
        if middle <= 0.0 or _log_wealth(values, weights, middle) >= threshold:
            low = middle
        else:
            high = middle
    return low


def _log_wealth(values: Array, weights: Array, limit: float) -> float:
    with np.errstate(over="ignore"):
        ratios = np.minimum(values / limit, 1e300)
    return float(log_mean(bet_sums(ratios, weights, KAPPAS)[None])[0])


def _error(level: float) -> float:
    if not 0.0 < level < 1.0:
        raise InputError(f"a level lies between 0 and 1, not {level}", field="level")
    return 1.0 - level
