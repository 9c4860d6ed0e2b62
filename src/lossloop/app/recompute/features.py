"""Features of past predictions, for losses that need them and for slices: read from the log, row by row."""

from __future__ import annotations

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
    found = {name.removeprefix(PREFIX): asked[name] for name in asked.column_names if name not in _OTHERS}
    if "features" in asked.column_names and pa.types.is_string(asked["features"].type):
        texts: list[str | None] = asked["features"].to_pylist()
        read: Any = pa.array([None if text is None else msgspec.json.decode(text) for text in texts])
        if pa.types.is_struct(read.type):
            for name, column in zip(read.type.names, read.flatten(), strict=True):
                found[name] = _either(found.get(name), pa.chunked_array([column]))
    return found


def _either(one: pa.ChunkedArray | None, other: pa.ChunkedArray) -> pa.ChunkedArray:
    if one is None:
        return other
    pairs = zip(one.to_pylist(), other.to_pylist(), strict=True)
    return pa.chunked_array([[first if first is not None else second for first, second in pairs]])


def _spread(column: pa.ChunkedArray, rows: Int64, count: int) -> Array:
    """Values at their rows: numbers as floats with NaN for none, all else as objects with None."""
    there = rows >= 0
    numeric = pa.types.is_integer(column.type) or pa.types.is_floating(column.type)
    found: Array = np.full(count, np.nan) if numeric else np.full(count, None, object)
    found[rows[there]] = column.to_numpy()[there]
    return found
