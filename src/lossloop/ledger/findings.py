"""What is wrong somewhere in a log, and which events that touches, wherever the log lies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pyarrow as pa

from lossloop.core.clock import Micros
from lossloop.ledger.facts import ids_of, model_in
from lossloop.ledger.frames import Frame, Kind, batch_of

MOST_IDS = 1000
"""Ids that one finding names."""
DAMAGE, TORN, LOST = "damage", "torn", "lost"
"""What a finding may be: facts that cannot be read; what a crash cut off before it was acknowledged; and
something that is not there, or whose damage touches no fact."""
Tell = Callable[[int], None]
"""Told how many bytes were done since it was last told."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What is wrong somewhere in a log, and which events that touches."""

    segment: str
    problem: str
    """What is wrong, in words."""
    what: str = DAMAGE
    start: int = 0
    end: int = 0
    """The range of the segment, as offsets count: bytes as they were written, or frames in a database. 0 to 0
    where that does not apply."""
    kind: str = ""
    model: str = ""
    rows: int | None = None
    """How many events; None where nobody can tell."""
    first: Micros | None = None
    last: Micros | None = None
    """When they were received."""
    ids: tuple[str, ...] = ()
    """Those that can be read, the first MOST_IDS of them."""


@dataclass(kw_only=True)
class Report:
    """What was looked at and what was found."""

    segments: int = 0
    sealed: int = 0
    frames: int = 0
    bytes: int = 0
    findings: list[Finding] = field(default_factory=list)
    strays: list[str] = field(default_factory=list)
    """Files that no manifest names: left by a crash, removed by the next sealing."""

    @property
    def sound(self) -> bool:
        """Whether all that was acknowledged is there and as it was."""
        return all(finding.what == TORN for finding in self.findings)


def with_rows(found: Finding, payload: bytes) -> Finding:
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
    return replace(found, rows=rows, kind=kind, model=model_in(frame) or found.model, ids=known)
