"""A stream of columns in a store: appended in small chunks, merged into large ones as they gather."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from lossloop.ledger.joined.columns import Array, Int64, batch_of, columns_of, widened
from lossloop.ledger.store import Store

Columns = Mapping[str, Array]

_SMALL, _MIDDLE, _MOST = 4_096, 65_536, 131_072
"""Rows: chunks up to the first two are merged with their neighbours, once 32 of them or `_MOST` rows came."""
_GATHERED = 32


class Stream:
    """Appends to one stream and remembers how it is cut.

    Args:
        store: Where it lies; append inside a transaction of it.
        name: Such as ``rows/flight-delay``.
        empty: What a column holds where a chunk does not have it.
    """

    def __init__(self, store: Store, name: str, empty: Mapping[str, float | int] | None = None) -> None:
        self._store = store
        self.name = name
        self._empty = empty or {}
        self._cuts: list[tuple[int, int]] = []
        self.rows = 0

    def read(self) -> Iterator[Columns]:
        """All chunks, from the first; read once, before the first append."""
        for chunk in self._store.chunks(self.name):
            self._cuts.append((chunk.first, chunk.batch.num_rows))
            self.rows = chunk.end
            yield columns_of(chunk.batch)

    def cut_before(self, row: int) -> int:
        """The number that the chunk with this row begins behind."""
        place = bisect_right(self._cuts, row, key=lambda cut: cut[0]) - 1
        return self._cuts[place][0] - 1 if place >= 0 else -1

    def append(self, columns: Columns) -> None:
        """Add rows at the end."""
        rows = len(next(iter(columns.values())))
        if not rows:
            return
        self._store.put_chunk(self.name, self.rows, batch_of(columns))
        self._cuts.append((self.rows, rows))
        self.rows += rows
        for limit in (_SMALL, _MIDDLE):
            self._merge(limit)

    def rewrite_around(self, rows: Int64, read: Callable[[int, int], Columns]) -> None:
        """Write the chunks anew that hold some rows; `read` gives the rows from one number to another."""
        for first, count in self._cuts:
            if ((rows >= first) & (rows < first + count)).any():
                self._store.put_chunk(self.name, first, batch_of(read(first, first + count)))

    def rewrite(self, columns: Columns) -> None:
        """Replace all rows by these."""
        self._store.drop_stream(self.name)
        self._cuts.clear()
        self.rows = 0
        self.append(columns)

    def _merge(self, limit: int) -> None:
        run = 0
        while run < len(self._cuts) and self._cuts[-1 - run][1] <= limit:
            run += 1
        cuts = self._cuts[len(self._cuts) - run :]
        if run < 2 or (run < _GATHERED and sum(rows for _, rows in cuts) < _MOST):
            return
        first = cuts[0][0]
        found = [columns_of(chunk.batch) for chunk in self._store.chunks(self.name, after=first - 1)]
        self._store.put_chunk(self.name, first, batch_of(stacked(found, self._empty)))
        self._cuts[len(self._cuts) - run :] = [(first, self.rows - first)]


def stacked(parts: Sequence[Columns], empty: Mapping[str, float | int]) -> dict[str, Array]:
    """Columns one below the other; one that a part lacks is filled, lists are made as wide as the widest."""
    names = dict.fromkeys(name for part in parts for name in part)
    return {name: _column(name, parts, empty) for name in names}


def _column(name: str, parts: Sequence[Columns], empty: Mapping[str, float | int]) -> Array:
    there = [part[name] for part in parts if name in part]
    width = max((values.shape[1] for values in there if values.ndim == 2), default=0)
    found: list[Array] = []
    for part in parts:
        values = part.get(name)
        if values is None:
            rows = len(next(iter(part.values())))
            values = np.full(rows, empty[name], there[0].dtype)
        found.append(widened(values, width) if width else values)
    return np.concatenate(found)
