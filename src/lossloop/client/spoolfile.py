"""A file of the spool: what was handed over, in order, and how far the server has taken it.

    header    32 bytes  magic b"LLSPOOL1", u64 taken: where the first row lies that was not taken yet,
                        u32 crc of both, zeros
    frame     magic b"LLS1", u32 length, u32 crc, payload of that length

Everything is little-endian. The checksums start from the file's own seed, which callers do not know: bytes
that somebody sent as a feature can never be read as a frame. A frame is either whole or not there. Who holds
the file's lock is the one who writes to it, and sends from it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

SUFFIX = ".spool"
HEADER_SIZE = 32
MAX_PAYLOAD = 64 * 1024 * 1024
"""A longer length in a frame's head is damage."""
READ_AT_ONCE = 4 * 1024 * 1024
_MAGIC, _HEADER_MAGIC = b"LLS1", b"LLSPOOL1"
_FRAME = struct.Struct("<4sII")
_HEADER = struct.Struct("<8sQ")
_CRC = struct.Struct("<I")
_sync = getattr(os, "fdatasync", os.fsync)  # macOS has only the latter

Found = tuple[int, int, memoryview | None]
"""Where something begins and ends, and its payload; None where it is damage."""


def frame(payload: bytes, seed: int) -> bytes:
    """The bytes of a frame in a file with this seed."""
    length = len(payload)
    return _FRAME.pack(_MAGIC, length, zlib.crc32(payload, seed ^ length)) + payload


def frames(data: bytes, seed: int) -> Iterator[Found]:
    """Yield what lies in `data`, in order.

    What is cut off at the end is left out. Bytes in the middle that are no frame are yielded as damage, up to
    the next whole frame; nothing behind them is lost.
    """
    view = memoryview(data)
    start = 0
    while start < len(view):
        end = _end_at(view, start, seed)
        if end is None:
            end = _next(data, start + 1, seed)
            if end is None:
                return
            yield start, end, None
        else:
            yield start, end, view[start + _FRAME.size : end]
        start = end


def length_at(head: bytes) -> int | None:
    """How many bytes the frame takes that begins with `head`; None where none does."""
    if len(head) < _FRAME.size:
        return None
    magic, length, _ = _FRAME.unpack_from(head)
    return _FRAME.size + length if magic == _MAGIC and length <= MAX_PAYLOAD else None


def _end_at(view: memoryview, start: int, seed: int) -> int | None:
    """Where the whole, sound frame at `start` ends; None where there is none."""
    if start + _FRAME.size > len(view):
        return None
    magic, length, crc = _FRAME.unpack_from(view, start)
    end = start + _FRAME.size + length
    if magic != _MAGIC or length > MAX_PAYLOAD or end > len(view):
        return None
    return end if zlib.crc32(view[start + _FRAME.size : end], seed ^ length) == crc else None


def _next(data: bytes, start: int, seed: int) -> int | None:
    view = memoryview(data)
    at = data.find(_MAGIC, start)
    while at >= 0:
        if _end_at(view, at, seed) is not None:
            return at
        at = data.find(_MAGIC, at + 1)
    return None


class SpoolFile:
    """A file that this process has locked. `begin` makes one, `adopt` takes over that of a dead process.

    Attributes:
        taken: Where the first row lies that the server has not taken.
        end: Where the next row will be written.
        rows: How many lie between.
    """

    def __init__(self, path: Path, fd: int) -> None:
        self.path = path
        self.seed = zlib.crc32(path.name.encode())
        self.taken = self.end = HEADER_SIZE
        self.rows = 0
        self._fd = fd

    @classmethod
    def begin(cls, directory: Path, *, sync: bool = False) -> SpoolFile:
        """A new file. Its name sorts behind those made before; it can be adopted only once it is locked."""
        name = f"{time.time_ns():016x}-{os.urandom(4).hex()}"
        hidden = directory / f".{name}.new"
        fd = os.open(hidden, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
        try:
            file = cls(directory / f"{name}{SUFFIX}", fd)
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            file._write_header()
            os.rename(hidden, file.path)
            if sync:
                _sync_directory(directory)
        except OSError:
            os.close(fd)
            hidden.unlink(missing_ok=True)
            raise
        return file

    @classmethod
    def adopt(cls, path: Path) -> SpoolFile | None:
        """The file at `path`, locked; None while a living process holds it, or once it is gone."""
        try:
            fd = os.open(path, os.O_RDWR)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)
            return None
        if not os.fstat(fd).st_nlink:  # drained and removed between opening and locking it
            os.close(fd)
            return None
        file = cls(path, fd)
        file._measure()
        return file

    def _measure(self) -> None:
        """Read how far the dead process has come, and what is whole."""
        head = os.pread(self._fd, HEADER_SIZE, 0)
        if len(head) == HEADER_SIZE:
            magic, taken = _HEADER.unpack_from(head)
            (crc,) = _CRC.unpack_from(head, _HEADER.size)
            if magic == _HEADER_MAGIC and zlib.crc32(head[: _HEADER.size], self.seed) == crc:
                self.taken = taken
        self.end = size = max(os.fstat(self._fd).st_size, self.taken)
        at = self.taken
        while at < size:
            self.end = size
            found = list(self.read(at, READ_AT_ONCE))
            self.rows += sum(payload is not None for _, _, payload in found)
            if not found:
                break
            at = found[-1][1]
        self.end = at

    def append(self, payloads: list[bytes], *, sync: bool) -> int:
        """Write rows behind the others; their size, once the system, or with `sync` the disk, has them.

        Raises:
            OSError: They could not be written; what was written of them is cut off again.
        """
        data = b"".join([frame(payload, self.seed) for payload in payloads])
        try:
            self._write(data, self.end)
            if sync:
                _sync(self._fd)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, self.end)
            raise
        self.end += len(data)
        self.rows += len(payloads)
        return len(data)

    def read(self, start: int, most: int) -> Iterator[Found]:
        """What lies from `start` on, about `most` bytes of it, and one frame at least."""
        data = os.pread(self._fd, min(most, self.end - start), start)
        if len(data) < self.end - start and next(frames(data, self.seed), None) is None:
            size = length_at(data) or most + MAX_PAYLOAD
            data = os.pread(self._fd, min(size, self.end - start), start)
        for begin, end, payload in frames(data, self.seed):
            yield start + begin, start + end, payload

    def take(self, taken: int, rows: int) -> None:
        """Note that the server has taken all rows before `taken`, `rows` of them since the last time."""
        self.taken = taken
        self.rows -= rows
        with contextlib.suppress(
            OSError
        ):  # who takes over the file would send them once more: they count once
            self._write_header()

    def _write_header(self) -> None:
        head = _HEADER.pack(_HEADER_MAGIC, self.taken)
        head += _CRC.pack(zlib.crc32(head, self.seed))
        self._write(head.ljust(HEADER_SIZE, b"\0"), 0)

    def _write(self, data: bytes, at: int) -> None:
        written = os.pwrite(self._fd, data, at)
        while written < len(data):
            written += os.pwrite(self._fd, data[written:], at + written)

    def remove(self) -> None:
        """Delete the file; nobody can adopt it any more."""
        self.path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Give up the lock, unless a forked process shares it: whoever closes last does."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


def _sync_directory(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
