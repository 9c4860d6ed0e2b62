"""From a tally to what is told: mean losses and their intervals, for each group of rows. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lossloop.app.recompute.tally import KEYS, Tally
from lossloop.core.records import Interval, Record
from lossloop.judges import Moments, asymptotic_interval
from lossloop.judges.intervals import FEWEST
from lossloop.ledger.joined.columns import Int64

LOSS, IN_FORCE, DELTA = range(3)
"""The measures of a tally."""
Words = Mapping[str, Callable[[int], int | str]]
"""How a version, a role, a block or a slice is told from its number."""


class Figure(Record, frozen=True):
    """What was found in rows that have something in common; None for what they are not told apart by."""

    version: int | None
    role: str | None
    block: str | None
    slice: str | None
    rows: int
    labelled: int
    missing: float
    """The share of the rows without an outcome: they are in no mean, unless the loss needs no outcome."""
    unscored: int
    """Rows that should have a loss, and of which it cannot be computed."""
    mean: float | None
    interval: Interval | None
    in_force: float | None
    """The mean of the loss in force; None where that is the same loss."""
    delta: Interval | None
    """The loss less the loss in force, over rows that have both; None where their units differ."""
    over: str
    """What the intervals take for independent: ``blocks``, or ``rows`` where there are too few blocks."""


@dataclass(frozen=True, kw_only=True)
class Telling:
    """How a tally is told.

    by: What rows are told apart by, of KEYS, the first first.
    words: How each of them is said.
    bounds: Between which the loss lies, and so its mean.
    comparable: Whether the loss and the loss in force have one unit.
    """

    by: Sequence[str]
    words: Words
    bounds: tuple[float, float]
    comparable: bool

    def figures(self, tally: Tally) -> list[Figure]:
        """A figure for each group of rows, in order."""
        columns = [tally.keys[:, KEYS.index(name)] for name in self.by]
        if not columns:
            return [self.whole(tally)]
        order = np.lexsort(columns[::-1])
        changes = np.any([np.diff(column[order]) != 0 for column in columns], axis=0)
        return [
            self._figure(tally, rows, [int(column[rows[0]]) for column in columns])
            for rows in np.split(order, np.flatnonzero(changes) + 1)
        ]

    def whole(self, tally: Tally) -> Figure:
        """One figure for all rows."""
        return self._figure(tally, np.arange(len(tally)), [])

    def _figure(self, tally: Tally, rows: Int64, key: Sequence[int]) -> Figure:
        count, labelled = int(tally.rows[rows].sum()), int(tally.labelled[rows].sum())
        asked, scored = int(tally.asked[rows].sum()), int(tally.counts[LOSS, rows].sum())
        interval, over = _interval(tally, LOSS, rows, self.bounds)
        in_force = delta = None
        if len(tally.counts) > 1:
            in_force = _mean(tally, IN_FORCE, rows)
            delta = _interval(tally, DELTA, rows)[0] if self.comparable else None
        said: dict[str, Any] = dict.fromkeys(KEYS)
        said |= {name: self.words[name](number) for name, number in zip(self.by, key, strict=False)}
        return Figure(
            **said,
            rows=count, labelled=labelled, missing=1.0 - labelled / count, unscored=asked - scored,
            mean=_mean(tally, LOSS, rows), interval=interval, in_force=in_force, delta=delta, over=over,
        )  # fmt: skip


def _mean(tally: Tally, measure: int, rows: Int64) -> float | None:
    count = int(tally.counts[measure, rows].sum())
    return math.fsum(tally.totals[measure, rows]) / count if count else None


def _interval(
    tally: Tally, measure: int, rows: Int64, bounds: tuple[float, float] = (-math.inf, math.inf)
) -> tuple[Interval | None, str]:
    """The mean with its interval, and what that takes for independent; None of nothing.

    Rows of a block depend on each other: what a day brings, it brings to all of them. So the interval is made
    of the blocks' sums, as in a sample of clusters; only below FEWEST blocks are rows taken for independent.
    """
    mean = _mean(tally, measure, rows)
    if mean is None:
        return None, "rows"
    moments, over = _of_blocks(tally, measure, rows, mean), "blocks"
    if moments.count < FEWEST:
        moments, over = _of_rows(tally, measure, rows, mean), "rows"
    found = asymptotic_interval(moments, tuned_for=float(moments.count))
    if found is None:
        return Interval(estimate=mean, low=bounds[0], high=bounds[1], approximate=True), over
    low, high = max(found.low, bounds[0]), min(found.high, bounds[1])
    return Interval(estimate=mean, low=min(low, mean), high=max(high, mean), approximate=True), over


def _of_blocks(tally: Tally, measure: int, rows: Int64, mean: float) -> Moments:
    """What a mean over rows deviates by from block to block (Cochran, Sampling Techniques, 1977, 9.2)."""
    rows = rows[tally.counts[measure, rows] > 0]
    blocks, place = np.unique(tally.keys[rows, KEYS.index("block")], return_inverse=True)
    counts = np.bincount(place, weights=tally.counts[measure, rows])
    totals = np.bincount(place, weights=tally.totals[measure, rows])
    away = (totals - mean * counts) / counts.mean()
    return Moments(count=len(blocks), mean=mean, deviations=float(np.square(away).sum()))


def _of_rows(tally: Tally, measure: int, rows: Int64, mean: float) -> Moments:
    counts = tally.counts[measure, rows]
    steps = tally.totals[measure, rows] / np.maximum(counts, 1) - mean
    deviations = tally.deviations[measure, rows] + counts * np.square(steps)
    return Moments(count=int(counts.sum()), mean=mean, deviations=float(deviations.sum()))
