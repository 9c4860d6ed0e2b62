"""The embedded log: one append-only segment file per writer, in a directory."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from lossloop.core.errors import StateError, StorageFull
from lossloop.core.ids import new_id
from lossloop.ledger.base import Entry, Offsets, Position, merged
from lossloop.ledger.frames import HEADER_SIZE, MAX_PAYLOAD, Frame, decode, encode, is_whole, seed_of, size_of

SUFFIX = ".seg"
READ_AT_ONCE = 16 * 1024 * 1024
MOST_OPEN = 128
"""Segments that a reader keeps open: a directory may hold more of them than a process may open files."""
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_sync = getattr(os, "fdatasync", os.fsync)  # macOS has only the latter


class SegmentLog:
    """A directory of segments; its names sort by the time at which they were begun."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def writer(self) -> SegmentWriter:
        self.directory.mkdir(parents=True, exist_ok=True)
        return SegmentWriter(self.directory)

    def reader(self) -> SegmentReader:
        return SegmentReader(self.directory)


class SegmentWriter:
    """Appends to one file that nobody else writes; the file is made at the first append."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._begin()

    def _begin(self) -> None:
        self.segment = new_id() + SUFFIX
        self._seed = seed_of(self.segment)
        self._fd = -1
        self._end = 0

    def append(self, frames: Sequence[Frame]) -> Position:
        data = b"".join(encode(frame, self._seed) for frame in frames)
        try:
            if self._fd < 0:
                self._fd = _create(self._directory, self.segment)
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
        return Position(segment=self.segment, offset=self._end)

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
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class SegmentReader:
    """Reads whole frames behind given offsets; a torn tail is left until it is whole."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._fds: dict[str, int] = {}

    def read(self, after: Offsets, *, most: int = READ_AT_ONCE) -> Iterator[Entry]:
        found = {segment: self._entries(segment, after.get(segment, 0), most) for segment in self._segments()}
        reached = {segment: entries[-1].position.offset for segment, entries in found.items() if entries}
        cut = {segment for segment, offset in reached.items() if self._has_more(segment, offset)}
        yield from merged(found, cut)

    def _entries(self, segment: str, start: int, most: int) -> list[Entry]:
        data = self._bytes(segment, start, most)
        return [
            Entry(position=Position(segment=segment, offset=start + end), frame=frame)
            for end, frame in decode(data, seed_of(segment))
        ]

    def behind(self, after: Offsets) -> bool:
        """Whether a whole frame lies behind `after`."""
        return any(self._has_more(segment, after.get(segment, 0)) for segment in self._segments())

    def _has_more(self, segment: str, start: int) -> bool:
        try:
            fd = self._fd(segment)
        except FileNotFoundError:  # begun and given up since it was listed
            return False
        size = size_of(os.pread(fd, HEADER_SIZE, start), seed_of(segment))
        if size is None:  # damage with a frame behind it, or nothing whole
            return is_whole(self._bytes(segment, start, READ_AT_ONCE), seed_of(segment))
        return start + size <= os.fstat(fd).st_size

    def sync(self, segments: Sequence[str]) -> None:
        """Make sure that what was read is on disk, before anything derived from it is.

        A writer's bytes can be read before its own sync has returned.
        """
        for segment in segments:
            _sync(self._fd(segment))

    def close(self) -> None:
        for fd in self._fds.values():
            os.close(fd)
        self._fds.clear()

    def _segments(self) -> list[str]:
        try:
            with os.scandir(self._directory) as found:
                return sorted(each.name for each in found if each.name.endswith(SUFFIX) and each.is_file())
        except FileNotFoundError:
            return []

    def _fd(self, segment: str) -> int:
        fd = self._fds.pop(segment, None)
        if fd is None:
            if len(self._fds) >= MOST_OPEN:
                os.close(self._fds.pop(next(iter(self._fds))))
            fd = os.open(self._directory / segment, os.O_RDONLY)
        self._fds[segment] = fd  # the one used last comes last
        return fd

    def _bytes(self, segment: str, start: int, most: int) -> bytes:
        try:
            fd = self._fd(segment)
        except FileNotFoundError:  # begun and given up since it was listed
            return b""
        if os.fstat(fd).st_size <= start:
            return b""
        data, seed = os.pread(fd, most, start), seed_of(segment)
        if len(data) == most and not is_whole(data, seed):
            data = os.pread(fd, size_of(data, seed) or most + HEADER_SIZE + MAX_PAYLOAD, start)
        return data


def _create(directory: Path, segment: str) -> int:
    """Make the file; its name is on disk before anything in it is acknowledged."""
    folder = os.open(directory, os.O_RDONLY)
    try:
        fd = os.open(segment, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND, 0o600, dir_fd=folder)
        try:
            os.fsync(folder)
        except OSError:
            os.close(fd)
            os.unlink(segment, dir_fd=folder)
            raise
    finally:
        os.close(folder)
    return fd


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
