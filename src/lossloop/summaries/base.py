"""The contract of a summary: what it is of can come in any order and in any pieces.

- `merge` is associative and commutative (exactly in counts, to rounding in sums), and `add` is merging.
- `minus` takes away what was added: a corrected loss is `minus` the old one and `add` the new one.
- Values that cannot be summarised (NaN, infinite, outside the scale) raise InputError that names the row.
- It is a Record: JSON keeps it bit for bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt


class Summary(Protocol):
    """Anything that keeps the laws above; `checks.py` holds them as code."""

    @property
    def count(self) -> int:
        """How many values it is of."""
        ...

    def add(self, values: npt.NDArray[np.float64]) -> Self:
        """With `values`, shape (n,), or (n, c) where each is c numbers, such as outcome and prediction."""
        ...

    def merge(self, other: Self) -> Self:
        """Both together; InputError where they cannot be merged."""
        ...

    def minus(self, other: Self) -> Self:
        """Without what `other` is of, which must have been added before."""
        ...


class Metrics(Summary, Protocol):
    """A summary of outcomes and predictions, from which metrics of all of them follow."""

    def metrics(self) -> Mapping[str, float | None]:
        """Each metric by its name, always the same names; None where it has no meaning, such as 0 / 0."""
        ...
