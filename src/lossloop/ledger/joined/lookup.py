"""One prediction found by its id, by whoever may only read the store: no table is built for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lossloop.core.clock import Micros
from lossloop.ledger.base import LogReader
from lossloop.ledger.frames import Damage
from lossloop.ledger.joined.columns import LABEL, NEVER, ROW, columns_of
from lossloop.ledger.joined.keys import Keys
from lossloop.ledger.joined.places import place_of
from lossloop.ledger.joined.table import LABELS, ROLES, ROWS, history_of
from lossloop.ledger.store import Store

Value = float | list[float]


@dataclass(frozen=True, kw_only=True)
class Known:
    """What is known of one prediction."""

    row: int
    """Its place among the model's predictions, from 0."""
    version: int
    role: str
    propensity: float
    time: Micros
    y_pred: Value | None
    """None of one that failed."""
    y_true: Value | None
    labelled_at: Micros | None
    sent: Mapping[str, Any]
    """What the log holds of it: id, unit, features, ...; empty where that has expired."""


def find(store: Store, log: LogReader, keys: Keys, model: str, id: str) -> Known | None:
    """A prediction and its outcome as far as the store has come; None where it has not."""
    high, low = keys.one(id)
    for name in (model, history_of(model)):
        for chunk in store.chunks(f"{ROWS}/{name}"):
            there = chunk.batch.column("key_low").to_numpy() == np.uint64(low)
            there &= chunk.batch.column("key_high").to_numpy() == np.uint64(high)
            if there.any():
                place = int(np.flatnonzero(there)[0])
                said = columns_of(chunk.batch.slice(place, 1))
                return _known(store, log, name, id, chunk.first + place, said)
    return None


def _known(store: Store, log: LogReader, model: str, id: str, row: int, said: Mapping[str, Any]) -> Known:
    values = {name: said[name][0] if name in said else empty for name, (_, empty) in ROW.items()}
    label = _label(store, model, row)
    labelled_at = int(label["labelled_at"])
    return Known(
        row=row,
        version=int(values["version"]),
        role=ROLES[int(values["role"])],
        propensity=float(values["propensity"]),
        time=int(values["time"]),
        y_pred=None if np.isnan(values["y_pred"]).all() else _plain(values["y_pred"]),
        y_true=None if np.isnan(label["y_true"]).all() else _plain(label["y_true"]),
        labelled_at=None if labelled_at == NEVER else labelled_at,
        sent=_sent(store, log, model, id, row),
    )


def _label(store: Store, model: str, row: int) -> dict[str, Any]:
    found = {name: empty for name, (_, empty) in LABEL.items()}
    for chunk in store.chunks(f"{LABELS}/{model}"):
        there = np.flatnonzero(chunk.batch.column("seq").to_numpy() == row + 1)
        if len(there):
            last = columns_of(chunk.batch.slice(int(there[-1]), 1))
            found = {name: last[name][0] for name in LABEL}
    return found


def _sent(store: Store, log: LogReader, model: str, id: str, row: int) -> dict[str, Any]:
    where = place_of(store, model, row)
    if where is None:
        return {}
    segment, start = where
    after = {**store.offsets(), segment: start}
    while entries := list(log.read(after, most=1)):  # what was not folded yet may come before it
        for entry in entries:
            after[entry.position.segment] = entry.position.offset
            if entry.position.segment == segment and not isinstance(entry.frame, Damage):
                there = entry.start in (None, start)  # else its frame is gone, and this is one behind it
                return _row_of(entry.frame.batch, id) if there else {}
    return {}


def _row_of(batch: pa.RecordBatch, id: str) -> dict[str, Any]:
    """The first row with an id; nothing where there is none."""
    place = pc.index(batch.column("id"), id).as_py() if "id" in batch.schema.names else -1
    return {} if place < 0 else dict(batch.slice(place, 1).to_pylist()[0])


def _plain(value: Any) -> Value:
    """A number, or a list without the filling at its end."""
    if np.ndim(value) == 0:
        return float(value)
    numbers: list[float] = value[~np.isnan(value)].tolist()
    return numbers
