"""Features as they come from the log, gathered into a column each: floats, or objects for all else."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from lossloop.ledger.joined.columns import Array, Int64
from lossloop.ledger.joined.slicing import said

Flags = npt.NDArray[np.bool_]

MOST_NAMES = 1_000
"""Of features that were sent as JSON, where each row may have brought names of its own."""

_PREFIX = "features."
_OTHERS = frozenset({"id", "time", "unit", "version", "role", "y_pred", "features"})


class _Kind(StrEnum):
    """What the values of a column are."""

    NUMBER = "number"
    FLAG = "flag"
    TEXT = "text"


@dataclass
class _Column:
    """One feature of every row: NaN or None where there is none."""

    kind: _Kind | None
    """None as long as no value has come."""
    values: Array

    def fill(self, rows: Int64, column: pa.ChunkedArray) -> None:
        """Set the values of some rows; what comes in several kinds is text."""
        if column.null_count == len(column):
            return
        kind = _kind(column.type)
        if self.kind not in (None, kind):
            self._become_text()
            kind = _Kind.TEXT
        if kind is not _Kind.NUMBER and self.values.dtype.kind == "f":
            self.values = np.full(len(self.values), None, object)
        self.kind = kind
        if kind is _Kind.NUMBER:
            self.values[rows] = column.cast(pa.float64(), safe=False).to_numpy()
        else:
            self.values[rows] = _objects(column, text=kind is _Kind.TEXT)

    def _become_text(self) -> None:
        if self.kind is _Kind.TEXT:
            return
        there = [value is not None and value == value for value in self.values.tolist()]  # noqa: PLR0124
        texts: Array = np.full(len(self.values), None, object)
        texts[there] = [said(value) for value in self.values[there].tolist()]
        self.values = texts


class Gathered:
    """The features of a table's rows; of each row those that were sent first."""

    def __init__(self, wanted: Flags) -> None:
        self._open = wanted.copy()
        self._columns: dict[str, _Column] = {}

    def add(self, rows: Int64, part: pa.Table) -> None:
        """Take the features of predictions; `rows` are theirs, -1 of what is no row here. Shape (n,)."""
        taken = np.flatnonzero(rows >= 0)
        taken = taken[self._open[rows[taken]]]
        found, first = np.unique(rows[taken], return_index=True)
        if not len(found):
            return
        self._open[found] = False
        for name, column in _features(part.take(pa.array(taken[first]))).items():
            if name not in self._columns:
                self._columns[name] = _Column(None, np.full(len(self._open), np.nan))
            self._columns[name].fill(found, column)

    @property
    def names(self) -> list[str]:
        """Every feature, in the order in which they came."""
        return list(self._columns)

    def told(self, names: Iterable[str]) -> dict[str, Array]:
        """Columns by name; one of which no row here had a value is empty. Shape (rows,) each."""
        nothing = _Column(None, np.full(len(self._open), np.nan))
        return {name: self._columns.get(name, nothing).values for name in names}


def _kind(kind: pa.DataType) -> _Kind:
    if pa.types.is_boolean(kind):
        return _Kind.FLAG
    number = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    return _Kind.NUMBER if number else _Kind.TEXT


def _objects(column: pa.ChunkedArray, *, text: bool) -> Array:
    """Values as objects, None for none; equal ones are one object."""
    codes = column.combine_chunks().dictionary_encode()
    values = codes.dictionary.to_pylist()
    named = np.array([*([said(value) for value in values] if text else values), None], dtype=object)
    found: Array = named[codes.indices.fill_null(len(values)).to_numpy(zero_copy_only=False)]
    return found


def _features(asked: pa.Table) -> dict[str, pa.ChunkedArray]:
    """Columns of features: as the log has them, and what is JSON there read as columns."""
    names = [name for name in asked.column_names if name not in _OTHERS]
    found = {name.removeprefix(_PREFIX): _plain(asked[name]) for name in names}
    if "features" in asked.column_names and pa.types.is_string(asked["features"].type):
        texts: list[str | None] = asked["features"].to_pylist()
        rows = [{} if text is None else msgspec.json.decode(text) for text in texts]
        for name in _commonest(rows):
            column = pa.chunked_array([_column([row.get(name) for row in rows])])
            found[name] = _either(found.get(name), column)
    return found


def _commonest(rows: Sequence[Any]) -> list[str]:
    """The names that most rows have, in the order in which they came; MOST_NAMES at most."""
    counts = Counter(name for row in rows for name in row)
    taken = {name for name, _ in counts.most_common(MOST_NAMES)}
    return [name for name in counts if name in taken]


def _column(values: list[Any]) -> pa.Array:
    """Values as JSON has them: all numbers as floats, and what is of several kinds as text."""
    kinds = set(map(type, values)) - {type(None)}
    if kinds and kinds <= {int, float}:
        with contextlib.suppress(OverflowError):
            return pa.array([None if value is None else float(value) for value in values], pa.float64())
    if kinds == {bool}:
        return pa.array(values, pa.bool_())
    return pa.array([_text(value) for value in values], pa.string())


def _text(value: Any) -> str | None:
    if isinstance(value, dict | list):
        return msgspec.json.encode(value).decode()
    return None if value is None else said(value)


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """A column of numbers, flags or text; dates, lists and what else there is as text."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _plain(column.cast(kind.value_type))
    if pa.types.is_decimal(kind):
        return column.cast(pa.float64())
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind):
        return column
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return column
    return pa.chunked_array([pa.array([_text(value) for value in column.to_pylist()], pa.string())])


def _either(one: pa.ChunkedArray | None, other: pa.ChunkedArray) -> pa.ChunkedArray:
    if one is None:
        return other
    pairs = zip(one.to_pylist(), other.to_pylist(), strict=True)
    return pa.chunked_array([_column([second if first is None else first for first, second in pairs])])
