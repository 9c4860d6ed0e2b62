"""How sure a metric is: the delete-one jackknife over clusters of rows (Efron and Stein 1981). Pure.

A metric is a smooth function of sums, and no mean of rows. It is computed anew without one cluster at a time;
how much that moves it says what a cluster is worth, and these worths are treated as means of blocks are in
`loss recompute`: by an interval for means that anyone may look at as often as they like. It is approximate.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import reduce

import numpy as np

from lossloop.app.metrics.kinds import Sums, limits
from lossloop.core.records import Interval
from lossloop.judges import Moments, asymptotic_interval
from lossloop.judges.intervals import FEWEST

Metrics = Mapping[str, float | None]
ByCluster = Mapping[int, Sums]
"""The sums of one group in each cluster that it has rows in."""


def together(sums: Sequence[Sums]) -> Sums:
    """All of them merged, of which there is at least one."""
    return reduce(lambda one, other: one.merge(other), sums)  # type: ignore[arg-type]  # of one kind


def intervals(mine: ByCluster, *, level: float) -> dict[str, Interval | None]:
    """An interval for each metric of a group.

    None where clusters are too few, or the others leave nothing to divide by.
    """
    whole = together(list(mine.values()))
    return {
        name: _held(found, *limits(name))
        for name, found in _jackknifed(whole.metrics(), _without(whole, mine), list(mine), level).items()
    }


def gaps(mine: ByCluster, others: ByCluster, *, level: float) -> dict[str, Interval | None]:
    """An interval for each metric of a group less that of another.

    A cluster is left out of both at once, so what a day does to both does not count. None where either has
    rows in fewer clusters than an interval needs.
    """
    left, right = together(list(mine.values())), together(list(others.values()))
    without_left, without_right = _without(left, mine), _without(right, others)
    enough = min(len(mine), len(others)) >= FEWEST
    return _jackknifed(
        _less(left.metrics(), right.metrics()),
        lambda cluster: _less(without_left(cluster), without_right(cluster)),
        sorted({*mine} | {*others}) if enough else [],
        level,
    )


def _without(whole: Sums, parts: ByCluster) -> Callable[[int], Metrics]:
    """The metrics of a group without one cluster."""
    metrics = whole.metrics()

    def found(cluster: int) -> Metrics:
        part = parts.get(cluster)
        return metrics if part is None else whole.minus(part).metrics()  # type: ignore[arg-type]

    return found


def _less(left: Metrics, right: Metrics) -> dict[str, float | None]:
    pairs = {name: (left[name], right[name]) for name in left}
    return {
        name: None if one is None or other is None else one - other for name, (one, other) in pairs.items()
    }


def _jackknifed(
    whole: Metrics, without: Callable[[int], Metrics], clusters: Sequence[int], level: float
) -> dict[str, Interval | None]:
    parts = [without(cluster) for cluster in clusters]
    return {name: _interval(value, [part[name] for part in parts], level) for name, value in whole.items()}


def _interval(value: float | None, parts: Sequence[float | None], level: float) -> Interval | None:
    left = [part for part in parts if part is not None]
    if value is None or len(left) < len(parts):
        return None
    count = len(left)
    if count < FEWEST:
        return None
    away = np.array(left) - np.mean(left)
    moments = Moments(count=count, mean=value, deviations=float(np.square((count - 1) * away).sum()))
    return asymptotic_interval(moments, level=level, tuned_for=float(count))


def _held(found: Interval | None, low: float, high: float) -> Interval | None:
    """An interval that does not leave what its metric can be."""
    if found is None:
        return None
    return Interval(
        estimate=found.estimate, low=max(found.low, low), high=min(found.high, high), level=found.level,
        approximate=True,
    )  # fmt: skip
