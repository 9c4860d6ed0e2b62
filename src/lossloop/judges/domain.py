"""A domain classifier that is bet on: can recent rows be told from the reference's (statistics.md, 2d)?

Fitted on what came before, it scores the rows that come next; each score is ranked among the scores of
reference rows that it was not fitted on. If nothing has changed a rank is .5 on average, and betting on more
is fair: the mean rank is the classifier's AUC on rows that it has not seen.

The classifier compares how often the values of two features go together: for the pairs of features whose
joint counts differ most, it adds the logarithms of the counts' ratios. So it sees changes of single features
and of pairs, and it is blind to what only shows in three features at once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import combinations
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lossloop.core.errors import InputError
from lossloop.core.profile import FeatureProfile, Profile
from lossloop.judges.bins import ranks_of

Array = npt.NDArray[np.float64]
Bins = npt.NDArray[np.uint8]
Int64 = npt.NDArray[np.int64]

WINDOW = 250
"""Rows after which the classifier is fitted anew."""
RECENT = 1_000
"""Recent rows that it is fitted on."""
MOST_FEATURES = 64
LEVELS = 7
"""Into how many levels a feature's bins are put together; the last one is for missing values."""
_PAIRS = 6
"""How many pairs of features are scored."""
_CLEAR = 3.0
"""How clearly a pair's counts must differ to be among them, in standard deviations."""
_PRIOR = 0.5


class Scorer(NamedTuple):
    """The pairs of features that count, shape (p, 2), and their levels' scores, shape (p, LEVELS ** 2)."""

    pairs: Int64
    scores: Array

    def score(self, levels: Int64) -> Array:
        """How much more a row looks like the recent rows than like the reference. Shapes (n, f) to (n,)."""
        cells = levels[:, self.pairs[:, 0]] * LEVELS + levels[:, self.pairs[:, 1]]
        found: Array = np.take_along_axis(self.scores, cells.T, axis=1).sum(axis=0)
        return found


@dataclass(frozen=True, eq=False)
class Domain:
    """The reference: levels of rows to learn from, and of others to rank among, shape (n, features)."""

    tables: tuple[Int64, ...]
    """The level of each bin of each feature."""
    train: Int64
    held_out: Int64

    @classmethod
    def of(cls, profile: Profile, features: Sequence[FeatureProfile]) -> Domain:
        """The reference rows of a profile, in some of its features.

        Raises:
            InputError: The profile holds no rows, or there are fewer than two features, or too many.
        """
        if not profile.train or not profile.held_out:
            raise InputError(
                "the reference profile holds no rows for joint drift; make it anew with joint=True",
                field="joint",
            )
        if not 2 <= len(features) <= MOST_FEATURES:
            raise InputError(
                f"joint drift takes 2 to {MOST_FEATURES} features, not {len(features)}; name those that go "
                "together in 'features'",
                field="joint",
            )
        names = [feature.name for feature in profile.features]
        places = [names.index(feature.name) for feature in features]
        tables = tuple(levels_of(feature) for feature in features)
        rows = [
            np.frombuffer(raw, dtype=np.uint8).reshape(-1, len(names))[:, places]
            for raw in (profile.train, profile.held_out)
        ]
        for feature, table, place in zip(features, tables, range(len(places)), strict=True):
            if any(half[:, place].max(initial=0) >= len(table) for half in rows):
                raise InputError(f"a row of the profile has no such bin of {feature.name!r}", field="profile")
        return cls(tables, _levels(tables, rows[0]), _levels(tables, rows[1]))

    @cached_property
    def counted(self) -> Array:
        """The pair counts of the rows to learn from."""
        return pair_counts(self.train)

    def ranks(self, recent: Bins, rows: Bins) -> Array:
        """The rank of each row's score among the reference's, in [0, 1]; ties in the middle. Shape (n,)."""
        scorer, ordered = _fitted(self, recent.tobytes())
        scores = scorer.score(_levels(self.tables, rows))
        below, until = (np.searchsorted(ordered, scores, side=side) for side in ("left", "right"))
        return np.asarray((below + until) / (2.0 * len(ordered)))

    def margin(self, fits: int, error: float) -> float:
        """How far above .5 the AUC may lie by the luck of the held-out rows, at fit number `fits` from 1.

        Against rows like the reference's it is a mean of `n` independent values that are at most as spread as
        uniform ones, so it exceeds .5 + e with a chance of at most exp(-6 n e^2); the chances of all fits
        together are at most `error`.
        """
        spent = 6.0 * error / (math.pi * fits) ** 2
        return math.sqrt(math.log(1.0 / spent) / (6.0 * len(self.held_out)))


def levels_of(feature: FeatureProfile) -> Int64:
    """The level of each bin: sixths of the ranks, or five categories and the others. Shape (bins,)."""
    if feature.categories is None:
        levels = np.minimum((ranks_of(feature.shares) * (LEVELS - 1)).astype(np.int64), LEVELS - 2)
    else:
        levels = np.minimum(np.arange(feature.bins), LEVELS - 2)
    levels[-1] = LEVELS - 1
    return levels


def fit(theirs: Array, ours: Array, features: int) -> Scorer:
    """Learn to tell recent rows from the reference's, by the pairs whose counts differ most.

    Args:
        theirs: The `pair_counts` of the reference's rows.
        ours: Those of the recent rows.
        features: How many features there are.
    """
    old, new = theirs[0].sum(), ours[0].sum()
    both = ours + theirs
    with np.errstate(invalid="ignore", divide="ignore"):
        square = np.square(ours * math.sqrt(old / new) - theirs * math.sqrt(new / old)) / both
    distance = np.nan_to_num(square).sum(axis=1)
    freedom = np.maximum(np.count_nonzero(both, axis=1) - 1, 1)
    clear = (distance - freedom) / np.sqrt(2.0 * freedom)
    order = np.argsort(-clear, kind="stable")[:_PAIRS]
    taken = order[: max(1, int(np.count_nonzero(clear[order] >= _CLEAR)))]
    cells = _PRIOR * LEVELS**2
    scores = np.log((ours[taken] + _PRIOR) / (new + cells)) - np.log((theirs[taken] + _PRIOR) / (old + cells))
    return Scorer(_pairs(features)[taken], scores)


def pair_counts(levels: Int64) -> Array:
    """How many rows have each pair of levels, for each pair of features. Shape (pairs, LEVELS ** 2)."""
    pairs, cells = _pairs(levels.shape[1]), LEVELS**2
    found = levels[:, pairs[:, 0]] * LEVELS + levels[:, pairs[:, 1]] + np.arange(len(pairs)) * cells
    counts = np.bincount(found.ravel(), minlength=len(pairs) * cells)
    return counts.reshape(len(pairs), cells).astype(np.float64)


@lru_cache(maxsize=8)
def _fitted(domain: Domain, recent: bytes) -> tuple[Scorer, Array]:
    """The classifier of these recent rows, and the reference's scores in order."""
    rows = np.frombuffer(recent, dtype=np.uint8).reshape(-1, len(domain.tables))
    scorer = fit(domain.counted, pair_counts(_levels(domain.tables, rows)), len(domain.tables))
    return scorer, np.sort(scorer.score(domain.held_out))


@lru_cache(maxsize=8)
def _pairs(features: int) -> Int64:
    return np.array(list(combinations(range(features), 2)), dtype=np.int64)


def _levels(tables: Sequence[Int64], rows: Bins) -> Int64:
    return np.column_stack([table[rows[:, place]] for place, table in enumerate(tables)])
