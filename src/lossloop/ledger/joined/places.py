"""Where predictions lie in the log: the frame of each row, so that one is found with all that was sent."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from lossloop.ledger.joined.columns import Int64
from lossloop.ledger.removals import Stretches
from lossloop.ledger.store import Store

FRAMES = "frames"
_AT_ONCE = 4096


class Places:
    """Notes which frame a model's rows came in.

    Args:
        store: Where the notes lie: the stream ``frames/<model>``, with columns first (the row that the
            frame would begin with, from 0), segment, and start (the offset that the frame lies behind).
        model: Whose rows.
    """

    def __init__(self, store: Store, model: str) -> None:
        self._store = store
        self._name = f"{FRAMES}/{model}"
        self._new: list[tuple[int, str, int]] = []
        self._cuts: list[tuple[int, int]] = []
        self._count = 0
        for chunk in store.chunks(self._name):
            self._cuts.append((chunk.first, chunk.batch.num_rows))
            self._count = chunk.end

    def note(self, first: int, segment: str, start: int) -> None:
        """A frame is about to be taken, when the table has `first` rows."""
        self._new.append((first, segment, start))

    def rows_in(self, segment: str, total: int, numbers: Stretches = ()) -> int:
        """How many of the model's `total` rows came in a segment, or in its frames with some numbers."""
        frames = self._frames()
        if frames is None:
            return 0
        firsts = frames.column("first").to_numpy()
        counts = np.diff(firsts, append=total)
        return int(counts[_mine(frames, segment, numbers)].sum())

    def are_in(self, segment: str, rows: Int64, total: int, numbers: Stretches = ()) -> npt.NDArray[np.bool_]:
        """Which of some rows came in a segment, or in its frames with some numbers. Shape (n,)."""
        frames = self._frames()
        if frames is None:
            return np.zeros(len(rows), dtype=bool)
        places = np.searchsorted(frames.column("first").to_numpy(), rows, side="right") - 1
        return _mine(frames, segment, numbers)[places] & (places >= 0) & (rows < total)

    def _frames(self) -> pa.Table | None:
        """All notes."""
        batches = [chunk.batch for chunk in self._store.chunks(self._name)]
        if self._new:
            batches.append(self._batch())
        return pa.Table.from_batches(batches) if batches else None

    def flush(self) -> None:
        """Write what was noted since the last flush; call it inside a transaction."""
        if not self._new:
            return
        self._store.put_chunk(self._name, self._count, self._batch())
        self._cuts.append((self._count, len(self._new)))
        self._count += len(self._new)
        self._new.clear()
        self._merge()

    def _batch(self) -> pa.RecordBatch:
        first, segment, start = zip(*self._new, strict=True)
        return pa.RecordBatch.from_pydict(
            {"first": first, "segment": segment, "start": start}, schema=_SCHEMA
        )

    def _merge(self) -> None:
        run = [cut for cut in self._cuts if cut[1] < _AT_ONCE]
        if len(run) < 32:
            return
        first = run[0][0]
        batches = [chunk.batch for chunk in self._store.chunks(self._name, after=first - 1)]
        merged = pa.Table.from_batches(batches).combine_chunks().to_batches()[0]
        self._store.put_chunk(self._name, first, merged)
        self._cuts = [*(cut for cut in self._cuts if cut[0] < first), (first, merged.num_rows)]


def _mine(frames: pa.Table, segment: str, numbers: Stretches) -> npt.NDArray[np.bool_]:
    """Which notes are of a segment, or of its frames with some numbers. Shape (frames,).

    A frame begins behind the number before its own.
    """
    mine: npt.NDArray[np.bool_] = pc.equal(frames.column("segment"), segment).to_numpy()
    if not numbers:
        return mine
    lows, highs = np.array(sorted(numbers), np.int64).T
    number = frames.column("start").to_numpy() + 1
    place = np.searchsorted(lows, number, side="right") - 1
    within: npt.NDArray[np.bool_] = mine & (place >= 0) & (number <= highs[place])
    return within


_SCHEMA = pa.schema([("first", pa.int64()), ("segment", pa.string()), ("start", pa.int64())])


def place_of(store: Store, model: str, row: int) -> tuple[str, int] | None:
    """The segment of a model's row, and the offset behind which its frame lies; None where none was noted."""
    found: tuple[str, int] | None = None
    for chunk in store.chunks(f"{FRAMES}/{model}"):
        firsts = chunk.batch.column("first").to_numpy()
        place = int(np.searchsorted(firsts, row, side="right")) - 1
        if place < 0:
            break
        found = (chunk.batch.column("segment")[place].as_py(), chunk.batch.column("start")[place].as_py())
    return found


@dataclass(frozen=True, kw_only=True, slots=True)
class Came:
    """Rows `first` to `end` of a table, counted from 0, which came in one frame."""

    first: int
    end: int
    segment: str
    start: int
    """The offset that the frame lies behind."""


def frames_of(store: Store, model: str, rows: int) -> list[Came]:
    """The frames that a model's `rows` rows came in, in their order, less those that brought nothing new."""
    batches = [chunk.batch for chunk in store.chunks(f"{FRAMES}/{model}")]
    if not batches:
        return []
    noted = pa.Table.from_batches(batches)
    firsts = noted.column("first").to_numpy()
    ends = np.append(firsts[1:], rows)
    there = np.flatnonzero((firsts < ends) & (firsts < rows))
    kept = noted.take(pa.array(there))
    columns = (firsts[there].tolist(), np.minimum(ends[there], rows).tolist(), *(
        kept[name].to_pylist() for name in ("segment", "start")
    ))  # fmt: skip
    return [
        Came(first=first, end=end, segment=segment, start=start)
        for first, end, segment, start in zip(*columns, strict=True)
    ]


def first_places(store: Store, model: str, rows: Int64) -> dict[str, int]:
    """Of each segment that holds some of a model's rows: behind which offset the first frame of these lies.

    Args:
        store: Where the notes lie.
        model: Whose rows.
        rows: Ascending. Shape (n,).
    """
    batches = [chunk.batch for chunk in store.chunks(f"{FRAMES}/{model}")]
    if not batches or not len(rows):
        return {}
    frames = pa.Table.from_batches(batches)
    places = np.unique(np.searchsorted(frames.column("first").to_numpy(), rows, side="right") - 1)
    noted = frames.take(pa.array(places[places >= 0]))
    found: dict[str, int] = {}
    for segment, start in zip(noted["segment"].to_pylist(), noted["start"].to_pylist(), strict=True):
        found.setdefault(segment, start)
    return found
