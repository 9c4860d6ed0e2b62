"""What parameters of the library's losses must be."""

from __future__ import annotations

import math
from typing import Any

from lossloop.losses.definition import Requirement


def _is_matrix(value: Any) -> bool:
    """Square, at least 2 by 2, of finite costs of at least 0, and not all of them 0."""
    if len(value) < 2 or not all(isinstance(row, tuple) and len(row) == len(value) for row in value):
        return False
    costs = [cost for row in value for cost in row]
    return all(isinstance(cost, float) and 0 <= cost < math.inf for cost in costs) and any(costs)


def _is_levels(value: Any) -> bool:
    inside = all(isinstance(level, float) and 0 < level < 1 for level in value)
    return len(value) > 0 and inside and list(value) == sorted(set(value))


POSITIVE = Requirement(words="a finite number above 0", test=lambda value: 0 < value < math.inf)
FRACTION = Requirement(words="between 0 and 1", test=lambda value: 0 < value < 1)
FRACTIONS = Requirement(words="rising numbers between 0 and 1, such as (0.1, 0.5, 0.9)", test=_is_levels)
MATRIX = Requirement(
    words="a square matrix of costs of at least 0, such as ((0, 1), (5, 0))", test=_is_matrix
)
NUMBER = Requirement(words="a number", test=lambda value: not math.isnan(value))
