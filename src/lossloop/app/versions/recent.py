"""A model's latest predictions with what they were asked with and what came of them, as columns.

Read from the log, of which only the end is looked at; what was erased or has expired is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

import numpy as np

from lossloop.app.home import Home
from lossloop.app.recompute.gathered import Flags, Gathered
from lossloop.ledger.history import in_parts
from lossloop.ledger.joined.columns import ROW, Array, Floats, Int64, columns_of, widened
from lossloop.ledger.joined.keys import Keys, UInt64
from lossloop.ledger.joined.places import first_places
from lossloop.ledger.joined.stream import stacked
from lossloop.ledger.joined.table import LABELS, ROWS, history_of
from lossloop.ledger.store import Store

_AT_ONCE = 1 << 14
_EMPTY = {name: empty for name, (_, empty) in ROW.items()}
_READ = ("key_high", "key_low", "version", "block", "y_pred", "shadow_version", "shadow_y_pred")


@dataclass(frozen=True, kw_only=True)
class Recent:
    """Predictions that were sent with features, oldest first. Arrays of n, or (n, k)."""

    features: Mapping[str, Array]
    """By name as they were sent: floats with NaN, or objects with None."""
    version: Int64
    block: Int64
    y_pred: Floats
    shadow_version: Int64
    """0 where nobody answered in shadow."""
    shadow_y_pred: Floats
    y_true: Floats
    """The outcome that is in force; NaN where there is none."""
    bare: int = 0
    """How many more were looked at that have no features in the log: not sent, erased or expired."""

    def __len__(self) -> int:
        return len(self.version)

    def pick(self, rows: Array) -> Recent:
        """Some of the rows."""
        columns = {
            each.name: getattr(self, each.name)[rows]
            for each in fields(self)
            if each.name not in ("features", "bare")
        }
        return replace(
            self, features={name: values[rows] for name, values in self.features.items()}, **columns
        )


def read_recent(home: Home, store: Store, model: str, *, most: int) -> Recent:
    """The last `most` predictions of a model as they came; of what was imported, where fewer came."""
    live = _tail(home, store, model, model, most)
    if len(live) + live.bare >= most:
        return live
    earlier = _tail(home, store, model, history_of(model), most - len(live) - live.bare)
    return live if not len(earlier) else _both(earlier, live)


def _tail(home: Home, store: Store, model: str, table: str, most: int) -> Recent:
    """The last rows of one of a model's tables."""
    chunks = list(store.chunks(f"{ROWS}/{table}"))
    end = chunks[-1].end if chunks else 0
    first = max(0, end - most)
    parts = []
    for chunk in chunks:
        if chunk.end > first:
            there = [name for name in _READ if name in chunk.batch.schema.names]
            parts.append(columns_of(chunk.batch.select(there).slice(max(0, first - chunk.first))))
    columns = stacked(parts, _EMPTY)
    count = end - first
    for name in _READ:
        dtype, empty = ROW[name]
        columns.setdefault(name, np.full(count, empty, dtype))
    features = _features(home, store, model, table, first, (columns["key_high"], columns["key_low"]))
    there_are = np.zeros(count, dtype=bool)
    for values in features.values():
        there_are |= ~missing(values)
    found = Recent(
        features=features, version=columns["version"].astype(np.int64), block=columns["block"],
        y_pred=columns["y_pred"], shadow_version=columns["shadow_version"].astype(np.int64),
        shadow_y_pred=columns["shadow_y_pred"], y_true=_labels(store, table, first, count),
        bare=count - int(there_are.sum()),
    )  # fmt: skip
    return found.pick(np.flatnonzero(there_are))


def missing(values: Array) -> Flags:
    """Which values there are none. Shape (n,)."""
    if values.dtype.kind == "f":
        return np.isnan(values)
    return np.array([value is None for value in values], dtype=bool)


def _features(
    home: Home, store: Store, model: str, table: str, first: int, sent: tuple[UInt64, UInt64]
) -> dict[str, Array]:
    """The features of rows from `first` on, by name; the log is read from the frame of the first of them."""
    high, low = sent
    count = len(low)
    if not count:
        return {}
    order = np.argsort(low, kind="stable")
    after = {**store.offsets(), **first_places(store, table, np.arange(first, first + count))}
    gathered, keys, log = (
        Gathered(np.ones(count, dtype=bool)),
        Keys(home.settings().secret),
        home.log.reader(),
    )
    try:
        for part in in_parts(log, model, _AT_ONCE, after):
            theirs = keys.of(part["id"].combine_chunks())
            gathered.add(_rows_of(high, low, order, theirs[0], theirs[1]), part)
    finally:
        log.close()
    return gathered.told(gathered.names)


def _rows_of(high: UInt64, low: UInt64, order: Int64, their_high: UInt64, their_low: UInt64) -> Int64:
    """The row of each key, -1 where there is none, or where two share its lower half. Shape (n,)."""
    sorted_low = low[order]
    place = np.minimum(np.searchsorted(sorted_low, their_low), len(low) - 1)
    row = order[place]
    same = (low[row] == their_low) & (high[row] == their_high) & (their_low != 0)
    return np.where(same, row, -1).astype(np.int64)


def _labels(store: Store, table: str, first: int, count: int) -> Floats:
    """The outcomes in force of `count` rows from `first` on; NaN where there is none."""
    parts = []
    for chunk in store.chunks(f"{LABELS}/{table}"):
        told = columns_of(chunk.batch.select(["seq", "y_true"]))
        mine = (told["seq"] > first) & (told["seq"] <= first + count)
        if mine.any():
            parts.append({name: values[mine] for name, values in told.items()})
    width = max((part["y_true"].shape[1] for part in parts if part["y_true"].ndim == 2), default=0)
    found: Floats = np.full((count, width) if width else count, np.nan)
    for part in parts:
        found[part["seq"] - first - 1] = widened(part["y_true"], width) if width else part["y_true"]
    return found


def _both(one: Recent, other: Recent) -> Recent:
    """Rows one after the other; a feature that one of them lacks is missing there."""
    names = dict.fromkeys((*one.features, *other.features))
    features = {name: _joined(name, one, other) for name in names}
    columns = {
        each.name: _stack(getattr(one, each.name), getattr(other, each.name))
        for each in fields(Recent)
        if each.name not in ("features", "bare")
    }
    return Recent(features=features, bare=one.bare + other.bare, **columns)


def _joined(name: str, one: Recent, other: Recent) -> Array:
    parts = [rows.features.get(name) for rows in (one, other)]
    if all(part is None or part.dtype.kind == "f" for part in parts):
        filled = [np.full(len(rows), np.nan) if part is None else part
                  for rows, part in zip((one, other), parts, strict=True)]  # fmt: skip
        return np.concatenate(filled)
    return np.concatenate([_as_objects(part, len(rows))
                           for rows, part in zip((one, other), parts, strict=True)])  # fmt: skip


def _as_objects(values: Array | None, count: int) -> Array:
    if values is None:
        return np.full(count, None, object)
    if values.dtype.kind != "f":
        return values
    found: Array = values.astype(object)
    found[np.isnan(values)] = None
    return found


def _stack(one: Array, other: Array) -> Array:
    """Columns one below the other; lists are made as wide as the widest."""
    width = max((each.shape[1] for each in (one, other) if each.ndim == 2), default=0)
    if width:
        one, other = widened(one, width), widened(other, width)
    return np.concatenate([one, other])
