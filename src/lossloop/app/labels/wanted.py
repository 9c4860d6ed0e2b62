"""Which predictions wait for an audit: drawn by a watch, without a label, not yet at their judging age."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from lossloop.act.policy import Policy
from lossloop.act.watches import EstimateWatch
from lossloop.app.books import Books
from lossloop.app.home import Home
from lossloop.app.judging import CHAMPION
from lossloop.app.labels.draws import drawn
from lossloop.core.clock import Micros, format_time
from lossloop.core.errors import InputError
from lossloop.ledger.base import LogReader, Offsets
from lossloop.ledger.facts import model_of
from lossloop.ledger.frames import Damage, Kind
from lossloop.ledger.joined.columns import Array, Int64, columns_of
from lossloop.ledger.joined.keys import Keys, UInt64
from lossloop.ledger.joined.places import first_places
from lossloop.ledger.joined.table import LABELS, ROWS
from lossloop.ledger.store import Store

MOST = 10_000
"""How many are listed, the most urgent first."""

_READ = ("key_high", "key_low", "at", "role", "version", "y_pred")


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Rows that wait for an audit, the oldest first: arrays of shape (n,)."""

    row: Int64
    """Its place among the model's predictions, from 0."""
    high: UInt64
    low: UInt64
    at: Int64
    version: Int64


def wanted_at(home: Home, model: str) -> dict[str, Any]:
    """Which predictions of a model wait for an audit, as plain values: the same for CLI and HTTP.

    Raises:
        UnknownName: There is no such model.
        InputError: No watch of its policy draws audits.
    """
    store, log = home.state(), home.log.reader()
    try:
        return _told(store, log, Keys(home.settings().secret), model)
    finally:
        log.close()
        store.close()


def _told(store: Store, log: LogReader, keys: Keys, model: str) -> dict[str, Any]:
    books = Books(store)
    policy = books.policy(model)
    rate, age = _rate(policy), policy.labels.mature_after
    found = _waiting(store, model, rate, since=books.now() - age)
    ids = _ids(store, log, keys, model, found)
    rows = zip(found.at.tolist(), found.version.tolist(), ids, strict=True)
    return {
        "model": model,
        "share": rate,
        "waiting": len(found.row),
        "wanted": [
            {"id": id, "version": version, "at": format_time(at), "until": format_time(at + age)}
            for at, version, id in rows
            if id is not None
        ],
    }


def _rate(policy: Policy) -> float:
    """The largest share that a watch draws: what is drawn at a smaller one is among it."""
    rates = [
        watch.audit for watch in policy.watches.values() if isinstance(watch, EstimateWatch) and watch.audit
    ]
    if not rates:
        raise InputError(
            f"no watch of {policy.model} draws audits; write one such as "
            "{kind: estimate, tolerance: 0.05, audit: 5%, promise: 5% ever}",
            field="watches",
        )
    return max(rates)


def _waiting(store: Store, model: str, rate: float, *, since: Micros) -> Wanted:
    """Predictions of champions behind `since` that were drawn and have no label."""
    labels = store.chunks(f"{LABELS}/{model}")
    came = [chunk.batch.column("seq").to_numpy() for chunk in labels]
    labelled = np.unique(np.concatenate(came)) - 1 if came else np.empty(0, np.int64)
    found: list[dict[str, Array]] = []
    for chunk in store.chunks(f"{ROWS}/{model}"):
        rows = columns_of(chunk.batch.select([name for name in _READ if name in chunk.batch.schema.names]))
        if not len(rows["at"]) or rows["at"][-1] <= since:
            continue
        rows["row"] = np.arange(chunk.first, chunk.end)
        answered = ~np.isnan(rows["y_pred"] if rows["y_pred"].ndim == 1 else rows["y_pred"][:, 0])
        mine = (rows["at"] > since) & drawn(rows["key_low"], rate) & (rows["key_low"] != 0) & answered
        mine &= ~np.isin(rows["row"], labelled)
        if "role" in rows:
            mine &= rows["role"] == CHAMPION
        found.append({name: values[mine] for name, values in rows.items() if name != "y_pred"})
    return _first(found)


def _first(found: list[dict[str, Array]]) -> Wanted:
    columns = {
        name: np.concatenate([rows[name] for rows in found])[:MOST] if found else np.empty(0, np.int64)
        for name in ("row", "key_high", "key_low", "at", "version")
    }
    return Wanted(
        row=columns["row"], high=columns["key_high"].astype(np.uint64),
        low=columns["key_low"].astype(np.uint64), at=columns["at"], version=columns["version"],
    )  # fmt: skip


def _ids(store: Store, log: LogReader, keys: Keys, model: str, found: Wanted) -> list[str | None]:
    """The id of each row, as the log has it; None where that is gone."""
    keyed = zip(found.high.tolist(), found.low.tolist(), strict=True)
    places = {key: place for place, key in enumerate(keyed)}
    ids: list[str | None] = [None] * len(places)
    # Behind what was folded, but from the first of these rows on in each segment.
    after = {**store.offsets(), **first_places(store, model, found.row)}
    for batch in _batches(log, after, model) if places else ():
        names = batch.column("id")
        high, low = keys.of(names)
        for number in np.flatnonzero(np.isin(low, found.low)).tolist():
            place = places.pop((int(high[number]), int(low[number])), None)
            if place is not None:
                ids[place] = names[number].as_py()
        if not places:
            break
    return ids


def _batches(log: LogReader, after: Offsets, model: str) -> Iterator[pa.RecordBatch]:
    """Predictions of a model that lie behind some offsets."""
    while entries := list(log.read(after)):
        after = {**after, **{entry.position.segment: entry.position.offset for entry in entries}}
        for entry in entries:
            frame = entry.frame
            if isinstance(frame, Damage) or frame.kind is not Kind.PREDICTION or not frame.batch.num_rows:
                continue
            if model_of(frame.batch) == model:
                yield frame.batch
