"""Which features moved between two periods: distances of histograms, against what blocks vary by.

The distance is total variation, half the sum of differences of shares: the share of rows that would have to
change their bin. Under "nothing moved" blocks could belong to either period, so they are dealt anew many
times (a permutation test over blocks, which keeps what a block's rows share). Neighbouring blocks that
resemble each other make it approximate: it is for reading, and decides nothing.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from lossloop.core.records import Record

Array = npt.NDArray[np.float64]

DEALS = 999
ERROR = 0.05
"""The chance that any feature is said to have moved where none did."""


class Move(Record, frozen=True):
    """How far a feature moved."""

    feature: str
    distance: float
    """Between 0 and 1: the share of rows in another bin."""
    p_value: float
    moved: bool
    """Whether that is more than blocks vary by, with all features asked at once (Holm)."""


def moves(before: Mapping[str, Array], after: Mapping[str, Array], *, seed: int = 0) -> list[Move]:
    """How far each feature moved, the furthest first.

    Args:
        before: Of each feature the counts of its bins by block, shape (b, k).
        after: The same of the second period, shape (c, k).
        seed: Of the dealing.
    """
    found = [(name, *_move(counts, after[name], seed)) for name, counts in before.items()]
    shown = _holm({name: p_value for name, _, p_value in found})
    told = [
        Move(feature=name, distance=distance, p_value=p_value, moved=name in shown)
        for name, distance, p_value in found
    ]
    return sorted(told, key=lambda move: (not move.moved, -move.distance, move.feature))


def _move(before: Array, after: Array, seed: int) -> tuple[float, float]:
    counts = np.concatenate((before, after))
    mine = np.zeros((DEALS + 1, len(counts)))
    mine[0, : len(before)] = 1.0
    random = np.random.default_rng(seed)
    for deal in mine[1:]:
        deal[random.permutation(len(counts))[: len(before)]] = 1.0
    distances = _distance(mine @ counts, (1.0 - mine) @ counts)
    at_least = int(np.count_nonzero(distances[1:] >= distances[0] - 1e-12))
    return float(distances[0]), (1 + at_least) / (1 + DEALS)


def _distance(one: Array, other: Array) -> Array:
    shares = (each / np.maximum(each.sum(axis=1, keepdims=True), 1e-300) for each in (one, other))
    left, right = shares
    found: Array = 0.5 * np.abs(left - right).sum(axis=1)
    return found


def _holm(p_values: Mapping[str, float]) -> set[str]:
    """Names that are significant together (Holm 1979)."""
    found: set[str] = set()
    for rank, name in enumerate(sorted(p_values, key=p_values.__getitem__)):
        if p_values[name] > ERROR / (len(p_values) - rank):
            break
        found.add(name)
    return found
