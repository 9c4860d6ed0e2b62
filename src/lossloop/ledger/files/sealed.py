"""A sealed segment, read back as the frames that it was: same order, same positions, same batches."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lossloop.core.clock import Micros
from lossloop.core.errors import StateError
from lossloop.ledger.base import Entry, Position
from lossloop.ledger.files import frameindex, frametable, manifests
from lossloop.ledger.files.frameindex import DAMAGED, FrameIndex
from lossloop.ledger.files.manifests import Blob, Manifest, Table
from lossloop.ledger.frames import Damage, Frame, Kind

_GROUPS_KEPT = 4
"""Row groups of each table that are kept: frames of one schema lie one behind the other."""

Rows = Callable[[int, int], pa.RecordBatch | None]


class SealedSegment:
    """Reads what a manifest names.

    Raises:
        FileNotFoundError: The segment has no manifest. Its other methods raise it where a file is missing:
            the segment was rewritten since, or somebody deleted it.
        StateError: The manifest is damaged.
    """

    def __init__(self, log: Path, name: str, manifest: Manifest | None = None) -> None:
        self.name = name
        self._root = manifests.sealed_directory(log)
        self.manifest = manifests.read(log, name) if manifest is None else manifest
        self._tables: dict[int, _Rows | _Frames | _Gone] = {}

    def next_time(self, start: int) -> Micros | None:
        """Where the first frame behind `start` stands in the order of the log; None where nothing is."""
        if start >= self.manifest.end:
            return None
        if not start:
            return self.manifest.first
        place = int(np.searchsorted(self.index.end, start, side="right"))
        return max(0, int(self.index.time[place])) if self.index.kind[place] != DAMAGED else 0

    def entries(self, start: int, most: int) -> list[Entry]:
        """The frames behind `start`, from about `most` bytes of the segment as it was; a larger one alone."""
        ends = self.index.end
        first = int(np.searchsorted(ends, start, side="right"))
        stop = max(int(np.searchsorted(ends, start + most, side="right")), first + 1)
        return [self.entry(place) for place in range(first, min(stop, len(ends)))]

    def ended(self, start: int) -> bool:
        """Whether nothing will ever come behind `start`."""
        return start >= self.manifest.end

    def sync(self) -> None:
        """What is sealed is on disk."""

    def close(self) -> None:
        """Forget what was read; closing twice is harmless."""
        for table in self._tables.values():
            table.close()
        self._tables.clear()

    @cached_property
    def index(self) -> FrameIndex:
        """Which rows were one frame.

        Raises:
            StateError: It is damaged.
        """
        return frameindex.read(checked(self._root, self.manifest.index))

    @cached_property
    def _places(self) -> list[tuple[int, int, int, int, int, int]]:
        """Start, end, kind, time, table, first row in the table; Python's own numbers are faster singly."""
        index = self.index
        raw = [not table.schema for table in self.manifest.tables]
        columns = (index.start, index.end, index.kind, index.time, index.table, index.first_in_table(raw))
        return list(zip(*(column.tolist() for column in columns), strict=True))

    def entry(self, place: int) -> Entry:
        """What is at a place of the index."""
        start, end, kind, time, table, first = self._places[place]
        position = Position(segment=self.name, offset=end)
        batch = None if kind == DAMAGED else self._table(table).batch(first, int(self.index.rows[place]))
        if batch is None:
            return Entry(position=position, frame=Damage(start=start, end=end))
        return Entry(position=position, frame=Frame(kind=Kind(kind), time=time, batch=batch))

    def _table(self, number: int) -> _Rows | _Frames | _Gone:
        found = self._tables.get(number)
        if found is None:
            table = self.manifest.tables[number]
            found = self._tables[number] = _opened(self._root, table)
        return found


class _Rows:
    """Frames that are rows."""

    def __init__(self, root: Path, table: Table) -> None:
        self._schema = manifests.schema_of(table)
        self._groups = _Groups(root, table) if table.file.path else None
        self._batches: OrderedDict[int, pa.RecordBatch] = OrderedDict()

    def batch(self, first: int, rows: int) -> pa.RecordBatch | None:
        """A frame's rows; None where they cannot be read."""
        if not rows:
            return pa.RecordBatch.from_pylist([], schema=self._schema)
        if self._groups is None:
            return None
        number, begins = self._groups.place(first)
        batch = self._batches.get(number)
        if batch is None:
            found = self._groups.read(number)
            if found is None:
                return None
            batch = self._batches[number] = frametable.batch_from(found, self._schema)
            while len(self._batches) > _GROUPS_KEPT:
                self._batches.popitem(last=False)
        return batch.slice(first - begins, rows)

    def close(self) -> None:
        self._batches.clear()
        if self._groups is not None:
            self._groups.close()


class _Frames:
    """Frames kept as they were, one in each row."""

    def __init__(self, root: Path, table: Table) -> None:
        self._groups = _Groups(root, table)
        self._last: tuple[int, pa.Table | None] = (-1, None)

    def batch(self, first: int, rows: int) -> pa.RecordBatch | None:
        number, begins = self._groups.place(first)
        if self._last[0] != number:
            self._last = (number, self._groups.read(number))
        found = self._last[1]
        return None if found is None else frametable.payload_batch(found, first - begins)

    def close(self) -> None:
        self._last = (-1, None)
        self._groups.close()


class _Gone:
    """A table whose file cannot be read at all: its end is damaged."""

    def batch(self, first: int, rows: int) -> pa.RecordBatch | None:
        return None

    def close(self) -> None:
        """Nothing is held."""


class _Groups:
    """The row groups of a Parquet file, each compared with its checksum before it is read.

    Raises:
        pa.ArrowInvalid: The file's end, which says where they are, is damaged.
    """

    def __init__(self, root: Path, table: Table) -> None:
        self._path = root / table.file.path
        self._pieces = table.pieces
        if not self._pieces or not frametable.holds(self._path, self._pieces, len(self._pieces) - 1):
            raise pa.ArrowInvalid("its end was changed")
        self._file: pq.ParquetFile = frametable.opened(self._path)
        counts = [self._file.metadata.row_group(i).num_rows for i in range(self._file.num_row_groups)]
        self._begins = np.cumsum([0, *counts])
        if table.schema and self._begins[-1] != table.rows:
            raise pa.ArrowInvalid("another number of rows than was sealed")

    def place(self, row: int) -> tuple[int, int]:
        """The row group that a row of the file lies in, and the group's first row."""
        number = int(np.searchsorted(self._begins, row, side="right")) - 1
        return number, int(self._begins[number])

    def read(self, number: int) -> pa.Table | None:
        """A row group; None where it is damaged."""
        try:
            whole = frametable.holds(self._path, self._pieces, number)
            return self._file.read_row_group(number) if whole else None
        except FileNotFoundError:
            raise
        except (OSError, pa.ArrowException):
            return None

    def close(self) -> None:
        self._file.close()


def checked(root: Path, blob: Blob) -> bytes:
    """The bytes of a file that is read whole.

    Raises:
        StateError: They are not those that were sealed.
    """
    raw = (root / blob.path).read_bytes()
    if hashlib.blake2b(raw, digest_size=32).hexdigest() != blob.digest:
        raise StateError(f"{root / blob.path} is damaged; restore it from a backup")
    return raw


def _opened(root: Path, table: Table) -> _Rows | _Frames | _Gone:
    try:
        return _Rows(root, table) if table.schema else _Frames(root, table)
    except FileNotFoundError:
        raise
    except (OSError, pa.ArrowException):
        return _Gone()
