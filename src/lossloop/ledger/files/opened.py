"""One segment file: whole frames behind an offset, and whether a writer still holds it."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from lossloop.core.clock import Micros
from lossloop.ledger.base import Entry, Position
from lossloop.ledger.frames import (
    HEADER_SIZE,
    MAX_PAYLOAD,
    Damage,
    decode,
    header_of,
    is_whole,
    seed_of,
    size_of,
)

SUFFIX = ".seg"
READ_AT_ONCE = 16 * 1024 * 1024
PROBE_EVERY = 1.0
"""Seconds between two questions whether a segment's writer is still there."""
sync = getattr(os, "fdatasync", os.fsync)  # macOS has only the latter


class OpenSegment:
    """A segment as it was written.

    Raises:
        FileNotFoundError: There is none: sealed since it was listed, or begun and given up.
    """

    def __init__(self, directory: Path, name: str) -> None:
        self.name = name
        self._seed = seed_of(name)
        self._fd = os.open(directory / name, os.O_RDONLY)
        self._probed = float("-inf")

    def next_time(self, start: int) -> Micros | None:
        """The receipt time of the first frame behind `start`, 0 for damage; None where nothing is whole."""
        size = os.fstat(self._fd).st_size
        if size <= start:
            return None
        header = header_of(os.pread(self._fd, HEADER_SIZE, start), self._seed)
        if header is not None:
            return max(0, header.time) if start + header.size <= size else None
        return 0 if is_whole(self._bytes(start, READ_AT_ONCE), self._seed) else None

    def entries(self, start: int, most: int) -> list[Entry]:
        """The whole frames behind `start`, from about `most` bytes; a larger one alone."""
        return [
            Entry(
                position=Position(segment=self.name, offset=start + end),
                frame=Damage(start=start + frame.start, end=start + frame.end)
                if isinstance(frame, Damage)
                else frame,
            )
            for end, frame in decode(self._bytes(start, most), self._seed)
        ]

    def ended(self, start: int) -> bool:
        """Whether nothing will ever come behind `start`, where nothing is now; asked once a second."""
        moment = time.monotonic()
        if moment - self._probed < PROBE_EVERY:
            return False
        self._probed = moment
        return self.finished() and self.next_time(start) is None

    def finished(self) -> bool:
        """Whether its writer has closed it or is dead: then nobody will ever write to it."""
        try:
            fcntl.flock(self._fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return False
        fcntl.flock(self._fd, fcntl.LOCK_UN)
        return True

    def size(self) -> int:
        """Bytes of the file, a torn tail included."""
        return os.fstat(self._fd).st_size

    def raw(self, start: int, end: int) -> bytes:
        """Bytes as they lie in the file."""
        return os.pread(self._fd, end - start, start)

    def sync(self) -> None:
        """Make sure that what was read is on disk: it can be read before its writer's own sync returns."""
        sync(self._fd)

    def close(self) -> None:
        """Close the file; closing twice is harmless."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)

    def _bytes(self, start: int, most: int) -> bytes:
        if os.fstat(self._fd).st_size <= start:
            return b""
        data = os.pread(self._fd, most, start)
        if len(data) == most and not is_whole(data, self._seed):
            size = size_of(data, self._seed) or most + HEADER_SIZE + MAX_PAYLOAD
            data = os.pread(self._fd, size, start)
        return data
