"""A part of a table: up to a million consecutive predictions as NumPy columns in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import count as counter
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lossloop.ledger.joined.closed import Closed
from lossloop.ledger.joined.filter import Bools, Filter, Prints
from lossloop.ledger.joined.index import Index
from lossloop.ledger.joined.keys import UInt64

Floats = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
Array = npt.NDArray[Any]

Reader = Callable[[int, int], tuple[Iterable[Mapping[str, Array]], Iterable[Mapping[str, Array]]]]

NEVER = np.iinfo(np.int64).max
"""When an outcome came that has not come."""
PART_ROWS = 1 << 20

_LEAST = 256
_LARGE, _NARROW = 1 << 16, 8
"""Rows above which so wide a column has room for all it may have: what is not written takes no memory."""
_USES = counter(1)
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
    "slices": (np.int64, 0),
}
"""What a prediction is made of, and what each column holds where nothing was said."""
LABEL: Mapping[str, tuple[type[Any], Any]] = {
    "y_true": (np.float64, np.nan),
    "judged": (np.float64, np.nan),
    "labelled_at": (np.int64, NEVER),
}
"""What becomes of a prediction: its outcome now, as it was at the judging age, and when the first came."""
_WIDE = frozenset({"y_pred", "shadow_y_pred", "y_true", "judged"})
_RARE = frozenset({"propensity", "role", "unit", "shadow_version", "shadow_y_pred", "slices"})
"""Columns that take no memory until a row says something."""
_EMPTY: Mapping[str, Any] = {name: empty for name, (_, empty) in {**ROW, **LABEL}.items()}


class Part:
    """Rows `first` to `end` of a table; grows at its end until it is full.

    A full part can be closed: it then takes next to no memory, and is read again when one of its rows is
    asked for.

    Args:
        first: Its first row's number, counted from 0.
        read: Reads the part again: its rows, then what their labels became, as columns with `seq`.
    """

    def __init__(self, first: int, read: Reader) -> None:
        self.first = first
        self.count = 0
        self.used = 0
        """When it was last asked for rows, in uses of any part."""
        self._read = read
        self._closed: Closed | None = None
        self._begin()

    def _begin(self) -> None:
        self._index, self._indexed = Index(), 0
        self._filter: Filter | None = None
        self._held = 0
        self._columns: dict[str, Array] = {
            name: np.empty(_LEAST, dtype)
            for name, (dtype, _) in {**ROW, **LABEL}.items()
            if name not in _RARE
        }

    @property
    def end(self) -> int:
        return self.first + self.count

    @property
    def room(self) -> int:
        """How many rows it still takes."""
        return PART_ROWS - self.count

    @property
    def is_closed(self) -> bool:
        return self._closed is not None

    def close(self) -> None:
        """Give the memory back; the part must be full, and stored."""
        if self._closed is None:
            self._closed = Closed(
                filter=self._filled(),
                prints=Prints(self._columns["key_high"][: self.count]),
                last_at=self.last("at"),
                last_block=self.last("block"),
            )
            self._columns, self._index, self._indexed, self._filter = {}, Index(), 0, None

    def _open(self) -> None:
        self.used = next(_USES)
        if self._closed is None:
            return
        self._closed, self.count = None, 0
        self._begin()
        rows, labels = self._read(self.first, self.first + PART_ROWS)
        for columns in rows:
            self.append(columns, 0, len(columns["key_low"]))
        for event in labels:
            for name in LABEL:
                self._write(name, event["seq"] - 1 - self.first, event[name])

    def may_hold(self, high: UInt64, low: UInt64, bits: UInt64) -> Bools:
        """Whether each key may be in the part, by its halves and its `filter.bits_of`. Shape (n,)."""
        if self._closed is None:
            small = self.count <= min(_LARGE, PART_ROWS - 1)
            return np.ones(len(low), dtype=bool) if small else self._filled().may_hold(low, bits)
        may = self._closed.filter.may_hold(low, bits)
        if may.any():
            may[may] = self._closed.prints.may_hold(high[may])
        return may

    def _filled(self) -> Filter:
        """The filter over all keys so far; who only looks at rows in order never asks for it."""
        if self._filter is None:
            self._filter = Filter(PART_ROWS)
        if self._held < self.count:
            self._filter.add(self._columns["key_low"][self._held : self.count])
            self._held = self.count
        return self._filter

    def find(self, high: UInt64, low: UInt64) -> Int64:
        """The place of each key in the part, -1 where it has none; ask for what it may hold. Shape (n,)."""
        self._open()
        self.index()  # not before: who only looks at rows in order needs none
        return self._index.find(*self._keys(), high, low)

    def index(self) -> bool:
        """Index rows that are not yet; False where there are none, or the part is closed."""
        if self._closed is not None or self._indexed == self.count:
            return False
        self._index.add(*self._keys(), self._indexed, self.count)
        self._indexed = self.count
        return True

    def _keys(self) -> tuple[UInt64, UInt64]:
        return self._columns["key_high"][: self.count], self._columns["key_low"][: self.count]

    def last(self, name: str) -> int:
        """The last row's value of `at` or `block`."""
        if self._closed is not None:
            return self._closed.last_at if name == "at" else self._closed.last_block
        return int(self._columns[name][self.count - 1])

    def column(self, name: str) -> Array:
        """A column's rows so far: do not keep it over an append. Shape (count,) or (count, width)."""
        self._open()
        found = self._columns.get(name)
        if found is None:
            dtype, empty = ROW[name]
            return np.broadcast_to(np.array(empty, dtype), (self.count,))
        return found[: self.count]

    def says(self, name: str) -> bool:
        """Whether a row of the part says something in a column that may be left out."""
        self._open()
        return name in self._columns

    def append(self, rows: Mapping[str, Array], start: int, end: int) -> None:
        """Add rows `start` to `end` of the columns given; the rest has no outcome yet."""
        before, count = self.count, self.count + end - start
        self._reserve(count)
        for name, column in self._columns.items():
            if name not in rows:
                column[before:count] = _EMPTY[name]
        self.count = count
        for name, values in rows.items():
            self._write(name, np.s_[before:count], values[start:end])

    def put(self, name: str, places: Int64, values: Array) -> None:
        """Set values of a column at places counted from the part's first row."""
        self._open()
        self._write(name, places, values)

    def arrays(self, start: int, end: int) -> dict[str, Array]:
        """Every column of a row's own, from row `start` to `end` of the table, as it is stored."""
        self._open()
        cut = np.s_[start - self.first : end - self.first]
        return {name: self.column(name)[cut] for name in ROW if name in self._columns}

    def _write(self, name: str, places: Any, values: Array) -> None:
        column = self._columns.get(name)
        if column is None:
            if _says_nothing(values, _EMPTY[name]):
                return
            column = self._columns[name] = np.empty(_room(self.count, 1), ROW[name][0])
            column[: self.count] = _EMPTY[name]
        if name in _WIDE and values.shape[1:] != column.shape[1:]:
            width = max(_width(column), _width(values))
            if column.shape[1:] != (width,):
                column = self._columns[name] = _with_room(widened(column[: self.count], width), self.count)
            values = widened(values, width)
        column[places] = values

    def _reserve(self, count: int) -> None:
        for name, column in self._columns.items():
            if count > len(column):
                self._columns[name] = _with_room(column[: self.count], count)


def _room(count: int, width: int) -> int:
    """For how many rows there is room where there must be for so many."""
    if count > _LARGE and width <= _NARROW:
        return PART_ROWS
    return min(PART_ROWS, max(_LEAST, 1 << (count - 1).bit_length()))


def _with_room(column: Array, count: int) -> Array:
    """A column's rows in one that has room for more."""
    found = np.empty((_room(count, _width(column)), *column.shape[1:]), column.dtype)
    found[: len(column)] = column
    return found


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
    kind = values.type
    if not isinstance(kind, (pa.ListType, pa.LargeListType, pa.FixedSizeListType)):
        return np.asarray(values.cast(pa.float64()).to_numpy(zero_copy_only=False), dtype=np.float64)
    if isinstance(kind, pa.FixedSizeListType) and not values.null_count:
        flat = values.flatten().cast(pa.float64()).to_numpy(zero_copy_only=False)
        return np.asarray(flat, dtype=np.float64).reshape(len(values), kind.list_size)
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
