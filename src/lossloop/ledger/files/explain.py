"""What damaged bytes of a segment once were, as far as their header or their rows can still be read."""

from __future__ import annotations

from dataclasses import replace

from lossloop.ledger.findings import TORN, Finding, with_rows
from lossloop.ledger.frames import HEADER_SIZE, Kind, header_of


def explain(segment: str, data: bytes, start: int, seed: int) -> Finding:
    """What bytes that are no frame once were; `start` is where they begin in the segment."""
    found = Finding(segment=segment, problem="not a frame any more", start=start, end=start + len(data))
    header = header_of(data, seed)
    if header is not None:
        kind = Kind(header.kind).name.lower() if header.kind in set(Kind) else ""
        time = header.time
        found = replace(found, problem="the payload's CRC-32 does not match", kind=kind, rows=header.count)
        found = replace(found, first=time, last=time)
    elif data[:4] == b"LLF1":
        found = replace(found, problem="the header's CRC-32 does not match")
    return with_rows(found, data[HEADER_SIZE:])


def explain_tail(segment: str, data: bytes, start: int, seed: int) -> Finding:
    """What the bytes behind the last whole frame are: cut off by a crash, or damage with nothing behind it.

    A crash leaves the beginning of a frame, or zeros. A header that does not hold was whole once.
    """
    header = header_of(data, seed)
    if header is None and len(data) >= HEADER_SIZE and any(data):
        return explain(segment, data, start, seed)
    return torn(segment, start, start + len(data))


def torn(segment: str, start: int, end: int) -> Finding:
    """Bytes that a crash cut off: no event is touched."""
    problem = "cut off before it was acknowledged"
    return Finding(segment=segment, problem=problem, what=TORN, start=start, end=end, rows=0)
