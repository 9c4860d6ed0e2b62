"""The tests that a drift watch consists of: each statistic of each feature, upwards and downwards.

    up:    r = g / (high + tolerance)               down:  r = (1 - g) / (1 - (low - tolerance))

where g in [0, 1] is the statistic of a row. Of a block, it is how far its mean lies off, beyond the tolerance
and up to four standard deviations, so that few blocks say much: `r = clip((mean - centre - tolerance) /
scale, 0, 1) / up`. A block of fewer rows than the reference's varies more, and its scale is as much wider. A
side whose limit no mean can pass is not tested.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lossloop.core.errors import InputError
from lossloop.core.profile import FeatureProfile, Moment
from lossloop.judges.bins import statistics_of
from lossloop.judges.engine import KAPPAS, log_bets
from lossloop.judges.holding import log_mean
from lossloop.judges.profile import hinges

Array = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

LEAST_LIMIT = 1e-6
"""What a statistic of the reference that is never above 0 counts as, without a tolerance."""
_WORDS = {
    "level": ("mean rank rose", "mean rank fell"),
    "spread": ("spread widened", "spread narrowed"),
    "low": ("more low values", "fewer low values"),
    "high": ("more high values", "fewer high values"),
    "missing": ("more missing values", "fewer missing values"),
}


class Side(NamedTuple):
    """One test: the feature's and the statistic's place, the direction, and the limit of g."""

    feature: int
    statistic: int
    up: bool
    limit: float


@dataclass(frozen=True, eq=False)
class Shifts:
    """All tests on some features; counts have one column for each bin of each feature."""

    features: tuple[FeatureProfile, ...]
    sides: tuple[Side, ...]
    tables: tuple[Array, ...]
    """The statistics of each feature in its bins."""
    tolerance: float

    @cached_property
    def bins(self) -> Int64:
        """Where each feature's bins begin, and where the last ones end. Shape (features + 1,)."""
        return np.concatenate(([0], np.cumsum([feature.bins for feature in self.features])))

    @cached_property
    def parts(self) -> list[slice]:
        """The sides of each feature."""
        starts = np.searchsorted([side.feature for side in self.sides], range(len(self.features) + 1))
        return [slice(int(start), int(end)) for start, end in pairwise(starts)]

    def count(self, rows: npt.NDArray[np.uint8], step: int | None = None) -> Array:
        """How many rows of each step fall into each bin. Shapes (n, features) to (n / step, bins)."""
        total, steps = int(self.bins[-1]), len(rows) // (step or len(rows) or 1)
        which = np.repeat(np.arange(steps) * total, len(rows) // max(steps, 1))
        found = np.bincount((rows + self.bins[:-1] + which[:, None]).ravel(), minlength=steps * total)
        return found.reshape(steps, total).astype(np.float64)

    @cached_property
    def starts(self) -> Int64:
        """Where each feature's statistics begin, and where the last ones end. Shape (features + 1,)."""
        return np.concatenate(([0], np.cumsum([len(feature.moments) for feature in self.features])))

    def means(self, counts: Array, rows: int) -> Array:
        """The mean of each statistic over rows: counts, shape (bins,), to (statistics,)."""
        cut = [counts[start:end] for start, end in pairwise(self.bins)]
        return np.concatenate([mine @ table for mine, table in zip(cut, self.tables, strict=True)]) / rows

    def statistics(self, rows: npt.NDArray[np.integer]) -> Array:
        """The statistics of each row, from its bins: shapes (n, features) to (n, statistics)."""
        return np.concatenate([table[rows[:, place]] for place, table in enumerate(self.tables)], axis=1)

    @cached_property
    def row_bets(self) -> list[Array]:
        """The log bets of each feature's sides in each of its bins. Shape (bins, sides * gamblers) each."""
        return [
            log_bets(
                np.column_stack([_row_ratio(self.tables[place], side) for side in self.sides[part]])
            ).reshape(len(self.tables[place]), -1)
            for place, part in enumerate(self.parts)
        ]

    def sums(self, counts: Array) -> Array:
        """The sums of the log bets over rows: counts, shape (bins,), to (sides, gamblers)."""
        each = [
            counts[start:end] @ bets
            for (start, end), bets in zip(pairwise(self.bins), self.row_bets, strict=True)
        ]
        return np.concatenate(each).reshape(len(self.sides), len(KAPPAS))

    @cached_property
    def _columns(self) -> Int64:
        """Which statistic each side tests."""
        return np.array([self.starts[side.feature] + side.statistic for side in self.sides])

    def block_ratios(self, means: Array, wider: Array) -> Array:
        """The ratio of each side: block means of shape (blocks, statistics) to (blocks, sides).

        `wider`, shape (blocks,), says how many times more than in the reference each block's means vary.
        """
        found = np.empty((len(means), len(self.sides)))
        for place, (side, column) in enumerate(zip(self.sides, self._columns, strict=True)):
            block = self.features[side.feature].moments[side.statistic].block
            if block is not None:
                up, down = hinges(means[:, column], block.centre, block.scale * wider, self.tolerance)
                found[:, place] = (up if side.up else down) / side.limit
        return found

    @cached_property
    def weights(self) -> Array:
        """What each side counts: features count alike, and so do a feature's sides. Shape (sides,), sum 1."""
        sizes = [part.stop - part.start for part in self.parts]
        return np.concatenate([np.full(size, 1.0 / (size * len(sizes))) for size in sizes])

    def together(self, logs: Array) -> Array:
        """The log evidence of all: shapes (..., sides, gamblers) to (...)."""
        each = log_mean(logs)
        top = each.max(axis=-1)
        found: Array = top + np.log(np.exp(each - top[..., None]) @ self.weights)
        return found

    def by_feature(self, logs: Array) -> Array:
        """The log evidence of each feature: shapes (..., sides, gamblers) to (..., features)."""
        each, firsts = log_mean(logs), [part.start for part in self.parts]
        sizes = np.array([part.stop - part.start for part in self.parts])
        top = np.maximum.reduceat(each, firsts, axis=-1)
        wealth = np.add.reduceat(np.exp(each - np.repeat(top, sizes, axis=-1)), firsts, axis=-1)
        found: Array = top + np.log(wealth / sizes)
        return found

    def strongest(self, logs: Array, feature: int) -> Side:
        """The side of a feature that carries most of its evidence; logs of shape (sides, gamblers)."""
        part = self.parts[feature]
        found: Side = self.sides[part.start + int(log_mean(logs[part]).argmax())]
        return found

    def words(self, side: Side, means: Array) -> str:
        """What moved, and from where to where, such as ``age: mean rank rose (0.5 -> 0.62)``."""
        mean = float(means[self.starts[side.feature] + side.statistic])
        feature = self.features[side.feature]
        moment = feature.moments[side.statistic]
        up, down = _WORDS.get(moment.name, (f"{moment.name} rose", f"{moment.name} fell"))
        return f"{feature.name}: {up if side.up else down} ({moment.mean:.3g} -> {mean:.3g})"


def row_shifts(features: Sequence[FeatureProfile], tolerance: float) -> Shifts:
    """The tests on rows."""

    def limits(moment: Moment) -> tuple[float, float]:
        return moment.high + tolerance, 1.0 - moment.low + tolerance

    return _shifts(features, limits, tolerance)


def block_shifts(features: Sequence[FeatureProfile], tolerance: float) -> Shifts:
    """The tests on block means.

    Raises:
        InputError: The reference has too few blocks.
    """

    def limits(moment: Moment) -> tuple[float, float]:
        if moment.block is None:
            raise InputError(
                "the reference profile has too few blocks to judge by block: make it of 4 blocks or more, "
                "better 30",
                field="profile",
            )
        return moment.block.up, moment.block.down

    return _shifts(features, limits, tolerance)


def _shifts(
    features: Sequence[FeatureProfile], limits: Callable[[Moment], tuple[float, float]], tolerance: float
) -> Shifts:
    sides: list[Side] = []
    for place, feature in enumerate(features):
        found = [
            Side(place, statistic, up, max(limit, LEAST_LIMIT))
            for statistic, moment in enumerate(feature.moments)
            for up, limit in zip((True, False), limits(moment), strict=True)
            if limit < 1.0
        ]
        if not found:
            raise InputError(
                f"the reference is too small for the tolerance: no change of {feature.name!r} could be "
                "shown; take more reference rows (or blocks), or a smaller tolerance",
                field="tolerance",
            )
        sides += found
    tables = tuple(_table(feature) for feature in features)
    return Shifts(tuple(features), tuple(sides), tables, tolerance)


def _table(feature: FeatureProfile) -> Array:
    names, table = statistics_of(feature, feature.shares)
    if names != [moment.name for moment in feature.moments]:
        raise InputError(
            f"the profile of {feature.name!r} has other statistics than this release; make it anew",
            field="profile",
        )
    return table


def _row_ratio(table: Array, side: Side) -> Array:
    values = table[:, side.statistic]
    return np.asarray((values if side.up else 1.0 - values) / side.limit)
