"""A log in memory: for tests, and for folding what need not survive."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from lossloop.core.ids import new_id
from lossloop.ledger.base import Entry, Offsets, Position, merged
from lossloop.ledger.frames import Frame


class MemoryLog:
    """Segments as lists of frames; an offset counts frames."""

    def __init__(self) -> None:
        self.segments: dict[str, list[Frame]] = {}

    def writer(self) -> MemoryWriter:
        return MemoryWriter(self)

    def reader(self) -> MemoryReader:
        return MemoryReader(self)


class MemoryWriter:
    """Appends to a segment of its own."""

    def __init__(self, log: MemoryLog) -> None:
        self._frames: list[Frame] = []
        self._segment = new_id()
        log.segments[self._segment] = self._frames

    def append(self, frames: Sequence[Frame]) -> Position:
        self._frames.extend(frames)
        return Position(segment=self._segment, offset=len(self._frames))

    def close(self) -> None:
        """Nothing is held."""


class MemoryReader:
    """Reads all segments; `most` does not matter, since everything is in memory already."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log

    def read(self, after: Offsets, *, most: int = 1 << 62) -> Iterator[Entry]:
        found: dict[str, list[Entry]] = {}
        for segment in sorted(self._log.segments):
            start = after.get(segment, 0)
            frames = list(self._log.segments[segment][start:])
            found[segment] = [
                Entry(position=Position(segment=segment, offset=index), frame=frame)
                for index, frame in enumerate(frames, start + 1)
            ]
        yield from merged(found, set())

    def behind(self, after: Offsets) -> bool:
        return any(len(frames) > after.get(name, 0) for name, frames in self._log.segments.items())

    def sync(self, segments: Sequence[str]) -> None:
        """Nothing here outlives the process."""

    def close(self) -> None:
        """Nothing is held."""
