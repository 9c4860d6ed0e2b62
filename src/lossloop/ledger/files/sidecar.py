"""The sidecar of a sealed segment: sorted 64-bit hashes of ids, and the rows that they are on.

An Arrow file that is mapped, so that one id is found by looking at a few pages. The hash has no secret: ids
that were chosen to collide cost a look at more rows, and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from lossloop.ledger.facts import ids_of
from lossloop.ledger.frames import Frame
from lossloop.ledger.joined.keys import Int64, Keys, UInt64

_KEYS = Keys(b"lossloop.sidecar")
_SCHEMA = pa.schema([("hash", pa.uint64()), ("row", pa.uint32())])
_AT_ONCE = 1 << 18
"""Ids that wait to be hashed together."""
Part = tuple[UInt64, Int64]
"""Hashes, and the rows of the segment that they are on. Shapes (n,), (n,)."""


def hashes_of(ids: pa.Array) -> UInt64:
    """The hashes of ids, none of them null. Shape (n,)."""
    return _KEYS.of(ids)[1]


class Collector:
    """Collects the ids of frames, and hashes many at once.

    Frames are given one after the other; rows of those that are not count too.
    """

    def __init__(self) -> None:
        self.parts: list[Part] = []
        self._ids: list[pa.Array] = []
        self._firsts: list[int] = []
        self._waiting = 0

    def add(self, frame: Frame, first_row: int) -> None:
        """Add a frame, if it has ids; `first_row` is the number of its first row in the segment."""
        ids = ids_of(frame)
        if ids is None or not len(ids):
            return
        self._ids.append(ids.cast(pa.string()) if pa.types.is_large_string(ids.type) else ids)
        self._firsts.append(first_row)
        self._waiting += len(ids)
        if self._waiting >= _AT_ONCE:
            self.flush()

    def flush(self) -> list[Part]:
        """Hash what waits; return all parts."""
        if self._ids:
            counts = np.array([len(ids) for ids in self._ids])
            before = np.cumsum(counts) - counts
            rows = np.arange(counts.sum()) + np.repeat(np.array(self._firsts) - before, counts)
            ids = pa.concat_arrays(self._ids)
            if ids.null_count:
                rows = rows[ids.is_valid().to_numpy(zero_copy_only=False)]
                ids = ids.drop_null()
            self.parts.append((hashes_of(ids), rows))
            self._ids, self._firsts, self._waiting = [], [], 0
        return self.parts


def write(path: Path, parts: Sequence[Part]) -> None:
    """Write a sidecar of all parts, sorted."""
    hashes = np.concatenate([part[0] for part in parts])
    rows = np.concatenate([part[1] for part in parts]).astype(np.uint32)
    order = np.argsort(hashes, kind="stable")
    batch = pa.RecordBatch.from_arrays([pa.array(hashes[order]), pa.array(rows[order])], schema=_SCHEMA)
    with path.open("wb") as file, pa.ipc.new_file(file, _SCHEMA) as writer:
        writer.write_batch(batch)


def read(path: Path) -> Part:
    """All hashes, sorted, and their rows; mapped, so only what is looked at is read."""
    with pa.memory_map(str(path)) as file, pa.ipc.open_file(file) as reader:
        batch = reader.get_batch(0)
    return batch.column("hash").to_numpy(), batch.column("row").to_numpy()


def find(path: Path, hashes: UInt64) -> Int64:
    """The rows on which any of these hashes stands, sorted; ids have to be compared still. Shape (n,)."""
    known, rows = read(path)
    first, last = np.searchsorted(known, hashes, side="left"), np.searchsorted(known, hashes, side="right")
    found = [rows[one:other] for one, other in zip(first, last, strict=True) if one < other]
    return np.unique(np.concatenate(found)).astype(np.int64) if found else np.zeros(0, np.int64)
