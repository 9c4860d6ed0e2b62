"""Control charts, for charts: Shewhart, Western Electric, EWMA and CUSUM. They show; they never decide.

Their limits need a mean and a standard deviation that somebody knows. Learned from data they gave 12-32%
false alarms at a target of 5% (statistics.md, 2f), and however wide, one comes with certainty in the end.

`run_lengths.py` tells how long each runs on average until it signals.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lossloop.core.errors import InputError
from lossloop.judges.base import losses_array

Array = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

SHEWHART_WIDTH = 3.0
EWMA_SHARE, EWMA_WIDTH = 0.2, 2.962
"""Signals falsely once in 500 values on average."""
CUSUM_SLACK, CUSUM_THRESHOLD = 0.5, 5.0
"""Signals falsely once in 465 values on average."""
RULES = ((1, 1, 3.0), (2, 3, 2.0), (4, 5, 1.0), (8, 8, 0.0))
"""Western Electric's: so many of so many values beyond so many standard deviations, on one side."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ControlChart:
    """What is drawn; arrays of shape (n,), in the unit of the values unless a function says otherwise."""

    name: str
    points: Array
    centre: float
    low: Array
    high: Array
    signals: Flags
    """Where it would signal."""


def shewhart(
    values: npt.ArrayLike, *, mean: float, deviation: float, width: float = SHEWHART_WIDTH
) -> ControlChart:
    """Each value against `mean` plus and minus `width` standard deviations.

    Args:
        values: Shape (n,), such as block means.
        mean: What they vary about while all is well.
        deviation: Their standard deviation while all is well, above 0.
        width: How many standard deviations the limits are away.
    """
    scores = _scores(values, mean, deviation)
    return _level("Shewhart", scores, np.abs(scores) > width, mean, deviation, width)


def western_electric(values: npt.ArrayLike, *, mean: float, deviation: float) -> ControlChart:
    """A Shewhart chart that also signals by runs: 2 of 3 beyond two deviations, 4 of 5 beyond one, 8 aside.

    Arguments as for `shewhart`.
    """
    scores = _scores(values, mean, deviation)
    signals = np.zeros(len(scores), dtype=np.bool_)
    for side in (scores, -scores):
        for needed, among, beyond in RULES:
            outside: Array = np.cumsum(np.concatenate((np.zeros(among), side > beyond)))
            signals |= outside[among:] - outside[:-among] >= needed
    return _level("Western Electric", scores, signals, mean, deviation, SHEWHART_WIDTH)


def ewma(
    values: npt.ArrayLike,
    *,
    mean: float,
    deviation: float,
    share: float = EWMA_SHARE,
    width: float = EWMA_WIDTH,
) -> ControlChart:
    """An exponentially weighted mean, to which each value adds its `share`; its limits widen at first.

    Arguments as for `shewhart`; `width` counts standard deviations of the weighted mean.
    """
    if not 0.0 < share <= 1.0:
        raise InputError(
            f"the share of a new value lies above 0 and is at most 1, not {share}", field="share"
        )
    scores = _scores(values, mean, deviation)
    points, last = np.empty_like(scores), 0.0
    for place, score in enumerate(scores):
        last += share * (score - last)
        points[place] = last
    seen = np.arange(1, len(scores) + 1)
    limits = width * np.sqrt(share / (2.0 - share) * (1.0 - (1.0 - share) ** (2 * seen)))
    return ControlChart(
        name="EWMA",
        points=mean + deviation * points,
        centre=mean,
        low=mean - deviation * limits,
        high=mean + deviation * limits,
        signals=np.abs(points) > limits,
    )


def cusum(
    values: npt.ArrayLike,
    *,
    mean: float,
    deviation: float,
    slack: float = CUSUM_SLACK,
    threshold: float = CUSUM_THRESHOLD,
) -> tuple[ControlChart, ControlChart]:
    """Two sums, for a rise and for a fall, of what exceeds `slack`; points and limits in standard deviations.

    Arguments as for `shewhart`; `slack` and `threshold` count standard deviations of a value.
    """
    scores = _scores(values, mean, deviation)
    return _summed("CUSUM, rise", scores, slack, threshold), _summed("CUSUM, fall", -scores, slack, threshold)


def _summed(name: str, scores: Array, slack: float, threshold: float) -> ControlChart:
    walk = np.concatenate(([0.0], np.cumsum(scores - slack)))
    points = (walk - np.minimum.accumulate(walk))[1:]
    limit = np.full(len(points), threshold)
    return ControlChart(
        name=name,
        points=points,
        centre=0.0,
        low=np.zeros(len(points)),
        high=limit,
        signals=points > threshold,
    )


def _level(
    name: str, scores: Array, signals: Flags, mean: float, deviation: float, width: float
) -> ControlChart:
    limit = np.full(len(scores), width * deviation)
    return ControlChart(
        name=name,
        points=mean + deviation * scores,
        centre=mean,
        low=mean - limit,
        high=mean + limit,
        signals=signals,
    )


def _scores(values: npt.ArrayLike, mean: float, deviation: float) -> Array:
    """Values in standard deviations from the mean."""
    found = losses_array(values, name="values")
    if not np.isfinite(found).all():
        row = int((~np.isfinite(found)).argmax())
        raise InputError(f"value {found[row]} at row {row} is not a finite number", field="values", row=row)
    if not (math.isfinite(mean) and math.isfinite(deviation) and deviation > 0.0):
        raise InputError(
            f"a control chart needs a finite mean and a deviation above 0, not {mean} and {deviation}",
            field="deviation",
        )
    return (found - mean) / deviation
