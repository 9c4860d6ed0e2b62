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


def _is_of_actions(value: Any) -> bool:
    """Two rows, as long as each other, of 2 finite costs or more of at least 0, and not all of them 0."""
    if len(value) != 2 or not all(isinstance(row, tuple) and len(row) == len(value[0]) for row in value):
        return False
    costs = [cost for row in value for cost in row]
    return (
        len(costs) >= 4
        and all(isinstance(cost, float) and 0 <= cost < math.inf for cost in costs)
        and any(costs)
    )


def _is_levels(value: Any) -> bool:
    inside = all(isinstance(level, float) and 0 < level < 1 for level in value)
    return len(value) > 0 and inside and list(value) == sorted(set(value))


def _is_times(value: Any) -> bool:
    finite = all(isinstance(time, float) and 0 < time < math.inf for time in value)
    return len(value) > 0 and finite and list(value) == sorted(set(value))


def _is_curve(value: Any) -> bool:
    """Pairs (time, share): times above 0 that rise, shares above 0 that fall from at most 1; or none."""
    if not all(isinstance(step, tuple) and len(step) == 2 for step in value):
        return False
    times, shares = [step[0] for step in value], [step[1] for step in value]
    numbers = all(isinstance(share, float) and 0 < share <= 1 for share in shares)
    return not value or (_is_times(times) and numbers and shares == sorted(shares, reverse=True))


POSITIVE = Requirement(words="a finite number above 0", test=lambda value: 0 < value < math.inf)
FRACTION = Requirement(words="between 0 and 1", test=lambda value: 0 < value < 1)
FRACTIONS = Requirement(words="rising numbers between 0 and 1, such as (0.1, 0.5, 0.9)", test=_is_levels)
MATRIX = Requirement(
    words="a square matrix of costs of at least 0, such as ((0, 1), (5, 0))", test=_is_matrix
)
ACTIONS = Requirement(
    words="the costs of each action where 0 and where 1 happened, of at least 0, such as "
    "((0, 3, 1), (40, 3, 0))",
    test=_is_of_actions,
)
NUMBER = Requirement(words="a number", test=lambda value: not math.isnan(value))
TIMES = Requirement(words="rising times above 0, such as (30, 90, 365)", test=_is_times)
CURVE = Requirement(
    words="pairs (time, share) with times above 0 that rise and shares above 0 that do not, such as "
    "((30, 0.98), (90, 0.9))",
    test=_is_curve,
)
