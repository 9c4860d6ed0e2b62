"""The contract of a log: facts go in and are durable; they come out in order, as often as asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Protocol

from lossloop.core.clock import Micros
from lossloop.ledger.frames import Damage, Frame

Offsets = Mapping[str, int]
"""How far each segment has been read: segment name to byte offset."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Position:
    """Where an append ended: everything up to it is durable."""

    segment: str
    offset: int

    def reached_by(self, offsets: Offsets) -> bool:
        """Whether a reader at `offsets` has read all that was appended."""
        return offsets.get(self.segment, 0) >= self.offset


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """A frame, or damage, and the position behind it."""

    position: Position
    frame: Frame | Damage
    start: int | None = None
    """The offset that it begins behind; None where that is the end of the one before it."""


def merged(segments: Mapping[str, Sequence[Entry]], cut: AbstractSet[str]) -> list[Entry]:
    """Entries of several segments by receipt time, ties by segment; each segment stays in its own order.

    Segments in `cut` go on behind what was read of them, so what belongs behind their last entry has to wait:
    the order does not depend on how much is read at once.
    """
    keyed: list[tuple[Micros, str, Entry]] = []
    limits: list[tuple[Micros, str]] = []
    for segment, entries in segments.items():
        time = 0
        for entry in entries:
            time = time if isinstance(entry.frame, Damage) else max(time, entry.frame.time)
            keyed.append((time, segment, entry))
        if segment in cut and entries:
            limits.append((time, segment))
    keyed.sort(key=lambda each: each[:2])
    limit = min(limits, default=None)
    return [entry for time, segment, entry in keyed if limit is None or (time, segment) <= limit]


class LogWriter(Protocol):
    """Appends facts."""

    def append(self, frames: Sequence[Frame]) -> Position:
        """Make the frames durable, all or none of them acknowledged.

        Raises:
            StorageFull: The disk takes no more; none of the frames is in the log.
        """
        ...

    def close(self) -> None:
        """Give back what the writer holds; closing twice is harmless."""
        ...


class LogReader(Protocol):
    """Reads facts."""

    def read(self, after: Offsets, *, most: int = ...) -> Iterator[Entry]:
        """Yield what lies behind `after`: each segment in its own order, several merged by receipt time.

        So a log that is read again from its beginning is read in the order in which its facts came. At most
        about `most` bytes are read of each segment per call, so that one transaction stays small and no
        segment waits for another; a frame that is larger is read whole.
        """
        ...

    def behind(self, after: Offsets) -> bool:
        """Whether a whole frame lies behind `after`."""
        ...

    def sync(self, segments: Sequence[str]) -> None:
        """Make sure that what was read of these segments is durable, before anything derived from it is."""
        ...

    def close(self) -> None:
        """Give back what the reader holds; closing twice is harmless."""
        ...


def entries_of(reader: LogReader, behind: Offsets | None = None) -> Iterator[Entry]:
    """All that a log holds, or what lies behind offsets, in its order; ends where the log ends just then."""
    after: dict[str, int] = {**(behind or {})}
    while entries := list(reader.read(after)):
        after |= {entry.position.segment: entry.position.offset for entry in entries}
        yield from entries


class Log(Protocol):
    """A log that can be opened for writing, by several processes, and for reading."""

    def writer(self) -> LogWriter:
        """A writer with a segment of its own."""
        ...

    def reader(self) -> LogReader:
        """A reader of all segments."""
        ...
