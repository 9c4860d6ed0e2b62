"""A batch as it was sent: rows, or columns of equal length."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa

from lossloop.core.errors import InputError, alternatives
from lossloop.core.tasks import Mask
from lossloop.serve.columns import Column, all_of

MOST_ROWS = 100_000
MOST_FEATURES = 2_000
"""Features of a batch that is sent by column: each costs some microseconds, however few the rows."""
ABSENT = object()
"""Stands in a column where a row does not have the key at all."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Columns:
    """A batch by column.

    Args:
        count: How many rows.
        columns: By name, each of `count` values; one that is not there was not sent.
        shaped: Which rows are objects with known keys only. Shape (count,).
        row: A row, as its sender would write it.
    """

    count: int
    columns: Mapping[str, Column]
    shaped: Mask
    row: Callable[[int], Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Rows:
    """A batch by row: a list of one row or more, each to be an object with some of `keys`."""

    rows: list[Any]
    keys: Sequence[str]
    needs: Sequence[str]

    @property
    def count(self) -> int:
        """How many rows."""
        return len(self.rows)

    def by_column(self) -> Columns:
        """The same by column; a row that is no such object is for its reader to say."""
        shaped, objects, keys = all_of(self.count), self.rows, set(self.keys)
        if set(map(type, objects)) != {dict}:
            shaped = np.array([isinstance(row, dict) for row in objects])
            objects = [row if isinstance(row, dict) else {} for row in objects]
        names = set(chain.from_iterable(objects))
        if not names <= keys:
            shaped = shaped & np.array([row.keys() <= keys for row in objects])
        columns: dict[str, Column] = {name: [row.get(name, ABSENT) for row in objects] for name in self.needs}
        for name in (names & keys).difference(self.needs):
            columns[name] = [row.get(name) for row in objects]
        return Columns(count=self.count, columns=columns, shaped=shaped, row=self.rows.__getitem__)


Batch = Columns | Rows


def check_size(count: int) -> None:
    """Raise InputError where a batch has no row, or too many."""
    if not count:
        raise InputError("send a list of one row or more", field="rows")
    if count > MOST_ROWS:
        raise InputError(f"{count} rows in one request; at most {MOST_ROWS} are taken", field="rows")


def check_features(count: int, field: str = "features") -> None:
    """Raise InputError where a batch by column has too many features."""
    if count > MOST_FEATURES:
        raise InputError(
            f"{count} features by column; at most {MOST_FEATURES} are taken so: send rows, whose features "
            "are kept as JSON, or fewer features",
            field=field,
        )


def of_rows(rows: Any, keys: Sequence[str], needed: Sequence[str]) -> Rows:
    """A batch of rows; raise InputError where that is no list of one row or more."""
    check_size(len(rows) if isinstance(rows, list) else 0)
    return Rows(rows=rows, keys=keys, needs=needed)


def of_columns(columns: Mapping[str, Any], keys: Sequence[str], needed: Sequence[str]) -> Columns:
    """A batch of lists by name, `features` an object of lists by name.

    Raises:
        InputError: A name is unknown or missing, what stands there is no list, or lengths differ.
    """
    check_names(columns, keys, needed, "columns.")
    lists = {name: column for name, column in columns.items() if name != "features"}
    if "features" in columns:
        if not isinstance(columns["features"], dict):
            raise InputError("features must be an object of names to lists", field="columns.features")
        check_features(len(columns["features"]), "columns.features")
        lists |= {f"features.{name}": column for name, column in columns["features"].items()}
    count = _common_length(lists)
    check_size(count)
    found: dict[str, Column] = {name: lists[name] for name in columns if name in lists}
    if columns.get("features"):
        found["features"] = pa.StructArray.from_arrays(
            [_feature(name, column) for name, column in columns["features"].items()],
            list(columns["features"]),
        )
    return of_checked(found, count)


def of_checked(columns: Mapping[str, Column], count: int) -> Columns:
    """A batch of columns whose names and lengths are what they should be."""

    def row(index: int) -> dict[str, Any]:
        return {name: _plain(column[index]) for name, column in columns.items()}

    return Columns(count=count, columns=columns, shaped=all_of(count), row=row)


def check_names(names: Iterable[str], keys: Sequence[str], needed: Sequence[str], prefix: str = "") -> None:
    """Raise InputError where a column is unknown, or one that is needed is not there."""
    for name in names:
        if name not in keys:
            raise InputError(f"unknown column {name!r}; {alternatives(name, keys)}", field=prefix + name)
    for name in needed:
        if name not in names:
            raise InputError(f"the column {name!r} is missing", field=prefix + name)


def _common_length(lists: Mapping[str, Any]) -> int:
    lengths = {}
    for name, column in lists.items():
        if not isinstance(column, list):
            raise InputError(f"{name} must be a list", field=f"columns.{name}")
        lengths[name] = len(column)
    (first, count), *others = lengths.items()
    for name, length in others:
        if length != count:
            raise InputError(f"{name} has {length} values, {first} {count}", field=f"columns.{name}")
    return count


def _feature(name: str, values: list[Any]) -> pa.Array:
    """One feature's column: numbers, texts, or true and false; nulls anywhere."""
    kinds = {type(value) for value in values} - {type(None)}
    try:
        if kinds <= {float, int}:
            return pa.array([None if value is None else float(value) for value in values], pa.float64())
        if len(kinds) == 1 and kinds <= {str, bool}:
            return pa.array(values, pa.string() if kinds == {str} else pa.bool_())
    except OverflowError:
        pass  # a whole number beyond any float
    raise InputError(
        f"the feature {name!r} must be a list of numbers, of texts, or of true and false",
        field=f"columns.features.{name}",
    )


def _plain(value: Any) -> Any:
    """A value as JSON writes it."""
    if not isinstance(value, pa.Scalar):
        return value
    if pa.types.is_timestamp(value.type) and value.is_valid:
        return f"{np.datetime64(value.cast(pa.int64()).as_py(), 'us')}Z"
    return value.as_py()
