"""Decision thresholds: from a version's score to what is done about it."""

from __future__ import annotations

import math
from bisect import bisect_right
from itertools import pairwise
from typing import Any

import numpy as np

from lossloop.core.errors import InputError
from lossloop.core.records import Record

NEVER = 2.0
"""A cut-off that no probability reaches."""
MOST_ACTIONS = 20
LONGEST_ACTION = 100
"""Characters of an action's name, which stands in each answer."""

Floats = np.ndarray[Any, np.dtype[np.float64]]


class Thresholds(Record, frozen=True):
    """Actions from the lowest scores to the highest, and the cut-offs between them.

    An action is taken from its own cut-off on, up to and without the next; the first from 0 on. Where two
    cut-offs are equal, the action between them is never taken.

    Raises:
        InputError: Names are missing, stand twice or cannot be shown, cut-offs fall, or there is not one less
            than actions.
    """

    actions: tuple[str, ...]
    """Such as ``pass``, ``review``, ``block``."""
    least: tuple[float, ...]
    """The least score of each action but the first; above 1 for what is never done."""

    def __post_init__(self) -> None:
        if not 2 <= len(self.actions) <= MOST_ACTIONS or len(self.least) != len(self.actions) - 1:
            raise InputError(
                f"thresholds need 2 to {MOST_ACTIONS} actions and one cut-off less, not {len(self.actions)} "
                f"actions and {len(self.least)} cut-offs",
                field="thresholds.least",
            )
        if not all(map(str.strip, self.actions)) or len(set(self.actions)) < len(self.actions):
            raise InputError("each action needs a name of its own", field="thresholds.actions")
        if not all(name.isprintable() and len(name) <= LONGEST_ACTION for name in self.actions):
            raise InputError(
                f"an action's name has at most {LONGEST_ACTION} characters, and all of them can be seen",
                field="thresholds.actions",
            )
        if not all(map(math.isfinite, self.least)) or any(low > high for low, high in pairwise(self.least)):
            raise InputError(
                f"cut-offs are finite and do not fall, unlike {list(self.least)}", field="thresholds.least"
            )

    @property
    def words(self) -> str:
        """In words, such as ``pass, review from 0.11, block from 0.62``."""
        parts = [
            f"{name} from {least:.4g}" if least <= 1.0 else f"{name} never"
            for name, least in zip(self.actions[1:], self.least, strict=True)
        ]
        return ", ".join([self.actions[0], *parts])

    def action(self, score: float) -> str:
        """What is done at a score."""
        return self.actions[bisect_right(self.least, score)]

    def places(self, scores: Floats) -> Floats:
        """The place in `actions` of what is done at each score, NaN where there is no score. Shape (n,)."""
        found = np.searchsorted(np.asarray(self.least), scores, side="right").astype(np.float64)
        return np.where(np.isnan(scores), np.nan, found)
