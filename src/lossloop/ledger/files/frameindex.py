"""Which rows of a sealed segment were one frame: its end, kind, receipt time, table and number of rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from lossloop.ledger.joined.keys import Int64

DAMAGED = 0
"""The kind of bytes that were no frame."""
NOWHERE = -1
"""The table of frames that are in none: damage."""

_SCHEMA = pa.schema(
    {"end": pa.int64(), "kind": pa.uint8(), "time": pa.int64(), "table": pa.int16(), "rows": pa.int64()}
)


@dataclass(frozen=True, kw_only=True)
class FrameIndex:
    """One entry per frame, or run of damage, in the order of the segment. All of shape (n,)."""

    end: Int64
    kind: np.ndarray[Any, np.dtype[np.uint8]]
    time: Int64
    table: np.ndarray[Any, np.dtype[np.int16]]
    rows: Int64

    def __len__(self) -> int:
        return len(self.end)

    @property
    def start(self) -> Int64:
        """Where each begins: where the one before it ends."""
        return np.concatenate([[0], self.end[:-1]]) if len(self) else self.end

    @property
    def first_row(self) -> Int64:
        """The number of each frame's first row among all rows of the segment, from 0."""
        return np.cumsum(self.rows) - self.rows

    def first_in_table(self, raw: Sequence[bool]) -> Int64:
        """The number of each frame's first row in its table; one row each where frames are kept as they were.

        Args:
            raw: For each table, whether it keeps frames as they were.
        """
        found = np.zeros(len(self), np.int64)
        for number, whole in enumerate(raw):
            here = self.table == number
            counts = np.ones(int(here.sum()), np.int64) if whole else self.rows[here]
            found[here] = np.cumsum(counts) - counts
        return found

    def frames_of(self, rows: Int64) -> Int64:
        """The places of the frames that have these rows of the segment, sorted, each once."""
        return np.unique(np.searchsorted(np.cumsum(self.rows), rows, side="right"))

    def latest(self) -> Int64:
        """Where each stands in the order of the log: no entry comes before the one before it."""
        times = np.where(self.kind == DAMAGED, 0, self.time)
        return np.maximum.accumulate(np.maximum(times, 0)) if len(self) else times


def made(entries: Sequence[tuple[int, int, int, int, int]]) -> FrameIndex:
    """An index of tuples (end, kind, time, table, rows)."""
    columns = np.array(entries, np.int64).reshape(-1, 5).T
    return FrameIndex(
        end=columns[0],
        kind=columns[1].astype(np.uint8),
        time=columns[2],
        table=columns[3].astype(np.int16),
        rows=columns[4],
    )


def write(path: Path, index: FrameIndex) -> None:
    """Write an index; it is small, so it is compressed."""
    columns = [index.end, index.kind, index.time, index.table, index.rows]
    batch = pa.RecordBatch.from_arrays([pa.array(column) for column in columns], schema=_SCHEMA)
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with path.open("wb") as file, pa.ipc.new_file(file, _SCHEMA, options=options) as writer:
        writer.write_batch(batch)


def read(raw: bytes) -> FrameIndex:
    """An index from a file's bytes, which the caller has checked against their digest."""
    with pa.ipc.open_file(pa.py_buffer(raw)) as reader:
        batch = reader.get_batch(0)
    return FrameIndex(**{field.name: batch.column(i).to_numpy() for i, field in enumerate(_SCHEMA)})
