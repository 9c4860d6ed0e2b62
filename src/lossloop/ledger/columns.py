"""A part of a table: up to a million consecutive predictions as NumPy columns in memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Floats = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Array = npt.NDArray[Any]

NEVER = np.iinfo(np.int64).max
"""When an outcome came that has not come."""
PART_ROWS = 1 << 20

_LEAST = 256
ROW: Mapping[str, tuple[type[Any], Any]] = {
    "key_high": (np.uint64, 0),
    "key_low": (np.uint64, 0),
    "version": (np.int32, 0),
    "role": (np.int8, 0),
    "propensity": (np.float64, 1.0),
    "at": (np.int64, 0),
    "time": (np.int64, 0),
    "block": (np.int64, 0),
    "unit": (np.int64, 0),
    "y_pred": (np.float64, np.nan),
    "shadow_version": (np.int32, 0),
    "shadow_y_pred": (np.float64, np.nan),
    "content": (np.int64, 0),
}
"""What a prediction is made of, and what each column holds where nothing was said."""
LABEL: Mapping[str, tuple[type[Any], Any]] = {
    "y_true": (np.float64, np.nan),
    "judged": (np.float64, np.nan),
    "labelled_at": (np.int64, NEVER),
}
"""What becomes of a prediction: its outcome now, as it was at the judging age, and when the first came."""
_WIDE = frozenset({"y_pred", "shadow_y_pred", "y_true", "judged"})
_RARE = frozenset({"propensity", "role", "unit", "shadow_version", "shadow_y_pred"})
"""Columns that take no memory until a row says something."""


class Part:
    """Rows `first` to `end` of a table; grows at its end until it is full."""

    def __init__(self, first: int) -> None:
        self.first = first
        self.count = 0
        self._size = _LEAST
        self._columns: dict[str, Array] = {}
        for name, (dtype, empty) in {**ROW, **LABEL}.items():
            if name not in _RARE:
                self._columns[name] = np.full(self._size, empty, dtype)

    @property
    def end(self) -> int:
        return self.first + self.count

    @property
    def room(self) -> int:
        """How many rows it still takes."""
        return PART_ROWS - self.count

    def column(self, name: str) -> Array:
        """A column's rows so far: do not keep it over an append. Shape (count,) or (count, width)."""
        found = self._columns.get(name)
        if found is None:
            dtype, empty = ROW[name]
            return np.broadcast_to(np.array(empty, dtype), (self.count,))
        return found[: self.count]

    def append(self, rows: Mapping[str, Array], start: int, end: int) -> None:
        """Add rows `start` to `end` of the columns given; the rest has no outcome yet."""
        count = end - start
        self._reserve(self.count + count)
        for name, values in rows.items():
            self._write(name, np.s_[self.count : self.count + count], values[start:end])
        self.count += count

    def put(self, name: str, places: Int64, values: Array) -> None:
        """Set values of a column at places counted from the part's first row."""
        self._write(name, places, values)

    def arrays(self, start: int, end: int) -> dict[str, Array]:
        """Every column of a row's own, from row `start` to `end` of the table, as it is stored."""
        cut = np.s_[start - self.first : end - self.first]
        return {name: self.column(name)[cut] for name in ROW if name in self._columns}

    def _write(self, name: str, places: Any, values: Array) -> None:
        column = self._columns.get(name)
        dtype, empty = ROW.get(name) or LABEL[name]
        if column is None:
            if _says_nothing(values, empty):
                return
            column = self._columns[name] = np.full(self._size, empty, dtype)
        if name in _WIDE and values.shape[1:] != column.shape[1:]:
            column = self._columns[name] = widened(column, max(_width(column), _width(values)))
            values = widened(values, _width(column))
        column[places] = values

    def _reserve(self, count: int) -> None:
        if count <= self._size:
            return
        size = min(PART_ROWS, 1 << (count - 1).bit_length())
        for name, column in self._columns.items():
            dtype, empty = ROW.get(name) or LABEL[name]
            grown = np.full((size, *column.shape[1:]), empty, dtype)
            grown[: self._size] = column
            self._columns[name] = grown
        self._size = size


def _says_nothing(values: Array, empty: Any) -> bool:
    return bool((np.isnan(values) if np.isnan(empty) else values == empty).all())


def _width(values: Array) -> int:
    return values.shape[1] if values.ndim == 2 else 1


def widened(values: Array, width: int) -> Array:
    """Numbers or lists of them as lists of `width`, NaN where there are none. Shape (n, width)."""
    rows = values[:, None] if values.ndim == 1 else values
    if rows.shape[1] == width and values.ndim == 2:
        return values
    found = np.full((len(rows), width), np.nan)
    found[:, : rows.shape[1]] = rows
    return found


def numbers(values: pa.Array) -> Floats:
    """A column of numbers as (n,), of lists as (n, longest): NaN where there is none."""
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks()
    if not pa.types.is_list(values.type) and not pa.types.is_fixed_size_list(values.type):
        return np.asarray(values.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)
    if pa.types.is_fixed_size_list(values.type):
        flat = values.flatten().cast(pa.float64()).to_numpy(zero_copy_only=False)
        return np.asarray(flat, dtype=np.float64).reshape(len(values), values.type.list_size)
    lengths = values.value_lengths().fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    found = np.full((len(values), int(lengths.max(initial=1))), np.nan)
    inside = np.arange(found.shape[1]) < lengths[:, None]
    found[inside] = values.flatten().cast(pa.float64()).to_numpy(zero_copy_only=False)
    return found


def batch_of(columns: Mapping[str, Array]) -> pa.RecordBatch:
    """Columns as they are stored: (n, width) becomes a list of fixed size."""
    return pa.RecordBatch.from_pydict({name: _stored(values) for name, values in columns.items()})


def _stored(values: Array) -> pa.Array:
    if values.ndim == 1:
        return pa.array(values)
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(values).ravel()), values.shape[1])


def columns_of(batch: pa.RecordBatch) -> dict[str, Array]:
    """What `batch_of` stored."""
    return {
        name: numbers(column) if name in _WIDE else column.to_numpy(zero_copy_only=False)
        for name, column in zip(batch.schema.names, batch.columns, strict=True)
    }
