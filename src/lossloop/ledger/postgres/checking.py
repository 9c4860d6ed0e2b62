"""Verifying a ledger in PostgreSQL: every checksum, every number, and which events a wrong one touches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from lossloop.ledger.facts import model_in
from lossloop.ledger.findings import DAMAGE, LOST, Finding, Report, Tell, with_rows
from lossloop.ledger.frames import Damage, Frame, Kind
from lossloop.ledger.postgres.database import Database
from lossloop.ledger.postgres.frames import EVERY, partition_of
from lossloop.ledger.postgres.moment import weight_of
from lossloop.ledger.postgres.scanning import Stored, pages
from lossloop.ledger.postgres.session import Session
from lossloop.ledger.removals import EXPIRED, Gone

Hole = tuple[str, int, int]
"""Numbers of a segment, from the first to the last, that no frame has."""


def size(database: Database) -> int:
    """Bytes that verifying a ledger reads, about."""
    session = Session(database)
    try:
        return weight_of(session)
    finally:
        session.close()


def verify(database: Database, *, tell: Tell = lambda done: None) -> Report:
    """Check every frame of a ledger, and that none is missing but those that a fact says were deleted.

    Args:
        database: Where it lies; it may be in use.
        tell: Told of progress, in bytes.

    Raises:
        NewerFormat: A newer release wrote something.
        StateError: The database does not answer, or holds no ledger.
    """
    session = Session(database)
    try:
        return _Check(session, tell).report()
    finally:
        session.close()


class _Check:
    """One look at all there is."""

    def __init__(self, session: Session, tell: Tell) -> None:
        self._session = session
        self._tell = tell
        self._segments = {segment: (partition, end) for segment, partition, end in session.rows("segments")}
        self._report = Report(segments=len(self._segments))
        self._reached = dict.fromkeys(self._segments, 0)
        """The last number seen of each segment."""
        self._holes: list[Hole] = []

    def report(self) -> Report:
        for page in pages(self._session, {name: end for name, (_, end) in self._segments.items()}):
            for stored in page:
                self._look_at(stored)
            self._tell(sum(len(stored.payload) for stored in page))
        for segment, (_, end) in sorted(self._segments.items()):
            self._pass(segment, end + 1)
        # What has expired is looked for last: a fact of what went while this looked is there by now.
        expired = _expired(self._session) if self._holes else {}
        for hole in self._holes:
            self._report.findings += _unexplained(hole, expired.get(hole[0], []))
        self._report.findings += self._beside()
        return self._report

    def _look_at(self, stored: Stored) -> None:
        self._pass(stored.segment, stored.number)
        self._report.frames += 1
        self._report.bytes += len(stored.payload)
        frame = stored.frame()
        if isinstance(frame, Damage):
            self._report.findings.append(_damaged(stored))
        elif problem := self._misplaced(stored, frame):
            self._report.findings.append(_finding(stored, problem))

    def _pass(self, segment: str, number: int) -> None:
        """The next number of a segment that is there, or the one behind its end."""
        first = self._reached[segment] + 1
        if number > first:
            self._holes.append((segment, first, number - 1))
        self._reached[segment] = number

    def _misplaced(self, stored: Stored, frame: Frame) -> str:
        """What is wrong with where a frame lies: its checksum does not cover that. Nothing if all is well."""
        said = model_in(frame)
        if said and said != stored.model:
            return f"the column model says {stored.model}, and the frame says {said}"
        partition, _ = self._segments[stored.segment]
        if said and partition not in (EVERY, partition_of(said, self._session.partitions)):
            return f"its segment belongs to partition {partition}, which does not fold {said}"
        return ""

    def _beside(self) -> Iterator[Finding]:
        """What no frame tells."""
        for segment, reached, end in self._session.rows("beyond"):
            if not end:
                words = "the segment was folded and is not there any more; restore it from a backup"
                yield Finding(segment=segment, problem=words, what=LOST)
            else:
                words = "frames were folded that are not there any more; restore them from a backup"
                yield Finding(segment=segment, problem=words, what=LOST, start=end, end=reached)
        for segment, low, high, rows in self._session.rows("astray"):
            words = "frames behind the end of their segment, which nobody reads"
            yield Finding(segment=segment, problem=words, start=low - 1, end=high, rows=rows)


def _finding(stored: Stored, problem: str) -> Finding:
    """What the row says of itself, whatever of that is right."""
    kind = Kind(stored.kind).name.lower() if stored.kind in set(Kind) else ""
    found = Finding(
        segment=stored.segment, problem=problem, what=DAMAGE, start=stored.number - 1, end=stored.number,
        kind=kind, model=stored.model or "", rows=stored.rows, first=stored.time, last=stored.time,
    )  # fmt: skip
    return with_rows(found, stored.payload)


def _damaged(stored: Stored) -> Finding:
    if not stored.payload:
        return _finding(stored, "was damaged; its bytes are not kept")
    return _finding(stored, "the frame's CRC-32 does not match")


def _expired(session: Session) -> Mapping[str, list[tuple[int, int]]]:
    """By segment, the frames that an older release deleted when they expired, as sorted stretches."""
    found: dict[str, list[tuple[int, int]]] = {}
    for row in session.rows("commands"):
        frame = Stored(*row).frame()
        if isinstance(frame, Damage):
            continue
        for name, body in zip(*(frame.batch.column(at).to_pylist() for at in (1, 2)), strict=True):
            if name == EXPIRED:
                gone = msgspec.json.decode(body, type=Gone)
                found.setdefault(gone.segment, []).extend(gone.frames)
    return {segment: sorted(some) for segment, some in found.items()}


def _unexplained(hole: Hole, expired: list[tuple[int, int]]) -> Iterator[Finding]:
    """What of a hole no fact explains."""
    segment, at, last = hole
    for low, high in [*expired, (last + 1, last + 1)]:
        if low > at and at <= last:
            words = "frames are missing, and no fact says that they have expired; restore them from a backup"
            yield Finding(segment=segment, problem=words, what=LOST, start=at - 1, end=min(low - 1, last))
        at = max(at, high + 1)
