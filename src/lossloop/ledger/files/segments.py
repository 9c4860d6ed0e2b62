"""The embedded log: append-only segment files, one writer each, in a directory; finished ones are sealed."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import heapq
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from lossloop.core.clock import Micros
from lossloop.core.errors import StateError, StorageFull
from lossloop.core.ids import new_id, uuid7
from lossloop.ledger.base import Entry, Offsets, Position, merged
from lossloop.ledger.files.durable import explained
from lossloop.ledger.files.listing import Listing
from lossloop.ledger.files.manifests import MANIFEST, index_directory, segment_of
from lossloop.ledger.files.opened import READ_AT_ONCE, SUFFIX, OpenSegment
from lossloop.ledger.files.opened import sync as _sync
from lossloop.ledger.files.sealed import SealedSegment
from lossloop.ledger.floor import Floor, Newest
from lossloop.ledger.frames import Damage, Frame, encode, seed_of

__all__ = ["READ_AT_ONCE", "SUFFIX", "SegmentLog", "SegmentReader", "SegmentWriter"]

MOST_OPEN = 128
"""Segments that a reader keeps open: a directory may hold more of them than a process may open files."""
ROLL_AT = 64 * 1024 * 1024
ROLL_AFTER = 86_400.0
"""A writer begins another segment once its own has this many bytes, or is this many seconds old."""
SEGMENTS_AT_ONCE = 4
"""A read takes no further segment once it has so many times what it was to take of one."""
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

_UNKNOWN = 1 << 62
"""Where a segment ends that may still grow."""

Source = OpenSegment | SealedSegment
Key = tuple[Micros, str]
Answer = TypeVar("Answer")


class SegmentLog:
    """A directory of segments; its names sort by the time at which they were begun.

    Args:
        directory: Where they lie; what is sealed lies in `sealed` below it.
        roll_at: Bytes from which a writer begins another segment.
        newest: Tells a writer's first append before which receipt time none may lie; none by default.
    """

    def __init__(self, directory: Path, *, roll_at: int = ROLL_AT, newest: Newest | None = None) -> None:
        self.directory = directory
        self._roll_at = roll_at
        self._newest = newest

    def writer(self) -> SegmentWriter:
        self.directory.mkdir(parents=True, exist_ok=True)
        return SegmentWriter(self.directory, roll_at=self._roll_at, newest=self._newest)

    def reader(self) -> SegmentReader:
        return SegmentReader(self.directory)


class SegmentWriter:
    """Appends to a file that nobody else writes, and goes on in another one when that is large or old.

    The file is made at the first append, and locked for as long as the writer may write to it: a segment
    without a lock is finished.
    """

    def __init__(self, directory: Path, *, roll_at: int = ROLL_AT, newest: Newest | None = None) -> None:
        self._directory = directory
        self._roll_at = roll_at
        self._floor = Floor(newest)
        self._time: Micros = 0
        self.segment = ""
        self._begin()

    def _begin(self) -> None:
        self.segment = name_after(self.segment)
        self._seed = seed_of(self.segment)
        self._fd = -1
        self._end = 0
        self._old = float("inf")
        self._closed = False

    def append(self, frames: Sequence[Frame]) -> Position:
        if self._closed or self._end >= self._roll_at or time.monotonic() >= self._old:
            self.close()
            self._begin()
        with explained(self._directory):
            frames = self._floor.lifted(frames)
        data = b"".join(encode(frame, self._seed) for frame in self._in_order(frames))
        if not data:
            return Position(segment=self.segment, offset=self._end)
        try:
            if self._fd < 0:
                self._fd = _create(self._directory, self.segment)
                self._old = time.monotonic() + ROLL_AFTER
            _write_all(self._fd, data)
            _sync(self._fd)
        except OSError as error:
            self._retreat()
            if error.errno in _FULL:
                raise StorageFull(
                    f"no room for {len(data)} bytes in {self._directory}; free some space"
                ) from error
            raise StateError(f"cannot write to {self._directory}: {error.strerror}") from error
        self._end += len(data)
        self._time = max([self._time, *(frame.time for frame in frames)])
        return Position(segment=self.segment, offset=self._end)

    def _in_order(self, frames: Sequence[Frame]) -> Sequence[Frame]:
        """The frames; the first of a later segment is not before the last of the segment before.

        Requests are appended in another order than they came in, by some microseconds. Within a segment that
        changes nothing; across two, a later reading would take the later frame first.
        """
        if self._end or not frames or frames[0].time >= self._time or not self._time:
            return frames
        first = frames[0]
        return [Frame(kind=first.kind, time=self._time, batch=first.batch), *frames[1:]]

    def _retreat(self) -> None:
        """Cut what was written in part; where even that fails, leave the file and begin another.

        What lies behind the last acknowledged byte was never acknowledged. After a failed fdatasync the
        kernel may have dropped the dirty pages, so this file is not trusted with more. Nor is it left behind
        empty: on a full disk every attempt would leave one.
        """
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, self._end)
            if not self._end:
                with contextlib.suppress(OSError):
                    os.unlink(self._directory / self.segment)
            os.close(self._fd)
        self._begin()

    def close(self) -> None:
        """Finish the segment; an append after that begins another."""
        self._closed = True
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class SegmentReader:
    """Reads whole frames behind given offsets; a torn tail is left until it is whole.

    What is sealed and what is not is read alike. A segment that is finished and was read to its end costs
    nothing any more.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._open = Listing(directory, SUFFIX)
        self._sealed = Listing(index_directory(directory), MANIFEST)
        self._listed: tuple[tuple[str, ...], ...] = ()
        self._all: list[str] = []
        self._sources: dict[str, Source] = {}
        self._ends: dict[str, int] = {}

    def read(self, after: Offsets, *, most: int = READ_AT_ONCE) -> Iterator[Entry]:
        heads = [(moment, name) for name, moment in self._heads(after)]
        heapq.heapify(heads)
        found: dict[str, list[Entry]] = {}
        cut: dict[str, Key] = {}
        taken = 0
        while heads and heads[0] <= min(cut.values(), default=heads[0]):
            if taken >= SEGMENTS_AT_ONCE * most:
                _trim(found, cut, heads[0])
                break
            _, name = heapq.heappop(heads)
            start = after.get(name, 0)
            entries = self._entries(name, start, most)
            if entries:
                found[name], reached = entries, entries[-1].position.offset
                taken += reached - start
                if self._next_time(name, reached) is not None:
                    cut[name] = (_latest(entries), name)
        yield from merged(found, cut.keys())

    def behind(self, after: Offsets) -> bool:
        """Whether a whole frame lies behind `after`."""
        return next(self._heads(after), None) is not None

    def lacking(self, after: Offsets) -> list[str]:
        """Segments that are not there as far as they were read, up to `after`: deleted, or copied in use."""
        short = [name for name, offset in after.items() if _size_of(self._directory / name) < offset]
        sealed = {
            segment_of(name) for name in self._sealed.names()
        }  # in this order: one may be sealed just now
        return sorted(name for name in short if name not in sealed)

    def sync(self, segments: Sequence[str]) -> None:
        for segment in segments:
            source = self._source(segment)
            if source is not None:
                source.sync()

    def close(self) -> None:
        for source in self._sources.values():
            source.close()
        self._sources.clear()

    def _heads(self, after: Offsets) -> Iterator[tuple[str, Micros]]:
        """Segments with a whole frame behind `after`, and the receipt time of the first such frame."""
        for name in self._names():
            start = after.get(name, 0)
            if start >= self._ends.get(name, _UNKNOWN):
                continue
            moment = self._next_time(name, start)
            if moment is not None:
                yield name, moment
            elif self._ended(name, start):
                self._ends[name] = start
                self._forget(name)

    def _names(self) -> list[str]:
        # In this order: a segment that is sealed in between is found twice rather than not at all.
        listed = (self._open.names(), self._sealed.names())
        if listed != self._listed:
            self._listed = listed
            self._all = sorted({*listed[0], *map(segment_of, listed[1])})
        return self._all

    def _entries(self, name: str, start: int, most: int) -> list[Entry]:
        return self._asked(name, lambda source: source.entries(start, most)) or []

    def _next_time(self, name: str, start: int) -> Micros | None:
        return self._asked(name, lambda source: source.next_time(start))

    def _ended(self, name: str, start: int) -> bool:
        return bool(self._asked(name, lambda source: source.ended(start)))

    def _asked(self, name: str, ask: Callable[[Source], Answer]) -> Answer | None:
        """What a segment answers; None where it was begun and given up since it was listed."""
        for last in (False, True):
            source = self._source(name)
            try:
                return None if source is None else ask(source)
            except FileNotFoundError as error:  # rewritten since its manifest was read
                self._forget(name)
                if last:
                    raise StateError(
                        f"{error.filename} is missing, and the manifest of {name} names it; "
                        "restore it from a backup"
                    ) from None
        return None

    def _source(self, name: str) -> Source | None:
        source = self._sources.pop(name, None) or self._opened(name)
        if source is not None:
            if len(self._sources) >= MOST_OPEN:
                self._sources.pop(next(iter(self._sources))).close()
            self._sources[name] = source  # the one used last comes last
        return source

    def _opened(self, name: str) -> Source | None:
        for kind in (OpenSegment, SealedSegment):
            with contextlib.suppress(FileNotFoundError):
                return kind(self._directory, name)
        return None

    def _forget(self, name: str) -> None:
        source = self._sources.pop(name, None)
        if source is not None:
            source.close()


def _size_of(path: Path) -> int:
    """Bytes of a file, 0 where there is none."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _latest(entries: Sequence[Entry]) -> Micros:
    """The place of a segment's last entry in the order: no entry comes before the one before it."""
    return max([0, *(entry.frame.time for entry in entries if isinstance(entry.frame, Frame))])


def _trim(found: dict[str, list[Entry]], cut: dict[str, Key], before: Key) -> None:
    """Leave out what does not come before a segment that was not read."""
    for name, entries in found.items():
        latest, kept = 0, 0
        for entry in entries:
            latest = latest if isinstance(entry.frame, Damage) else max(latest, entry.frame.time)
            if (latest, name) >= before:
                break
            kept += 1
        if kept < len(entries):
            found[name] = entries[:kept]
            cut.pop(name, None)


def name_after(before: str) -> str:
    """A name for a segment that sorts behind another, also where the clock was set back."""
    name = new_id() + SUFFIX
    if name > before:
        return name
    milliseconds = int(before.replace("-", "")[:12], 16)
    return f"{uuid7(now_ms=milliseconds + 1)}{SUFFIX}"


def _create(directory: Path, segment: str) -> int:
    """Make the file; its name is on disk before anything in it is acknowledged.

    It is locked before it has its name: a segment without a lock is finished, and would never be read again.
    """
    unnamed, folder = f"{segment}.new", os.open(directory, os.O_RDONLY)
    try:
        fd = os.open(unnamed, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND, 0o600, dir_fd=folder)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            os.rename(unnamed, segment, src_dir_fd=folder, dst_dir_fd=folder)
            os.fsync(folder)
        except BaseException:
            os.close(fd)
            for name in (unnamed, segment):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=folder)
            raise
    finally:
        os.close(folder)
    return fd


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
