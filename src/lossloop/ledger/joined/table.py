"""A model's predictions as columns in memory, in the order in which they are judged.

The applier asks the same few things of them all the time: which row has this id, which rows have reached an
age, which lie in a block. Rows only come at the end, and their clock and their block never go back, so the
last two are slices; the first is a look into an index. What changed is added to the store's streams when
the applier commits, so a table that is read again is the one that was committed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lossloop.core.calendar import Block
from lossloop.core.clock import Micros
from lossloop.core.records import Role
from lossloop.ledger.joined.columns import (
    LABEL,
    NEVER,
    PART_ROWS,
    ROW,
    Array,
    Floats,
    Int64,
    Part,
    columns_of,
    numbers,
    widened,
)  # fmt: skip
from lossloop.ledger.joined.filter import bits_of
from lossloop.ledger.joined.keys import UInt64
from lossloop.ledger.joined.slicing import NOT_SLICED, Sliced, dictionary_of
from lossloop.ledger.joined.stream import Stream, stacked
from lossloop.ledger.store import Store

ROLES: tuple[str, ...] = (Role.CHAMPION, Role.CHALLENGER, Role.HOLDOUT, Role.OVERRIDE)
"""What the numbers in the column `role` mean."""
ROWS, LABELS = "rows", "labels"
MOST_OPEN = 10 * PART_ROWS
"""Predictions kept in memory, at about 120 bytes each."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Rows:
    """Predictions by column, in prediction order. Arrays of n; `y_pred` (n,) or (n, classes)."""

    seq: Int64
    key_low: UInt64
    """Half of the keyed hash of its id, 0 of one that was erased: a number that no sender can choose."""
    version: Int64
    role: Array
    """Places in ROLES."""
    propensity: Floats
    at: Int64
    block: Int64
    unit: Int64
    """A number per unit, 0 where there is none."""
    y_pred: Floats
    """NaN of one that failed, and of one that was erased."""
    shadow_version: Int64
    """0 where there was no shadow."""
    shadow_y_pred: Floats
    """NaN where there was no shadow."""
    y_true: Floats
    """NaN where there is no outcome."""
    judged: Floats
    """The outcome as it was known at the judging age, or the first that came later."""
    labelled_at: Int64
    slices: Sliced = NOT_SLICED

    def __len__(self) -> int:
        return len(self.seq)

    @property
    def failed(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        """Which of them were made and gave no answer. Shape (n,)."""
        first = self.y_pred if self.y_pred.ndim == 1 else self.y_pred[:, 0]
        return np.asarray(np.isnan(first) & (self.key_low != 0))

    def labels_by(self, age: Micros) -> Floats:
        """y_true as it was known when each prediction had this age; NaN where it was not."""
        known = self.labelled_at <= self.at + age
        return np.where(known if self.judged.ndim == 1 else known[:, None], self.judged, np.nan)

    def pick(self, wanted: np.ndarray[Any, np.dtype[np.bool_]]) -> Rows:
        """The rows where `wanted` holds, in their order."""
        if wanted.all():
            return self
        return Rows(**{name: getattr(self, name)[wanted] for name in self.__slots__})


def history_of(model: str) -> str:
    """The name of a model's history in streams: rows that were brought in later, and are not judged."""
    return f"{model}@history"


class Table:
    """A model's predictions, and the streams of the store that they are kept in.

    Args:
        store: Where they lie.
        model: Whose they are.
        most: How many rows may lie in memory when the table has been read; `parts` are for later.
    """

    def __init__(self, store: Store, model: str, *, most: int = MOST_OPEN) -> None:
        self._store = store
        self._model = model
        self._parts: list[Part] = []
        self._rows = Stream(store, f"{ROWS}/{model}", {name: empty for name, (_, empty) in ROW.items()})
        self._labels = Stream(store, f"{LABELS}/{model}")
        self._events: list[dict[str, Array]] = []
        labels = list(self._labels.read())  # first: what is committed meanwhile labels later rows too
        for rows in self._rows.read():
            self._take(rows)
            keep_within([self], most)
        for label in labels:
            self._set(label, only_open=True)

    # What is there.

    def __len__(self) -> int:
        return self._parts[-1].end if self._parts else 0

    @property
    def last_at(self) -> Micros:
        """The clock of the last row; 0 before any."""
        return self._parts[-1].last("at") if self._parts else 0

    @property
    def last_block(self) -> Block | None:
        """The block of the last row; None before any."""
        return self._parts[-1].last("block") if self._parts else None

    @property
    def parts(self) -> Sequence[Part]:
        """The parts, of which those that are full may be closed after a `flush`."""
        return self._parts

    def find(self, high: UInt64, low: UInt64) -> Int64:
        """The row of each key, -1 where there is none. Shape (n,)."""
        found = np.full(len(low), -1, np.int64)
        bits = bits_of(low)
        for part in self._parts:
            places = np.flatnonzero(part.may_hold(high, low, bits))
            if len(places):
                rows = part.find(high[places], low[places])
                hit = rows >= 0
                found[places[hit]] = rows[hit] + part.first
        return found

    def columns(self, names: Sequence[str], rows: Int64) -> list[Array]:
        """The values of some columns in some rows. Shapes (n,) or (n, width)."""
        if not len(rows):
            return [np.empty(0, (ROW.get(name) or LABEL[name])[0]) for name in names]
        places = [(self._parts[number], here, within) for number, here, within in _by_part(rows)]
        return [_gathered(name, len(rows), places) for name in names]

    # What changes.

    def append(self, rows: Mapping[str, Array]) -> None:
        """Add rows at the end; their keys are new and differ from each other."""
        self._take(rows)

    def label(self, rows: Int64, y_true: Floats, judged: Floats, labelled_at: Int64) -> None:
        """Set the outcomes of rows."""
        event = {"seq": rows + 1, "y_true": y_true, "judged": judged, "labelled_at": labelled_at}
        self._set(event)
        self._events.append(event)

    def flush(self) -> None:
        """Write what changed since the last flush; call it inside a transaction."""
        for part in self._parts[self._rows.rows // PART_ROWS :]:
            if self._rows.rows < part.end:
                self._rows.append(part.arrays(self._rows.rows, part.end))
        if self._events:
            self._labels.append(stacked(self._events, {}))
            self._events.clear()

    def erase(self, rows: Int64) -> None:
        """Forget whom rows are about and what was predicted; that there was a prediction stays.

        Call it inside a transaction, after a flush.
        """
        for number, _, within in _by_part(rows):
            for name in _PERSONAL:
                blank = np.full(len(within), ROW[name][1], ROW[name][0])
                self._parts[number].put(name, within, blank)
        self._rows.rewrite_around(rows, self._stored)

    def _stored(self, start: int, end: int) -> dict[str, Array]:
        """Rows `start` to `end` as they are stored."""
        pieces = [
            part.arrays(max(start, part.first), min(end, part.end))
            for part in self._parts
            if part.first < end and start < part.end
        ]
        return stacked(pieces, _EMPTY)

    def _take(self, rows: Mapping[str, Array]) -> None:
        count, start = len(rows["key_low"]), 0
        while start < count:
            if not self._parts or not self._parts[-1].room:
                self._parts.append(Part(len(self), self._read))
            part, end = self._parts[-1], min(count, start + self._parts[-1].room)
            part.append(rows, start, end)
            start = end

    def _set(self, event: Mapping[str, Array], *, only_open: bool = False) -> None:
        for number, here, within in _by_part(event["seq"] - 1):
            part = self._parts[number]
            if not (only_open and part.is_closed):
                for name in LABEL:
                    part.put(name, within, event[name][here])

    def _read(self, start: int, end: int) -> tuple[list[dict[str, Array]], list[dict[str, Array]]]:
        """Rows `start` to `end` as they are stored, and what their labels became, in order."""
        rows = []
        for chunk in self._store.chunks(self._rows.name, after=self._rows.cut_before(start)):
            if chunk.first >= end:
                break
            cut = chunk.batch.slice(max(start - chunk.first, 0), end - max(start, chunk.first))
            rows.append(columns_of(cut))
        labels = []
        for chunk in self._store.chunks(self._labels.name):
            seq = chunk.batch.column("seq").to_numpy()
            mine = np.flatnonzero((seq > start) & (seq <= end))
            if len(mine):
                labels.append({name: each[mine] for name, each in columns_of(chunk.batch).items()})
        return rows, labels

    # What is asked of rows in order.

    def slice(self, start: int, end: int) -> Rows:
        """Rows `start` to `end`, counted from 0."""
        parts = [part for part in self._parts if part.first < end and start < part.end]
        cuts = [np.s_[max(start - part.first, 0) : end - part.first] for part in parts]
        pieces = [
            {name: part.column(name)[cut] for name in _OF_ROWS} for part, cut in zip(parts, cuts, strict=True)
        ]
        columns = pieces[0] if len(pieces) == 1 else stacked(pieces, _EMPTY) if pieces else _NOTHING
        seq = np.arange(start + 1, start + 1 + len(columns["at"]))
        slices = NOT_SLICED
        if any(part.says("slices") for part in parts):
            numbers = [part.column("slices")[cut] for part, cut in zip(parts, cuts, strict=True)]
            known = dictionary_of(self._store, self._model)
            slices = Sliced(numbers=np.concatenate(numbers), dictionary=known)
        return Rows(seq=seq, slices=slices, **columns)

    def matured(self, *, after: int, until: Micros, most: int) -> Rows:
        """Rows behind seq `after` that came by `until`, at most so many, in prediction order."""
        return self.slice(after, min(self.rows_up_to("at", until), after + most))

    def block(self, block: Block) -> Rows:
        """All rows of a block, in prediction order."""
        return self.slice(self.rows_up_to("block", block - 1), self.rows_up_to("block", block))

    def first_block_after(self, block: Block) -> Block | None:
        """The first block behind another one that has rows; None where there is none yet."""
        row = self.rows_up_to("block", block)
        if row >= len(self):
            return None
        part = self._parts[row // PART_ROWS]
        return int(part.column("block")[row - part.first])

    def rows_up_to(self, name: str, value: int) -> int:
        """How many rows have at most this value in a column that never decreases."""
        low, high = 0, len(self._parts)
        while low < high:
            middle = (low + high) // 2
            if self._parts[middle].last(name) <= value:
                low = middle + 1
            else:
                high = middle
        if low == len(self._parts):
            return len(self)
        part = self._parts[low]
        return part.first + int(np.searchsorted(part.column(name), value, side="right"))


def prepare(tables: Iterable[Table]) -> bool:
    """Index one more part, ahead of the first id that is looked for in it; False where none is left."""
    return any(part.index() for table in tables for part in table.parts)


def keep_within(tables: Sequence[Table], most: int) -> None:
    """Close the full parts that were used least recently, until at most so many rows lie in memory."""
    opened = [part for table in tables for part in table.parts if not part.is_closed]
    rows = sum(part.count for part in opened)
    for part in sorted((part for part in opened if not part.room), key=lambda part: part.used):
        if rows <= most:
            return
        part.close()
        rows -= part.count


_PERSONAL = ("key_high", "key_low", "unit", "y_pred", "shadow_y_pred", "content", "slices")
_OF_ROWS = tuple(name for name in Rows.__slots__ if name not in ("seq", "slices"))
_EMPTY: Mapping[str, Any] = {name: empty for name, (_, empty) in {**ROW, **LABEL}.items()}
_NOTHING: dict[str, Array] = {
    name: np.empty(0, dtype) for name, (dtype, _) in {**ROW, **LABEL}.items() if name in _OF_ROWS
}


def _by_part(rows: Int64) -> Iterator[tuple[int, Int64 | slice, Int64]]:
    """Parts with some of the rows: a part's number, which of the rows it has, and their places in it."""
    if not len(rows):
        return
    numbers_of_parts = rows // PART_ROWS
    first, last = (int(each) for each in (numbers_of_parts.min(), numbers_of_parts.max()))
    if first == last:
        yield first, _ALL, rows - first * PART_ROWS
        return
    for number in range(first, last + 1):
        here = np.flatnonzero(numbers_of_parts == number)
        if len(here):
            yield number, here, rows[here] - number * PART_ROWS


def _gathered(name: str, count: int, places: Sequence[tuple[Part, Int64 | slice, Int64]]) -> Array:
    """A column's values in rows of several parts. Shape (count,) or (count, width)."""
    if len(places) == 1:
        part, _, within = places[0]
        return np.asarray(part.column(name)[within])
    found: Array | None = None
    for part, here, within in places:
        values = part.column(name)[within]
        if found is None:
            found = np.full((count, *values.shape[1:]), _EMPTY[name], values.dtype)
        if values.ndim != found.ndim or values.shape[1:] != found.shape[1:]:
            width = max(_width(values), _width(found))
            found, values = widened(found, width), widened(values, width)
        found[here] = values
    return np.asarray(found)


_ALL = slice(None)


def _width(values: Array) -> int:
    return values.shape[1] if values.ndim == 2 else 1


__all__ = ["LABELS", "NEVER", "ROLES", "ROWS", "Rows", "Table", "history_of", "numbers"]
