"""What summaries of outcomes and predictions share: rows that are checked, counts that are packed."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lossloop.core.errors import InputError

Array = npt.NDArray[np.float64]

STORED = np.dtype("<f8")


def rows_of(values: npt.NDArray[np.float64], columns: int) -> Array:
    """Values as a table of so many columns; an empty array has no rows.

    Raises InputError where the shape is another, and for the first row that is not finite.
    """
    table = np.asarray(values, dtype=np.float64)
    if not table.size:
        return np.empty((0, columns))
    if table.ndim != 2 or table.shape[1] != columns:
        raise InputError(f"values have shape (n, {columns}), not {table.shape}", field="values")
    refuse(table, ~np.isfinite(table).all(axis=1), "every number must be finite")
    return table


def refuse(table: Array, bad: npt.NDArray[np.bool_] | np.bool_, words: str) -> None:
    """Raise InputError for the first bad row, if there is one. Shapes (n, c), (n,)."""
    if bad.any():
        row = int(bad.argmax())
        raise InputError(f"{table[row].tolist()} cannot be summarised: {words}", field="values", row=row)


def taken(count: int, other: int) -> int:
    """What is left of a count; InputError where more is taken away than was added."""
    if other > count:
        raise InputError(f"cannot take {other:,} values from {count:,}", field="count")
    return count - other


def ratio(part: float, whole: float) -> float | None:
    """A part of a whole; None where there is nothing to divide by."""
    return float(part / whole) if whole > 0 else None


def pack(values: npt.NDArray[np.float64]) -> bytes:
    """Floats as bytes, little-endian."""
    return np.ascontiguousarray(values, dtype=STORED).tobytes()


def unpack(raw: bytes) -> Array:
    """The floats of `pack`; read-only, in one dimension."""
    return np.frombuffer(raw, dtype=STORED)


def counted(codes: npt.NDArray[np.float64]) -> bytes:
    """How often each code stands there, as cells: the codes, ascending, then as many counts; packed."""
    return pack(np.concatenate(np.unique(codes, return_counts=True)))


def cells_of(raw: bytes) -> tuple[Array, Array]:
    """The codes and the counts of cells."""
    codes, counts = unpack(raw).reshape(2, -1)
    return codes, counts


def combined(mine: bytes, theirs: bytes, sign: int) -> bytes:
    """Cells added up, or with sign -1 taken away; what is 0 then is left out."""
    (codes, counts), (others, more) = cells_of(mine), cells_of(theirs)
    every, place = np.unique(np.concatenate((codes, others)), return_inverse=True)
    sums = np.bincount(place, weights=np.concatenate((counts, sign * more)), minlength=len(every))
    return pack(np.concatenate((every[sums > 0], sums[sums > 0])))
