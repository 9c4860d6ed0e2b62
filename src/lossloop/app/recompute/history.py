"""A model's history as columns: cut into pieces whose borders do not depend on how a store keeps them.

Only the columns that are asked for are looked at; where a store maps its chunks, the rest is never read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from lossloop.core.clock import Micros
from lossloop.ledger.joined.columns import ROW, Array, Floats, Int64, columns_of, widened
from lossloop.ledger.joined.stream import stacked
from lossloop.ledger.joined.table import LABELS, ROWS, history_of
from lossloop.ledger.store import Chunk, Store
from lossloop.pipelines.executors import Piece

PIECE_ROWS = 1 << 19
"""Rows of a piece: some 20 MB, enough to send away and little enough to share among cores."""
Columns = Mapping[str, Array]

_KEPT = ("version", "role", "block", "time", "y_pred")


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """From when, and until before when, predictions were made by their own time; None for no limit."""

    since: Micros | None = None
    until: Micros | None = None

    def holds(self, times: Int64) -> npt.NDArray[np.bool_] | None:
        """Which moments lie inside; None for all of them. Shape (n,)."""
        if self.since is None and self.until is None:
            return None
        inside = np.ones(len(times), dtype=bool)
        if self.since is not None:
            inside &= times >= self.since
        if self.until is not None:
            inside &= times < self.until
        return None if inside.all() else inside


@dataclass(frozen=True, kw_only=True, slots=True)
class Slab:
    """Rows that follow each other, in the parts in which they were kept: columns, (n,) or (n, k)."""

    parts: tuple[Columns, ...]

    def __len__(self) -> int:
        return sum(len(part["version"]) for part in self.parts)

    def batches(self, size: int) -> Iterator[Columns]:
        """All rows, `size` of them at a time."""
        for start in range(0, len(self), size):
            found, first = [], 0
            for part in self.parts:
                rows = len(part["version"])
                low, high = max(start - first, 0), min(start + size - first, rows)
                if low < high:
                    found.append({name: values[low:high] for name, values in part.items()})
                first += rows
            yield found[0] if len(found) == 1 else stacked(found, {})


@dataclass(frozen=True, kw_only=True, slots=True)
class History:
    """One table of predictions of a model, and the outcomes that are in force."""

    chunks: tuple[Chunk, ...]
    y_true: Floats
    """NaN where there is no outcome. Shape (rows,) or (rows, k)."""
    more: Columns = field(default_factory=dict)
    """Further columns, shape (rows,) each: features, and the slice that each row belongs to."""
    brought_in: bool = False
    """Whether these are the predictions that were imported later."""

    @property
    def rows(self) -> int:
        """The number of the last one, from 1."""
        return len(self.y_true)

    @property
    def there(self) -> int:
        """How many there are."""
        return sum(chunk.batch.num_rows for chunk in self.chunks)

    def pieces(self, span: Span) -> list[Piece[Slab]]:
        """All rows in order, without pieces of which no row lies in the span."""
        found = []
        for start in range(0, self.rows, PIECE_ROWS):
            end = min(start + PIECE_ROWS, self.rows)
            slab = self._slab(start, end)
            if any(_reaches(span, part["time"]) for part in slab.parts):
                what = "imported predictions" if self.brought_in else "predictions"
                found.append(Piece(name=f"{what} {start + 1:,} to {end:,}", work=slab))
        return found

    def _slab(self, start: int, end: int) -> Slab:
        return Slab(
            parts=tuple(
                self._part(chunk, max(start, chunk.first), min(end, chunk.end))
                for chunk in self.chunks
                if chunk.first < end and start < chunk.end
            )
        )

    def _part(self, chunk: Chunk, start: int, end: int) -> Columns:
        there = [name for name in _KEPT if name in chunk.batch.schema.names]
        part = columns_of(chunk.batch.select(there).slice(start - chunk.first, end - start))
        for name in _KEPT:
            if name not in part:
                dtype, empty = ROW[name]
                part[name] = np.full(end - start, empty, dtype)
        return {
            **part,
            "y_true": self.y_true[start:end],
            **{name: values[start:end] for name, values in self.more.items()},
        }


def read_history(store: Store, model: str) -> list[History]:
    """What a store holds of a model now: what was imported, and what came as it happened.

    Columns stay where they lie until they are looked at.
    """
    return [_read(store, history_of(model), brought_in=True), _read(store, model, brought_in=False)]


def _read(store: Store, table: str, *, brought_in: bool) -> History:
    # The labels first: what they belong to is then among the rows.
    labels = [
        columns_of(chunk.batch.select(["seq", "y_true"])) for chunk in store.chunks(f"{LABELS}/{table}")
    ]
    chunks = tuple(store.chunks(f"{ROWS}/{table}"))
    y_true = _in_force(labels, chunks[-1].end if chunks else 0)
    return History(chunks=chunks, y_true=y_true, brought_in=brought_in)


def _reaches(span: Span, times: Int64) -> bool:
    inside = span.holds(times)
    return len(times) > 0 if inside is None else bool(inside.any())


def _in_force(labels: list[dict[str, Array]], rows: int) -> Floats:
    """The last outcome that was told of each row, NaN where there is none. Shape (rows,) or (rows, k)."""
    width = max((label["y_true"].shape[1] for label in labels if label["y_true"].ndim == 2), default=0)
    found = np.full((rows + 1, width) if width else rows + 1, np.nan)
    for label in labels:
        found[label["seq"]] = widened(label["y_true"], width) if width else label["y_true"]
    return found[1:]
