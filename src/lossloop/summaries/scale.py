"""Where a sketch has its knots, in the loss's unit."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from lossloop.core.errors import InputError
from lossloop.core.records import Record

Array = npt.NDArray[np.float64]

KNOTS = 64


class Scale(Record, frozen=True):
    """The 64 knots of a sketch, from `floor` up.

    With a `bound`, knots are even from floor to bound. Without one they follow `unit`, a limit say: 16 even
    from floor to floor + unit, then 48 geometric to floor + 100 unit; values beyond weigh as the last knot.
    """

    unit: float = 1.0
    floor: float = 0.0
    bound: float | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.floor) and math.isfinite(self.unit) and self.unit > 0.0):
            raise InputError(
                f"a scale needs a finite floor and a unit above 0, not {self.floor}, {self.unit}"
            )
        if self.bound is not None and not (math.isfinite(self.bound) and self.bound > self.floor):
            raise InputError(f"a scale's bound {self.bound} must be above its floor {self.floor}")

    @property
    def knots(self) -> Array:
        """Ascending, shape (64,); read-only."""
        return _knots(self.unit, self.floor, self.bound)


@lru_cache(maxsize=1024)
def _knots(unit: float, floor: float, bound: float | None) -> Array:
    if bound is not None:
        knots = np.linspace(floor, bound, KNOTS)
    else:
        even, growing = np.linspace(0.0, 1.0, 16), np.geomspace(1.0, 100.0, KNOTS - 15)[1:]
        knots = floor + unit * np.concatenate((even, growing))
    knots.flags.writeable = False
    return knots
