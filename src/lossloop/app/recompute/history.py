"""A model's history as columns: cut into pieces whose borders do not depend on how a store keeps them.

Only the columns that are asked for are looked at; where a store maps its chunks, the rest is never read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from lossloop.core.clock import Micros
from lossloop.ledger.columns import ROW, Array, Floats, Int64, columns_of, widened
from lossloop.ledger.store import Chunk, Store
from lossloop.ledger.table import LABELS, ROWS
from lossloop.pipelines.executors import Piece

PIECE_ROWS = 1 << 19
"""Rows of a piece: some 15 MB, enough for a cluster and little enough for eight cores."""
_COLUMNS = ("version", "role", "block", "time", "y_pred")


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """From when to when predictions were made, by their own time; None for all that there is."""

    since: Micros | None = None
    until: Micros | None = None

    def holds(self, times: Int64) -> np.ndarray[tuple[int], np.dtype[np.bool_]] | None:
        """Which moments lie inside; None for all of them. Shape (n,)."""
        inside = np.ones(len(times), dtype=bool)
        if self.since is not None:
            inside &= times >= self.since
        if self.until is not None:
            inside &= times < self.until
        return None if inside.all() else inside


@dataclass(frozen=True, kw_only=True, slots=True)
class Slab:
    """Rows that lie behind each other, as the parts in which they were kept; columns as in a table's rows."""

    parts: tuple[Mapping[str, Array], ...]

    def __len__(self) -> int:
        return sum(len(part["version"]) for part in self.parts)

    def column(self, name: str) -> Array:
        """One column of all rows. Shape (n,) or (n, width)."""
        found = [part[name] for part in self.parts]
        width = max(values.shape[1] if values.ndim == 2 else 0 for values in found)
        if width:
            found = [widened(values, width) for values in found]
        return found[0] if len(found) == 1 else np.concatenate(found)


class History:
    """Predictions of a model, and the outcomes that are in force, as of when this was made.

    Args:
        store: Where they are kept.
        model: Whose they are.
    """

    def __init__(self, store: Store, model: str) -> None:
        # The labels first: all that they are of is then among the rows.
        labels = [columns_of(chunk.batch.select(["seq", "y_true"])) for chunk in store.chunks(f"{LABELS}/{model}")]
        self._chunks = list(store.chunks(f"{ROWS}/{model}"))
        self.rows = self._chunks[-1].end if self._chunks else 0
        self.y_true = _in_force(labels, self.rows)

    def pieces(self, span: Span = Span()) -> list[Piece[Slab]]:  # noqa: B008 - a frozen value
        """All rows in order, except pieces that lie outside the span as a whole."""
        return [
            Piece(name=f"rows {start + 1:,} to {min(start + PIECE_ROWS, self.rows):,}", work=slab)
            for start in range(0, self.rows, PIECE_ROWS)
            if (slab := self._slab(start, start + PIECE_ROWS, span)).parts
        ]

    def _slab(self, start: int, end: int, span: Span) -> Slab:
        found = [
            self._part(chunk, max(start, chunk.first), min(end, chunk.end))
            for chunk in self._chunks
            if chunk.first < end and start < chunk.end
        ]
        return Slab(parts=tuple(found) if any(_reaches(part["time"], span) for part in found) else ())

    def _part(self, chunk: Chunk, start: int, end: int) -> dict[str, Array]:
        there = [name for name in _COLUMNS if name in chunk.batch.schema.names]
        part = columns_of(chunk.batch.select(there).slice(start - chunk.first, end - start))
        for name in _COLUMNS:
            if name not in part:
                dtype, empty = ROW[name]
                part[name] = np.full(end - start, empty, dtype)
        part["y_true"] = self.y_true[start:end]
        return part


def _reaches(times: Int64, span: Span) -> bool:
    inside = span.holds(times)
    return inside is None or bool(inside.any())


def _in_force(labels: list[dict[str, Array]], rows: int) -> Floats:
    """The last outcome of each row, NaN where there is none. Shape (rows,) or (rows, width)."""
    width = max((label["y_true"].shape[1] for label in labels if label["y_true"].ndim == 2), default=0)
    found = np.full((rows + 1, width) if width else rows + 1, np.nan)
    for label in labels:
        found[label["seq"]] = widened(label["y_true"], width) if width else label["y_true"]
    return found[1:]
