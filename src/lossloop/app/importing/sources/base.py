"""The contract of a source: rows in an order, piece by piece, from any row on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

Int64 = np.ndarray[Any, np.dtype[np.int64]]

ROWS_AT_ONCE = 50_000
BYTES_AT_ONCE = 32 * 1024 * 1024
"""A piece has no more rows, and about no more bytes, so that it is one frame of the log."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Malformed:
    """What stands where a row should, and is none."""

    row: int
    reason: str
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """Some rows of a source, as it has them.

    Args:
        rows: The number of each row in its source, from 1. Shape (n,).
        columns: Arrow arrays of n values by the source's names.
        malformed: Rows among them, or right behind them, that are none.
        read: How many rows of the source were read with this piece, malformed ones too.
        share: How much of the source that is, from 0 to 1; None where nobody knows.
    """

    rows: Int64
    columns: Mapping[str, pa.Array]
    read: int
    share: float | None = None
    malformed: Sequence[Malformed] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.rows)


class Source(Protocol):
    """Rows to be imported; close it."""

    name: str
    """As errors and answers call it; without passwords."""
    repeatable: bool
    """Whether its rows come in the same order whenever they are read."""

    def digest(self) -> str:
        """What tells this source from others: of its content, where that is at rest."""
        ...

    def columns(self) -> list[str]:
        """The names of its columns, in order.

        Raises:
            InputError: It cannot be read as what it should be.
        """
        ...

    def pieces(self, wanted: Sequence[str], *, after: int = 0) -> Iterator[Piece]:
        """Some columns of the rows behind the first `after` ones.

        Raises:
            InputError: It cannot be read to its end; what came before can be used.
            StateError: It was changed since its digest was taken.
        """
        ...

    def close(self) -> None:
        """Give back what it holds; closing twice is harmless."""
        ...


def cut(
    columns: Mapping[str, pa.Array],
    rows: Int64,
    *,
    most_rows: int = ROWS_AT_ONCE,
    most_bytes: int = BYTES_AT_ONCE,
) -> Iterator[tuple[Int64, dict[str, pa.Array]]]:
    """Rows in parts that are small enough for one frame."""
    count = len(rows)
    size = sum(column.nbytes for column in columns.values())
    if count <= most_rows and (size <= most_bytes or count <= 1):
        if count:
            yield rows, dict(columns)
        return
    step = most_rows if count > most_rows else (count + 1) // 2
    for start in range(0, count, step):
        part = {name: column.slice(start, step) for name, column in columns.items()}
        yield from cut(part, rows[start : start + step], most_rows=most_rows, most_bytes=most_bytes)
