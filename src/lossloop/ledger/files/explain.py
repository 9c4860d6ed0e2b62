"""What damaged bytes of a segment once were, as far as their header or their rows can still be read."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pyarrow as pa

from lossloop.core.clock import Micros
from lossloop.ledger.files.sealwriter import model_in
from lossloop.ledger.files.sidecar import ids_of
from lossloop.ledger.frames import HEADER_SIZE, Frame, Kind, batch_of, header_of

MOST_IDS = 1000
"""Ids that one finding names."""
DAMAGE, TORN, LOST = "damage", "torn", "lost"
"""What a finding may be: facts that cannot be read; what a crash cut off before it was acknowledged; and a
file or a segment that is not there, or whose damage touches no fact."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What is wrong somewhere in a log, and which events that touches."""

    segment: str
    problem: str
    """What is wrong, in words."""
    what: str = DAMAGE
    start: int = 0
    end: int = 0
    """The range of bytes of the segment as it was written; 0 to 0 where that does not apply."""
    kind: str = ""
    model: str = ""
    rows: int | None = None
    """How many events; None where nobody can tell."""
    first: Micros | None = None
    last: Micros | None = None
    """When they were received."""
    ids: tuple[str, ...] = ()
    """Those that can be read, the first MOST_IDS of them."""


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
    return _with_rows(found, data[HEADER_SIZE:])


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


def _with_rows(found: Finding, payload: bytes) -> Finding:
    """What the rows say, where Arrow can still read them."""
    try:
        batch = batch_of(payload)
        batch.validate(full=True)
        return _told(found, batch)
    except (pa.ArrowException, OSError, EOFError, ValueError, TypeError, MemoryError):
        return found


def _told(found: Finding, batch: pa.RecordBatch) -> Finding:
    names = set(batch.schema.names)
    kind = found.kind or ("prediction" if "y_pred" in names else "outcome" if "y_true" in names else "")
    rows = batch.num_rows if found.rows is None else found.rows
    if not kind:
        return replace(found, rows=rows)
    frame = Frame(kind=Kind[kind.upper()], time=0, batch=batch)
    ids = ids_of(frame)
    known = () if ids is None else tuple(ids.drop_null().slice(0, MOST_IDS).to_pylist())
    return replace(found, rows=rows, kind=kind, model=model_in(frame), ids=known)
