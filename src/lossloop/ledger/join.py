"""The join: predictions and outcomes meet by id, in either order, any number of times, a batch at a time.

What was received is always accounted for: rows of predictions are new, repeats or conflicts; rows of outcomes
gave a prediction its outcome, corrected one, repeated one, or wait for their prediction.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lossloop.core.calendar import Calendar
from lossloop.core.clock import Micros
from lossloop.ledger.columns import NEVER, Array, Floats, Int64, numbers, widened
from lossloop.ledger.facts import micros
from lossloop.ledger.keys import Keys, UInt64
from lossloop.ledger.store import Store
from lossloop.ledger.table import ROLES, Table
from lossloop.ledger.waiting import Waiting

Places = tuple[Int64, Array, Int64]
"""Versions, roles (places in ROLES) and blocks of rows."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Changes:
    """Predictions whose outcome came or was corrected, by column; NaN for no outcome. Arrays of n."""

    version: Int64
    role: Array
    block: Int64
    y_pred: Floats
    before: Floats
    after: Floats

    def __len__(self) -> int:
        return len(self.version)


@dataclass(kw_only=True, slots=True)
class Taken:
    """What a batch of facts did."""

    predictions: int = 0
    outcomes: int = 0
    """Predictions that got their first outcome."""
    corrections: int = 0
    waiting: int = 0
    """Outcomes that began to wait for their prediction, less those that need not wait any more."""
    repeats: int = 0
    conflicts: int = 0
    """Ids that came again with other content; the first one stands."""
    arrived: list[Places] = field(default_factory=list)
    changes: list[Changes] = field(default_factory=list)


class Join:
    """One model's predictions and the outcomes that wait for one.

    Args:
        store: Where both are kept.
        model: Whose they are.
        keys: How ids become numbers.
    """

    def __init__(self, store: Store, model: str, keys: Keys) -> None:
        self.table = Table(store, model)
        self._keys = keys
        self._waiting = Waiting(store, model, self.table)

    def flush(self) -> None:
        """Write what changed to the store; call it inside a transaction."""
        self.table.flush()
        self._waiting.flush()

    def find(self, id: str) -> int | None:
        """The row of a prediction, counted from 0; None where it is not known."""
        row = int(self.table.find(*self._keys.of(pa.array([id], pa.string())))[0])
        return None if row < 0 else row

    # Predictions.

    def take_predictions(self, batch: pa.RecordBatch, *, at: Int64, calendar: Calendar) -> Taken:
        """Add new predictions and give them the outcomes that waited for them.

        Args:
            batch: As facts.predictions makes it.
            at: When each row came, by the clock that judges; made to never go back. Shape (n,).
            calendar: Cuts time into blocks.
        """
        taken, rows = Taken(), self._columns(batch)
        rows["at"] = np.maximum.accumulate(np.maximum(at, self.table.last_at))
        known = self.table.find(rows["key_high"], rows["key_low"])
        fresh = _firsts(rows["key_low"], known < 0)
        again = np.ones(len(known), dtype=bool)
        again[fresh] = False
        start = len(self.table)
        if len(fresh):
            added = {name: column[fresh] for name, column in rows.items()}
            added["block"] = self._blocks(added["at"], calendar)
            self.table.append(added)
            taken.predictions = len(fresh)
            taken.arrived.append((added["version"], added["role"], added["block"]))
            self._end_waiting(np.arange(start, len(self.table)), added, taken)
        if again.any():
            self._count_again(rows, np.flatnonzero(again), taken)
        return taken

    def _columns(self, batch: pa.RecordBatch) -> dict[str, Array]:
        """A batch as columns of a table; what another system did not say has its default."""
        there = set(batch.schema.names)
        count = batch.num_rows
        high, low = self._keys.of(batch.column("id"))
        rows: dict[str, Array] = {
            "key_high": high,
            "key_low": low,
            "version": _whole(batch.column("version")),
            "time": micros(batch.column("time")),
            "y_pred": numbers(batch.column("y_pred")),
            "role": _roles(batch.column("role")) if "role" in there else np.zeros(count, np.int8),
            "unit": self._keys.units(batch.column("unit")) if "unit" in there else np.zeros(count, np.int64),
        }
        if "propensity" in there:
            rows["propensity"] = numbers(batch.column("propensity"))
        if "shadow_version" in there and batch.column("shadow_version").null_count < count:
            rows["shadow_version"] = _whole(batch.column("shadow_version"))
            rows["shadow_y_pred"] = numbers(batch.column("shadow_y_pred"))
        rows["content"] = _contents(batch, rows)
        return rows

    def _blocks(self, at: Int64, calendar: Calendar) -> Int64:
        """The block of each row; it never goes back, also where clocks do or the policy's blocks change."""
        last = self.table.last_block
        blocks = calendar.blocks(at)
        return np.maximum.accumulate(blocks if last is None else np.maximum(blocks, last))

    def _count_again(self, rows: Mapping[str, Array], places: Int64, taken: Taken) -> None:
        first = self.table.find(rows["key_high"][places], rows["key_low"][places])
        same = self.table.values("content", first) == rows["content"][places]
        taken.repeats += int(np.count_nonzero(same))
        taken.conflicts += int(np.count_nonzero(~same))

    def _end_waiting(self, rows: Int64, added: Mapping[str, Array], taken: Taken) -> None:
        places, y_true, moments = self._waiting.take(added["key_high"], added["key_low"])
        if len(places):
            taken.waiting -= len(places)
            self._label(rows[places], y_true, moments, taken, age=None)

    # Outcomes.

    def take_outcomes(self, batch: pa.RecordBatch, *, at: Int64, age: Micros) -> Taken:
        """Give predictions their outcomes; those whose prediction is not there yet wait for it.

        Args:
            batch: As facts.outcomes makes it.
            at: When each outcome came, by the clock that judges. Shape (n,).
            age: The judging age: a correction that comes later is shown, and never judged.
        """
        taken, y_true = Taken(), numbers(batch.column("y_true"))
        high, low = self._keys.of(batch.column("id"))
        left = np.arange(batch.num_rows)
        while len(left):  # an id that comes twice in a batch is taken twice, in order
            now = _firsts(low[left], np.ones(len(left), dtype=bool))
            here = left[now]
            rows = self.table.find(high[here], low[here])
            there = rows >= 0
            if there.any():
                self._label(rows[there], y_true[here[there]], at[here[there]], taken, age=age)
            if not there.all():
                early = here[~there]
                self._keep_waiting(high[early], low[early], y_true[early], at[early], taken)
            left = np.delete(left, now)
        return taken

    def _keep_waiting(self, high: UInt64, low: UInt64, y_true: Floats, at: Int64, taken: Taken) -> None:
        waits, corrected, repeats = self._waiting.keep(high, low, y_true, at)
        taken.waiting += waits
        taken.corrections += corrected
        taken.repeats += repeats

    def _label(
        self, rows: Int64, y_true: Floats, moments: Int64, taken: Taken, *, age: Micros | None
    ) -> None:
        since = self.table.values("labelled_at", rows)
        before = self.table.values("y_true", rows)
        y_true, before = _alike(y_true, before)
        labelled = since != NEVER
        same = labelled & _equal(before, y_true)
        taken.repeats += int(np.count_nonzero(same))
        taken.corrections += int(np.count_nonzero(labelled & ~same))
        taken.outcomes += int(np.count_nonzero(~labelled))
        if same.any():
            rows, y_true, moments, since, before, labelled = (
                each[~same] for each in (rows, y_true, moments, since, before, labelled)
            )
            if not len(rows):
                return
        # A correction keeps the time of the first outcome: the prediction was labelled since then.
        judged = y_true
        if labelled.any() and age is not None:
            late = labelled & (moments > self.table.values("at", rows) + age)
            first, judged = _alike(self.table.values("judged", rows), y_true)
            judged = np.where(late if judged.ndim == 1 else late[:, None], first, judged)
        self.table.label(rows, y_true, judged, np.where(labelled, since, moments))
        taken.changes.append(self._changes(rows, before, y_true))

    def _changes(self, rows: Int64, before: Floats, after: Floats) -> Changes:
        version, role, block, y_pred = (
            self.table.values(name, rows) for name in ("version", "role", "block", "y_pred")
        )
        return Changes(version=version, role=role, block=block, y_pred=y_pred, before=before, after=after)


def _firsts(low: UInt64, wanted: np.ndarray[Any, np.dtype[np.bool_]]) -> Int64:
    """Places of the first row of each key among the wanted ones, in order."""
    places = np.flatnonzero(wanted)
    _, first = np.unique(low[places], return_index=True)
    return places if len(first) == len(places) else places[np.sort(first)]


def _whole(column: pa.Array) -> Int64:
    return np.asarray(column.fill_null(0).to_numpy(zero_copy_only=False), dtype=np.int64)


def _roles(column: pa.Array) -> Array:
    found = pc.index_in(column, value_set=pa.array(ROLES))
    return np.asarray(found.fill_null(0).to_numpy(zero_copy_only=False), dtype=np.int8)


def _contents(batch: pa.RecordBatch, rows: Mapping[str, Array]) -> Int64:
    """A number per row by which a repeat is told from a conflict: of what was sent, or of what it says."""
    said = rows["version"].astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) ^ rows["unit"].view(np.uint64)
    y_pred = rows["y_pred"]
    if y_pred.ndim == 2:
        y_pred = np.nansum(y_pred * _weights(y_pred), axis=1)
    said ^= np.ascontiguousarray(y_pred).view(np.uint64) * np.uint64(0xC2B2AE3D27D4EB4F)
    found = said.view(np.int64)
    if "content" in batch.schema.names and batch.column("content").null_count < batch.num_rows:
        for place, content in enumerate(batch.column("content").to_pylist()):
            if content is not None:
                found[place] = int.from_bytes(content[:8].ljust(8, b"\0"), "little", signed=True)
    return found


def _weights(values: Floats) -> Floats:
    return np.asarray(np.arange(1, values.shape[1] + 1) * np.sqrt(2.0))


def _alike(one: Floats, other: Floats) -> tuple[Floats, Floats]:
    """Both as numbers, or both as lists of the same length."""
    if one.ndim == other.ndim == 1:
        return one, other
    width = max(each.shape[1] for each in (one, other) if each.ndim == 2)
    return widened(one, width), widened(other, width)


def _equal(one: Floats, other: Floats) -> np.ndarray[Any, np.dtype[np.bool_]]:
    same = (one == other) | (np.isnan(one) & np.isnan(other))
    return np.asarray(same if same.ndim == 1 else same.all(axis=1))


__all__ = ["Changes", "Join", "Places", "Taken"]
