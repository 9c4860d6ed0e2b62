"""How a loss is estimated from a prediction alone: small maps that a version's reference holds."""

from __future__ import annotations

import math

from lossloop.core.errors import InputError
from lossloop.core.records import Record

CALIBRATED, DIRECT = "calibrated", "direct"


class Estimate(Record, frozen=True):
    """How a loss is estimated before its label comes: maps of what was predicted, linear between knots.

    Raises:
        InputError: A map has no knots or not as many values, knots out of order, a number not finite.
    """

    by: str
    """``calibrated``: to the probability of each class (of 1, where there are two), from which the loss is
    expected. ``direct``: from a predicted number to the loss."""
    knots: tuple[tuple[float, ...], ...]
    """Predictions, ascending, of each map."""
    values: tuple[tuple[float, ...], ...]
    """What they are mapped to, in the same shape."""
    most: float
    """The largest estimate: it is cut there. In the loss's unit."""

    def __post_init__(self) -> None:
        if self.by not in (CALIBRATED, DIRECT):
            raise InputError(f"by is {CALIBRATED} or {DIRECT}, not {self.by!r}", field="estimate.by")
        if not self.knots or [*map(len, self.knots)] != [*map(len, self.values)]:
            raise InputError("needs as many values as knots, in one map or more", field="estimate.values")
        for knots, values in zip(self.knots, self.values, strict=True):
            if not knots or not all(map(math.isfinite, (*knots, *values, self.most))):
                raise InputError("knots and values are finite numbers, one or more", field="estimate.knots")
            if list(knots) != sorted(set(knots)):
                raise InputError("knots must ascend", field="estimate.knots")
