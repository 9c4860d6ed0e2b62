"""How sure a metric is: the delete-one jackknife over clusters of rows (Efron and Stein 1981). Pure.

A metric is a smooth function of sums, and no mean of rows. It is computed anew without one cluster at a time;
how much that moves it says what a cluster is worth, and these worths are treated as means of blocks are in
`loss recompute`: by an interval for means that anyone may look at as often as they like. It is approximate.
Its middle is the mean of the worths, which is free of the first order of a metric's bias.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import NamedTuple

import numpy as np

from lossloop.app.metrics.kinds import RAISED_BY_CHANCE, Sums, limits
from lossloop.core.records import Interval
from lossloop.judges import Moments, asymptotic_interval
from lossloop.judges.intervals import FEWEST

Metrics = Mapping[str, float | None]
ByCluster = Mapping[int, Sums]
"""The sums of one group in each cluster that it has rows in."""


def together(sums: Sequence[Sums]) -> Sums:
    """All of them merged, of which there is at least one."""
    return reduce(lambda one, other: one.merge(other), sums)  # type: ignore[arg-type]  # of one kind


class LeftOut(NamedTuple):
    """The metrics of a group, and those without each of the clusters that it has rows in."""

    whole: Metrics
    without: Mapping[int, Metrics]


def left_out(parts: ByCluster) -> LeftOut:
    """A group's metrics with all of its clusters, of which there is at least one, and without each."""
    whole = together(list(parts.values()))
    without = {
        cluster: whole.minus(part).metrics()  # type: ignore[arg-type]  # of one kind
        for cluster, part in parts.items()
    }
    return LeftOut(whole.metrics(), without)


def intervals(mine: LeftOut, *, level: float) -> dict[str, Interval | None]:
    """An interval for each metric of a group.

    None where clusters are too few, or the others leave nothing to divide by.
    """
    found = _jackknifed(mine.whole, list(mine.without.values()), level)
    return {name: _held(interval, *limits(name)) for name, interval in found.items()}


def gaps(mine: LeftOut, others: LeftOut, *, level: float) -> dict[str, Interval | None]:
    """An interval for each metric of a group less that of another.

    A cluster is left out of both at once, so what a day does to both does not count. None where either has
    rows in fewer clusters than an interval needs.
    """
    enough = min(len(mine.without), len(others.without)) >= FEWEST
    clusters = sorted({*mine.without} | {*others.without}) if enough else []
    parts = [
        _less(mine.without.get(cluster, mine.whole), others.without.get(cluster, others.whole))
        for cluster in clusters
    ]
    return _jackknifed(_less(mine.whole, others.whole), parts, level)


def _less(left: Metrics, right: Metrics) -> dict[str, float | None]:
    pairs = {name: (left[name], right[name]) for name in left}
    return {
        name: None if one is None or other is None else one - other for name, (one, other) in pairs.items()
    }


def _jackknifed(whole: Metrics, parts: Sequence[Metrics], level: float) -> dict[str, Interval | None]:
    return {
        name: None if name in RAISED_BY_CHANCE else _interval(value, [part[name] for part in parts], level)
        for name, value in whole.items()
    }


def _interval(value: float | None, parts: Sequence[float | None], level: float) -> Interval | None:
    left = [part for part in parts if part is not None]
    if value is None or len(left) < len(parts):
        return None
    count = len(left)
    if count < FEWEST:
        return None
    worth = count * value - (count - 1) * np.array(left)
    moments = Moments().add(worth)
    return asymptotic_interval(moments, level=level, tuned_for=float(count))


def _held(found: Interval | None, low: float, high: float) -> Interval | None:
    """An interval that does not leave what its metric can be."""
    if found is None:
        return None
    estimate, least, most = np.clip([found.estimate, found.low, found.high], low, high).tolist()
    return Interval(estimate=estimate, low=least, high=most, level=found.level, approximate=True)
