"""Frames: how facts lie in a segment file.

A frame is a header of 32 bytes and an Arrow IPC stream of one record batch:

    magic    4 bytes   b"LLF1"
    kind     u8        what the rows are (Kind)
    flags    u8        0; a reader refuses flags and kinds that it does not know
    -        u16       0
    count    u32       rows
    length   u32       bytes of payload
    time     i64       receipt time, microseconds since 1970 UTC
    payload  u32       crc32 of the payload
    header   u32       crc32 of the header before it

Everything is little-endian. A frame is either whole or not there. Both checksums start from the segment's own
seed, which callers do not know: bytes that somebody sent as a feature can never be read as a frame.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

import pyarrow as pa

from lossloop.core.clock import Micros
from lossloop.core.errors import NewerFormat, TooLarge

MAGIC = b"LLF1"
_HEAD = struct.Struct("<4sBBHIIqI")
_CRC = struct.Struct("<I")
HEADER_SIZE = _HEAD.size + _CRC.size
MAX_PAYLOAD = 256 * 1024 * 1024
"""A longer length in a header is damage, not a frame."""


class Kind(IntEnum):
    """What the rows of a frame are."""

    PREDICTION = 1
    OUTCOME = 2
    COMMAND = 3
    DECISION = 4
    TICK = 5
    EXPIRED_PREDICTION = 6
    """A prediction of which only what a fold needs is kept (`ledger.expired`)."""
    EXPIRED_OUTCOME = 7


_KINDS = frozenset(Kind)


@dataclass(frozen=True, kw_only=True, slots=True)
class Frame:
    """One acknowledged batch of facts of one kind."""

    kind: Kind
    time: Micros
    batch: pa.RecordBatch


@dataclass(frozen=True, kw_only=True, slots=True)
class Header:
    """What a header whose checksum holds says of its frame."""

    kind: int
    flags: int
    count: int
    length: int
    time: Micros

    @property
    def size(self) -> int:
        """Bytes of the whole frame."""
        return HEADER_SIZE + self.length


@dataclass(frozen=True, kw_only=True, slots=True)
class Damage:
    """Bytes that are not a frame although something follows them: a flipped bit or a foreign write.

    `start` and `end` count from where reading began: from the segment's beginning where a log was read.
    """

    start: int
    end: int


def seed_of(segment: str) -> int:
    """Where the checksums of a segment's frames start from."""
    return zlib.crc32(segment.encode())


def encode(frame: Frame, seed: int) -> bytes:
    """The bytes of a frame in a segment with this seed.

    Raises:
        TooLarge: Its payload is over MAX_PAYLOAD; readers would take it for damage.
    """
    payload = payload_of(frame.batch)
    if len(payload) > MAX_PAYLOAD:
        raise TooLarge(
            f"{len(payload)} bytes in one batch; at most {MAX_PAYLOAD} are taken: send it in parts"
        )
    rows, crc = frame.batch.num_rows, zlib.crc32(payload, seed)
    head = _HEAD.pack(MAGIC, frame.kind, 0, 0, rows, len(payload), frame.time, crc)
    return head + _CRC.pack(zlib.crc32(head, seed)) + payload


def payload_of(batch: pa.RecordBatch) -> bytes:
    """A batch as an Arrow IPC stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    raw: bytes = sink.getvalue().to_pybytes()
    return raw


def batch_of(payload: bytes | memoryview) -> pa.RecordBatch:
    """The batch of an Arrow IPC stream."""
    with pa.ipc.open_stream(pa.py_buffer(payload)) as reader:
        return reader.read_next_batch()


def decode(data: bytes | memoryview, seed: int) -> Iterator[tuple[int, Frame | Damage]]:
    """Yield (end offset, frame) for every whole frame in `data`, in order.

    What is cut off at the end is left for a later read. Bytes in the middle that are no frame are yielded
    as Damage, up to the next whole frame; nothing behind them is lost.

    Raises:
        NewerFormat: A whole frame has a kind or flags that this release does not know.
    """
    view = memoryview(data)
    start = 0
    while (end := _end_at(view, start, seed)) is not None:
        frame = _frame(view[start:end], seed)
        yield end, frame or Damage(start=start, end=end)
        start = end


def is_whole(data: bytes | memoryview, seed: int) -> bool:
    """Whether `data` begins with all of a frame, or with damage and a frame behind it."""
    return _end_at(memoryview(data), 0, seed) is not None


def header_of(data: bytes | memoryview, seed: int) -> Header | None:
    """The header that `data` begins with; None where its checksum does not hold."""
    return _header_at(memoryview(data), 0, seed)


def size_of(data: bytes | memoryview, seed: int) -> int | None:
    """How many bytes the frame takes whose header `data` begins with; None where that is no header."""
    header = header_of(data, seed)
    return None if header is None else header.size


def _end_at(view: memoryview, start: int, seed: int) -> int | None:
    """Where the frame, or the damage, that begins at `start` ends; None where it is cut off."""
    header = _header_at(view, start, seed)
    if header is None:
        return _next_header(view, start + 1, seed)
    end = start + header.size
    return end if end <= len(view) else None


def _header_at(view: memoryview, start: int, seed: int) -> Header | None:
    if start + HEADER_SIZE > len(view):
        return None
    magic, kind, flags, zero, count, length, time, _ = _HEAD.unpack_from(view, start)
    (crc,) = _CRC.unpack_from(view, start + _HEAD.size)
    if magic != MAGIC or zlib.crc32(view[start : start + _HEAD.size], seed) != crc or length > MAX_PAYLOAD:
        return None
    return Header(kind=kind, flags=flags | zero << 8, count=count, length=length, time=time)


def _next_header(view: memoryview, start: int, seed: int) -> int | None:
    raw = bytes(view[start:])
    at = raw.find(MAGIC)
    while at >= 0:
        if _header_at(view, start + at, seed) is not None:
            return start + at
        at = raw.find(MAGIC, at + 1)
    return None


def _frame(view: memoryview, seed: int) -> Frame | None:
    """The frame that these bytes are, all of them; None where they are damaged."""
    header = _header_at(view, 0, seed)
    if header is None or header.size != len(view):
        return None
    payload = view[HEADER_SIZE:]
    if zlib.crc32(payload, seed) != _HEAD.unpack_from(view, 0)[-1]:
        return None
    if header.flags or header.kind not in _KINDS:
        raise NewerFormat(
            f"the log holds a frame of kind {header.kind}, flags {header.flags}; install a newer lossloop"
        )
    batch = batch_of(payload)
    return (
        Frame(kind=Kind(header.kind), time=header.time, batch=batch)
        if batch.num_rows == header.count
        else None
    )
