"""The join: predictions and outcomes meet by id, in either order, any number of times, a batch at a time.

What was received is always accounted for: rows of predictions are new, repeats or conflicts; rows of outcomes
gave a prediction its outcome, corrected one, repeated one, or wait for their prediction.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lossloop.core.calendar import Calendar
from lossloop.core.clock import Micros
from lossloop.ledger.facts import micros
from lossloop.ledger.joined.columns import NEVER, Array, Floats, Int64, numbers, widened
from lossloop.ledger.joined.identity import contents_of, keys_of, units_of
from lossloop.ledger.joined.keys import Keys, UInt64
from lossloop.ledger.joined.table import ROLES, Table, history_of
from lossloop.ledger.joined.waiting import BEGAN, CORRECTED, REPEATED, Waiting
from lossloop.ledger.store import Store

Bools = np.ndarray[Any, np.dtype[np.bool_]]

_AT_ONCE = 100_000
_OF_CHANGES = ("version", "role", "block", "y_pred")


@dataclass(frozen=True, kw_only=True, slots=True)
class Arrivals:
    """New predictions, by column. Arrays of n; roles are places in ROLES."""

    place: Int64
    """Which row of the batch each was."""
    seq: Int64
    version: Int64
    role: Array
    block: Int64
    unit: Int64
    y_pred: Floats

    def __len__(self) -> int:
        return len(self.version)


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
    arrived: list[Arrivals] = field(default_factory=list)
    changes: list[Changes] = field(default_factory=list)
    missing: Counter[str] = field(default_factory=Counter)
    """How many outcomes said that they will never come, by the reason given."""


class Join:
    """One model's predictions and the outcomes that wait for one.

    What was brought in later is a table of its own: its rows come in any order, and are not judged.

    Args:
        store: Where all are kept.
        model: Whose they are.
        keys: How ids become numbers.
    """

    def __init__(self, store: Store, model: str, keys: Keys) -> None:
        self.table = Table(store, model)
        self.history = Table(store, history_of(model))
        self._keys = keys
        self._waiting = Waiting(store, model, (self.table, self.history))

    def flush(self) -> None:
        """Write what changed to the store; call it inside a transaction."""
        self.table.flush()
        self.history.flush()
        self._waiting.flush()

    def erase(self, rows: Int64, *, history: bool = False) -> None:
        """Forget whom rows are about and what was predicted; call it inside a transaction."""
        (self.history if history else self.table).erase(rows)
        self._waiting.rewrite()  # an outcome that waited for one is known by its prediction's key

    def erase_ids(self, ids: Sequence[str]) -> int:
        """Forget predictions by their ids, and what waits for them; return how many there were.

        Call it inside a transaction, after a flush.
        """
        return self.erase_keys(*self._keys.of(pa.array(ids, pa.string()))) if ids else 0

    def erase_keys(self, high: UInt64, low: UInt64) -> int:
        """Forget predictions by the keys of their ids, and what waits for them; return how many there were.

        Call it inside a transaction, after a flush.
        """
        if not len(low):
            return 0
        self._waiting.take(high, low)
        erased = 0
        for table in (self.table, self.history):
            rows = table.find(high, low)
            self.erase(rows[rows >= 0], history=table is self.history)
            erased += int(np.count_nonzero(rows >= 0))
        return erased

    # Predictions.

    def take_predictions(
        self, batch: pa.RecordBatch, *, at: Int64, calendar: Calendar, history: bool = False,
        slices: Int64 | None = None,
    ) -> Taken:  # fmt: skip
        """Add new predictions and give them the outcomes that waited for them.

        Args:
            batch: As facts.predictions makes it.
            at: When each row came, by the clock that judges; made to never go back, but for history.
                Shape (n,).
            calendar: Cuts time into blocks.
            history: Whether the rows were brought in later.
            slices: To which slices each row belongs, as a `Slicer` numbers them. Shape (n,).
        """
        taken, rows = Taken(), self._columns(batch)
        if slices is not None:
            rows["slices"] = slices
        table = self.history if history else self.table
        known = self._known(rows["key_high"], rows["key_low"])
        fresh = _firsts(rows["key_low"], ~known)
        start = len(table)
        if len(fresh):
            added = {name: column[fresh] for name, column in rows.items()}
            at = at[fresh]  # what came again does not move the clock
            added["at"] = at if history else np.maximum.accumulate(np.maximum(at, table.last_at))
            added["block"] = calendar.blocks(added["at"]) if history else self._blocks(added["at"], calendar)
            table.append(added)
            taken.predictions = len(fresh)
            taken.arrived.append(_arrivals(added, fresh, start))
            self._end_waiting(table, np.arange(start, len(table)), added, taken)
        if len(fresh) < len(known):
            again = np.ones(len(known), dtype=bool)
            again[fresh] = False
            self._count_again(rows, np.flatnonzero(again), taken)
        return taken

    def _known(self, high: UInt64, low: UInt64) -> Bools:
        known = self.table.find(high, low) >= 0
        if len(self.history):
            known |= self.history.find(high, low) >= 0
        return np.asarray(known)

    def _columns(self, batch: pa.RecordBatch) -> dict[str, Array]:
        """A batch as columns of a table; what another system did not say has its default."""
        there = set(batch.schema.names)
        count = batch.num_rows
        high, low = keys_of(batch, self._keys)
        rows: dict[str, Array] = {
            "key_high": high,
            "key_low": low,
            "version": _whole(batch.column("version")),
            "time": micros(batch.column("time")),
            "y_pred": numbers(batch.column("y_pred")),
            "role": _roles(batch.column("role")) if "role" in there else np.zeros(count, np.int8),
            "unit": units_of(batch, self._keys),
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
        for table in (self.table, self.history):
            first = table.find(rows["key_high"][places], rows["key_low"][places])
            there = first >= 0
            (content,) = table.columns(["content"], first[there])
            same = content == rows["content"][places[there]]
            taken.repeats += int(np.count_nonzero(same))
            taken.conflicts += int(np.count_nonzero(~same))
            places = places[~there]

    def _end_waiting(self, table: Table, rows: Int64, added: Mapping[str, Array], taken: Taken) -> None:
        places, y_true, moments = self._waiting.take(added["key_high"], added["key_low"])
        if len(places):
            taken.waiting -= len(places)
            self._label(table, rows[places], y_true, moments, taken)

    # Outcomes.

    def take_outcomes(self, batch: pa.RecordBatch, *, at: Int64, age: Micros) -> Taken:
        """Give predictions their outcomes; those whose prediction is not there yet wait for it.

        Args:
            batch: As facts.outcomes makes it.
            at: When each outcome came, by the clock that judges. Shape (n,).
            age: The judging age: a correction that comes later is shown, and never judged.
        """
        taken, y_true = Taken(), numbers(batch.column("y_true"))
        high, low = keys_of(batch, self._keys)
        said = np.ones(batch.num_rows, dtype=bool)
        for turn in _turns(low):
            here = turn
            for table in (self.table, self.history):
                rows = table.find(high[here], low[here])
                mine = here[rows >= 0]
                if len(mine):
                    found = rows[rows >= 0]
                    said[mine] = self._label(table, found, y_true[mine], at[mine], taken, age=age)
                here = here[rows < 0]
                if not len(here) or not len(self.history):
                    break
            if len(here):
                became = self._waiting.keep(high[here], low[here], y_true[here], at[here])
                said[here] = became != REPEATED
                taken.waiting += int(np.count_nonzero(became == BEGAN))
                taken.corrections += int(np.count_nonzero(became == CORRECTED))
                taken.repeats += int(np.count_nonzero(became == REPEATED))
        taken.missing = _reasons(batch, said)
        return taken

    def take_absence(self, *, after: int, until: Micros, age: Micros, value: float) -> tuple[Taken, int]:
        """Give rows behind seq `after` that came by `until` an outcome, where none came within `age`.

        Returns:
            What that did, and the last seq looked at.
        """
        taken, rows = Taken(), self.table.matured(after=after, until=until, most=_AT_ONCE)
        # Of a row that was erased nothing is known any more, not even that no outcome came.
        there = ~np.isnan(rows.y_pred if rows.y_pred.ndim == 1 else rows.y_pred[:, 0])
        absent = rows.pick((rows.labelled_at == NEVER) & there)
        if len(absent):
            labels = np.full(len(absent), value)
            self._label(self.table, absent.seq - 1, labels, absent.at + age, taken)
        return taken, after + len(rows)

    def _label(
        self, table: Table, rows: Int64, y_true: Floats, moments: Int64, taken: Taken, age: Micros = 0
    ) -> Bools:
        """Set outcomes of different rows; return which of them said something new. Shape (n,)."""
        since, before, *said = table.columns(("labelled_at", "y_true", *_OF_CHANGES), rows)
        y_true, before = _alike(y_true, before)
        labelled = since != NEVER
        new: Bools = ~(labelled & _equal(before, y_true))
        if not new.all():
            rows, moments, since = rows[new], moments[new], since[new]
            y_true, before, *said = (each[new] for each in (y_true, before, *said))
        corrects = since != NEVER
        taken.repeats += len(new) - len(rows)
        taken.corrections += int(np.count_nonzero(corrects))
        taken.outcomes += len(rows) - int(np.count_nonzero(corrects))
        if not len(rows):
            return new
        judged = y_true
        if corrects.any():
            at, first = table.columns(("at", "judged"), rows)
            late = corrects & (moments - age > at)
            first, judged = _alike(first, y_true)
            judged = np.where(late if judged.ndim == 1 else late[:, None], first, judged)
        # A correction keeps the time of the first outcome: the prediction was labelled since then.
        table.label(rows, y_true, judged, np.where(corrects, since, moments))
        version, role, block, y_pred = said
        taken.changes.append(
            Changes(version=version, role=role, block=block, y_pred=y_pred, before=before, after=y_true)
        )
        return new


def _arrivals(added: Mapping[str, Array], place: Int64, start: int) -> Arrivals:
    seq = np.arange(start + 1, start + 1 + len(place))
    columns = {name: added[name] for name in ("version", "role", "block", "unit", "y_pred")}
    return Arrivals(place=place, seq=seq, **columns)


def _reasons(batch: pa.RecordBatch, said: Bools) -> Counter[str]:
    """Why outcomes will never come, of rows that said something new."""
    if "reason" not in batch.schema.names:
        return Counter()
    reasons = batch.column("reason").filter(pa.array(said)).drop_null()
    return Counter(reasons.to_pylist())


def _firsts(low: UInt64, wanted: Bools) -> Int64:
    """Places of the first row of each key among the wanted ones, in order."""
    places = np.flatnonzero(wanted)
    _, first = np.unique(low[places], return_index=True)
    return places if len(first) == len(places) else places[np.sort(first)]


def _turns(low: UInt64) -> Iterator[Int64]:
    """All places; those of a key that comes several times are in as many turns, in their order."""
    order = np.argsort(low, kind="stable")
    again = low[order][1:] == low[order][:-1]
    if not again.any():
        yield np.arange(len(low))
        return
    starts = np.flatnonzero(np.concatenate(([True], ~again)))
    turns = np.empty(len(low), np.int64)
    turns[order] = np.arange(len(low)) - np.repeat(starts, np.diff(starts, append=len(low)))
    yield from np.split(np.argsort(turns, kind="stable"), np.cumsum(np.bincount(turns))[:-1])


def _whole(column: pa.Array) -> Int64:
    return np.asarray(column.fill_null(0).to_numpy(zero_copy_only=False), dtype=np.int64)


def _roles(column: pa.Array) -> Array:
    found = pc.index_in(column, value_set=pa.array(ROLES))
    return np.asarray(found.fill_null(0).to_numpy(zero_copy_only=False), dtype=np.int8)


def _contents(batch: pa.RecordBatch, rows: Mapping[str, Array]) -> Int64:
    """A number per row by which a repeat is told from a conflict: of what was sent, or of what it says."""
    said = rows["version"].astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) ^ rows["unit"].view(np.uint64)
    y_pred = rows["y_pred"]
    bits = np.ascontiguousarray(y_pred).view(np.uint64)
    if y_pred.ndim == 2:  # whole numbers: their sum is the same however long the batch's other rows are
        bits = (np.where(np.isnan(y_pred), 0, bits) * _weights(y_pred.shape[1])).sum(axis=1, dtype=np.uint64)
    elif batch.column("y_pred").null_count:  # those that failed are alike, among numbers and among lists
        bits = np.where(np.isnan(y_pred), 0, bits)
    said ^= bits * np.uint64(0xC2B2AE3D27D4EB4F)
    found = said.view(np.int64)
    sent = contents_of(batch)
    if sent is None:
        return found
    there = sent.is_valid().to_numpy(zero_copy_only=False)
    found[there] = sent.drop_null().to_numpy()
    return found


def _weights(width: int) -> UInt64:
    return np.frombuffer(hashlib.shake_256(b"y_pred").digest(8 * width), np.uint64) | np.uint64(1)


def _alike(one: Floats, other: Floats) -> tuple[Floats, Floats]:
    """Both as numbers, or both as lists of the same length."""
    if one.ndim == other.ndim == 1:
        return one, other
    width = max(each.shape[1] for each in (one, other) if each.ndim == 2)
    return widened(one, width), widened(other, width)


def _equal(one: Floats, other: Floats) -> Bools:
    same = (one == other) | (np.isnan(one) & np.isnan(other))
    return np.asarray(same if same.ndim == 1 else same.all(axis=1))


__all__ = ["Arrivals", "Changes", "Join", "Taken"]
