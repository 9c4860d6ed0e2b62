"""What is kept of rows: counts, sums and spreads by version, role, block and slice. Mergeable, and small."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from lossloop.ledger.joined.columns import Array, Floats, Int64

KEYS = ("version", "role", "block", "slice")
_NARROW = 4096


@dataclass(frozen=True, kw_only=True, slots=True)
class Tally:
    """Groups of rows by what they have in common, ascending. Arrays of g groups, or (m, g) for m measures.

    A measure is the loss, the loss in force, or the difference of both.
    """

    keys: Int64
    """Shape (g, 4): version, role (its place in ROLES), block and slice (0 where there are none)."""
    rows: Int64
    labelled: Int64
    asked: Int64
    """Rows that should have a loss: those with an outcome, or all where the loss needs none."""
    counts: Int64
    """Shape (m, g): rows that have one."""
    totals: Floats
    deviations: Floats
    """Shape (m, g): squared deviations from the group's mean, summed."""
    problem: str = ""
    """Why the first row that has no loss, and should have one, has none."""

    def __len__(self) -> int:
        return len(self.rows)


class Groups:
    """Rows by what they have in common: which group each belongs to.

    Args:
        columns: Integers, shape (n,) each, n > 0.
    """

    def __init__(self, columns: Sequence[Array]) -> None:
        codes: Int64 | None = None
        names: list[Array] = []
        for column in columns:
            code, values = _coded(column)
            names.append(values)
            if code is not None:
                codes = code if codes is None else codes * len(values) + code
        self._names = names
        self._sizes = [len(values) for values in names]
        rows, self._size = len(columns[0]), int(np.prod(self._sizes))
        self._used: Int64 | None = None
        if codes is None:
            codes = np.zeros(rows, np.int64)
        elif self._size > rows + _NARROW:
            self._used, codes = np.unique(codes, return_inverse=True)
            self._size = len(self._used)
        self.codes = codes
        """Each row's group; some groups may have no rows."""

    @property
    def keys(self) -> Int64:
        """What the rows of each group have in common. Shape (g, columns)."""
        used = np.arange(self._size) if self._used is None else self._used
        places = np.unravel_index(used, self._sizes)
        return np.column_stack([values[place] for values, place in zip(self._names, places, strict=True)])

    def count(self, codes: Int64) -> Int64:
        """Rows of each group. Shape (g,)."""
        return np.bincount(codes, minlength=self._size)

    def moments(self, codes: Int64, values: Floats, counts: Int64) -> tuple[Int64, Floats, Floats]:
        """Count, sum and squared deviations by group, of the values that are not NaN. Shapes (g,).

        `counts` is `count(codes)`, which several measures have in common.
        """
        missing = np.isnan(values)
        if missing.any():
            codes, values = codes[~missing], values[~missing]
            counts = self.count(codes)
        if not len(values):
            nothing = np.zeros(self._size)
            return counts, nothing, nothing
        totals = _sums(codes, values, self._size)
        centre = float(values.mean())  # of all groups: near enough to each that little is cancelled
        away = values - centre
        squares = _sums(codes, away * away, self._size)
        steps = totals / np.maximum(counts, 1) - centre
        return counts, totals, np.maximum(squares - counts * np.square(steps), 0.0)


def merged(tallies: Sequence[Tally]) -> Tally:
    """All of them together; the same tallies in the same order give the same figures, bit for bit.

    Raises ValueError where there are none.
    """
    keys = np.concatenate([tally.keys for tally in tallies])
    order = np.lexsort(keys.T[::-1])
    starts = np.ones(len(keys), dtype=bool)
    starts[1:] = (np.diff(keys[order], axis=0) != 0).any(axis=1)
    group = np.empty(len(keys), np.int64)
    group[order] = np.cumsum(starts) - 1
    size = int(starts.sum())
    whole = {
        name: _added(group, np.concatenate([getattr(tally, name) for tally in tallies]), size)
        for name in ("rows", "labelled", "asked")
    }
    parts = [
        np.concatenate([getattr(tally, name) for tally in tallies], axis=1)
        for name in ("counts", "totals", "deviations")
    ]
    measures = [_merged_moments(group, size, *(part[m] for part in parts)) for m in range(len(parts[0]))]
    counts, totals, deviations = (np.array(each) for each in zip(*measures, strict=True))
    return Tally(
        keys=keys[order][starts], **whole, counts=counts, totals=totals, deviations=deviations,
        problem=next((tally.problem for tally in tallies if tally.problem), ""),
    )  # fmt: skip


def _merged_moments(
    group: Int64, size: int, counts: Int64, totals: Floats, deviations: Floats
) -> tuple[Int64, Floats, Floats]:
    """Moments of groups of groups; no difference of large numbers is taken."""
    count, total = _added(group, counts, size), _sums(group, totals, size)
    means = total / np.maximum(count, 1)
    steps = totals / np.maximum(counts, 1) - means[group]
    return count, total, _sums(group, deviations + counts * np.square(steps), size)


def _sums(group: Int64, values: Floats, size: int) -> Floats:
    """Sums by group, in the order of the values. Shape (size,)."""
    return np.asarray(np.bincount(group, weights=values, minlength=size), dtype=np.float64)


def _added(group: Int64, values: Int64, size: int) -> Int64:
    found = np.zeros(size, np.int64)
    np.add.at(found, group, values)
    return found


def _coded(column: npt.NDArray[Any]) -> tuple[Int64 | None, Array]:
    """A column as places in its values; no places where there is but one value."""
    starts = np.flatnonzero(column[1:] != column[:-1]) + 1
    if not len(starts):
        return None, column[:1]
    if len(starts) * 64 < len(column):  # such as blocks, which follow each other
        lengths = np.diff(starts, prepend=0, append=len(column))
        return np.repeat(np.arange(len(lengths)), lengths), column[np.concatenate(([0], starts))]
    low, high = int(column.min()), int(column.max())
    if high - low < _NARROW:
        return column.astype(np.int64) - low, np.arange(low, high + 1)
    values, codes = np.unique(column, return_inverse=True)
    return codes, values
