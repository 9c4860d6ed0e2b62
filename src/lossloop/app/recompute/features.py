"""Features of past predictions, for losses that need them and for slices: read from the log, row by row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pyarrow as pa

from lossloop.app.recompute.gathered import Flags, Gathered
from lossloop.core.errors import TooLarge, UnknownName
from lossloop.ledger.base import LogReader
from lossloop.ledger.history import in_parts
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
_AT_ONCE = 1 << 16


def read_features(
    log: LogReader, store: Store, keys: Keys, model: str, wanted: Sequence[Flags] | None = None
) -> list[dict[str, Array]]:
    """Every feature by name, of each row: of what was imported, and of what came as it happened.

    Where the log has none of a row, its features are NaN or None. The log is read in parts, so that besides
    the answer little lies in memory.

    Args:
        log: Has the features.
        store: Has the tables of the model.
        keys: How ids became keys.
        model: Whose predictions.
        wanted: Which rows of each of the two tables; None for all. Others have no features in the answer.

    Raises:
        TooLarge: There are too many rows.
    """
    tables = [Table(store, history_of(model)), Table(store, model)]
    asked = [np.ones(len(table), dtype=bool) for table in tables] if wanted is None else list(wanted)
    if (count := sum(int(rows.sum()) for rows in asked)) > MOST_ROWS:
        raise TooLarge(
            f"features are read for all predictions of a model, of up to {MOST_ROWS:,}, and {model} has "
            f"{count:,}; take a loss without features, and no slices",
            field="loss",
        )
    gathered = [Gathered(rows) for rows in asked]
    for part in in_parts(log, model, _AT_ONCE):
        places = keys.of(part["id"].combine_chunks())
        for table, found in zip(tables, gathered, strict=True):
            if len(table):
                found.add(table.find(*places), part)
    names = dict.fromkeys(name for found in gathered for name in found.names)
    return [found.told(names) for found in gathered]


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
