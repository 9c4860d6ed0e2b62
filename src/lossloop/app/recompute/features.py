"""Features of past predictions, for losses that need them and for slices: read from the log, row by row."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from lossloop.core.errors import TooLarge, UnknownName
from lossloop.ledger.base import LogReader
from lossloop.ledger.history import predicted
from lossloop.ledger.joined.columns import Array, Int64
from lossloop.ledger.joined.keys import Keys
from lossloop.ledger.joined.slicing import said
from lossloop.ledger.joined.table import Table, history_of
from lossloop.ledger.store import Store

MOST_ROWS = 2_000_000
"""Features lie in the log and not in columns: beyond this many predictions they would not fit into memory."""
MOST_NAMES = 1_000
"""Of features that were sent as JSON, where each row may have brought names of its own."""
MOST_SLICES = 1_000
PREFIX = "features."
SLICE = "slice"

_OTHERS = frozenset({"id", "time", "unit", "version", "role", "y_pred", "features"})


def read_features(log: LogReader, store: Store, keys: Keys, model: str) -> list[dict[str, Array]]:
    """Every feature by name, of each row: of what was imported, and of what came as it happened.

    Where the log has none of a row, its features are NaN or None.

    Raises:
        TooLarge: The model has too many predictions.
    """
    tables = [Table(store, history_of(model)), Table(store, model)]
    if (count := sum(map(len, tables))) > MOST_ROWS:
        raise TooLarge(
            f"features are read for all predictions of a model, of up to {MOST_ROWS:,}, and {model} has "
            f"{count:,}; take a loss without features, and no slices",
            field="loss",
        )
    asked = predicted(log, model)
    ids = pa.concat_arrays(asked["id"].chunks) if len(asked) else pa.array([], pa.string())
    columns = _features(asked) if len(asked) else {}
    places = keys.of(ids)
    return [
        {name: _spread(column, table.find(*places), len(table)) for name, column in columns.items()}
        for table in tables
    ]


def slices(features: Sequence[Mapping[str, Array]], names: Sequence[str]) -> tuple[list[Int64], list[str]]:
    """The slice of each row of each table by the values of some features, and what the slices are called.

    Raises:
        UnknownName: There is no such feature.
        TooLarge: There are more than MOST_SLICES; such a feature has to be cut into ranges first.
    """
    labels: list[str] = [""]
    codes: list[Int64] = []
    for name in names:
        if any(name not in table for table in features):
            raise UnknownName("feature", name, features[0], field="by")
        found = [table[name] for table in features]
        values = pa.array(np.concatenate(found), from_pandas=True).dictionary_encode(null_encoding="encode")
        told = [f"{name}={said(value)}" for value in values.dictionary.to_pylist()]
        mine = np.split(
            values.indices.to_numpy().astype(np.int64), np.cumsum([len(each) for each in found])[:-1]
        )
        codes = [code * len(told) + more for code, more in zip(codes, mine, strict=True)] if codes else mine
        labels = [f"{label}, {more}" if label else more for label in labels for more in told]
        if len(labels) > MOST_SLICES:
            raise TooLarge(
                f"{', '.join(names)} make {len(labels):,} slices; at most {MOST_SLICES:,} are told apart",
                field="by",
            )
    return codes, labels


def _features(asked: pa.Table) -> dict[str, pa.ChunkedArray]:
    """Columns of features: as the log has them, and what is JSON there read as columns."""
    names = [name for name in asked.column_names if name not in _OTHERS]
    found = {name.removeprefix(PREFIX): _plain(asked[name]) for name in names}
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


def _spread(column: pa.ChunkedArray, rows: Int64, count: int) -> Array:
    """Values at their rows: numbers as floats with NaN for none, all else as objects with None."""
    there = rows >= 0
    numeric = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
    found: Array = np.full(count, np.nan) if numeric else np.full(count, None, object)
    found[rows[there]] = column.to_numpy()[there]
    return found
