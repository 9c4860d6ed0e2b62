"""The log in PostgreSQL: frames as rows of a table, acknowledged once their transaction is on disk.

A writer has a segment per partition that it writes to. It appends one transaction after the other, so a
segment's frames become visible in their order, and a reader that has gone past a frame has not missed one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lossloop.core.clock import Micros
from lossloop.core.ids import new_id
from lossloop.ledger.base import Entry, Offsets, Position
from lossloop.ledger.floor import Floor
from lossloop.ledger.frames import Frame
from lossloop.ledger.postgres.database import Database
from lossloop.ledger.postgres.frames import EVERY, frame_of, partition_of, row_of
from lossloop.ledger.postgres.heads import Head, Heads, in_order, up_to
from lossloop.ledger.postgres.hurried import Hurried
from lossloop.ledger.postgres.session import Session

READ_AT_ONCE = 16 * 1024 * 1024
HEADS_AT_ONCE = 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class Spread(Position):
    """Where an append to several segments ended: reached once all of them are."""

    others: tuple[Position, ...]

    def reached_by(self, offsets: Offsets) -> bool:
        return all(offsets.get(each.segment, 0) >= each.offset for each in (self, *self.others))


class PostgresLog:
    """The log of a ledger in PostgreSQL; offsets count frames.

    Args:
        database: Where the ledger lies; `init_store` has made it.
        partitions: What readers read; all partitions by default.
        lifts: Whether writers give no receipt time from before what is in the log when they begin.
        hurried: Whether a database that is away is an error to readers at once.
    """

    def __init__(
        self,
        database: Database,
        *,
        partitions: Collection[int] | None = None,
        lifts: bool = False,
        hurried: bool = False,
    ) -> None:
        self._database = database
        self._partitions = partitions
        self._lifts = lifts
        self._hurried = hurried

    def writer(self) -> PostgresWriter:
        return PostgresWriter(Session(self._database), lifts=self._lifts)

    def reader(self) -> PostgresReader:
        session = Hurried(self._database) if self._hurried else Session(self._database)
        return PostgresReader(session, self._partitions)


class Segments:
    """The segments of one writer: which each partition has, and how many frames are in it.

    Args:
        home: The partition of frames that are about no model; all partitions by default.
    """

    def __init__(self, home: int = EVERY) -> None:
        self._home = home
        self._names: dict[int, str] = {}
        self._ends: dict[str, int] = {}
        self._reached = Position(segment="", offset=0)

    def placed(self, frames: Sequence[Frame], partitions: int) -> list[dict[str, Any]]:
        """Frames as rows behind those that were appended."""
        rows, ends = [], dict(self._ends)
        for frame in frames:
            row = row_of(frame)
            partition = self._home if row["model"] is None else partition_of(row["model"], partitions)
            segment = self._names.setdefault(partition, new_id())
            ends[segment] = ends.get(segment, 0) + 1
            rows.append({"segment": segment, "number": ends[segment], "partition": partition, **row})
        return rows

    def appended(self, rows: Sequence[dict[str, Any]]) -> None:
        """The rows are in the log."""
        ends = {row["segment"]: row["number"] for row in rows}
        self._ends |= ends
        first, *others = sorted(ends.items())
        self._reached = Position(segment=first[0], offset=first[1])
        if others:
            more = tuple(Position(segment=segment, offset=end) for segment, end in others)
            self._reached = Spread(segment=first[0], offset=first[1], others=more)

    def reached(self) -> Position:
        """Where the last append ended."""
        return self._reached

    def nowhere(self) -> Position:
        """Where an append of nothing ends."""
        return Position(segment="", offset=0)

    def abandon(self) -> None:
        """Begin other segments: nobody knows what is behind the last acknowledged frame of these."""
        self._names.clear()
        self._ends.clear()


def values_of(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Rows, and where their segments end, as values of the queries that append them."""
    ends = {row["segment"]: row for row in rows}.values()
    return {
        **{name: [row[name] for row in rows] for name in _COLUMNS},
        "ended": [row["segment"] for row in ends],
        "partition": [row["partition"] for row in ends],
        "end": [row["number"] for row in ends],
    }


_COLUMNS = ("segment", "number", "kind", "time", "rows", "crc", "model", "payload")


class PostgresWriter:
    """Appends frames, many in one transaction, each to its partition's segment."""

    def __init__(self, session: Session, *, lifts: bool = False) -> None:
        self._session = session
        self._segments = Segments()
        self._floor = Floor(self._newest if lifts else None)

    def append(self, frames: Sequence[Frame]) -> Position:
        if not frames:
            return self._segments.nowhere()
        rows = self._segments.placed(self._floor.lifted(frames), self._session.partitions)
        try:
            self._session.execute("append", **values_of(rows))
        except BaseException:
            self._segments.abandon()
            raise
        self._segments.appended(rows)
        return self._segments.reached()

    def _newest(self) -> Micros:
        return int(self._session.rows("newest")[0][0])

    def close(self) -> None:
        self._session.close()


class PostgresReader:
    """Reads the segments of all partitions, or of some and those that are for all.

    What comes in which order is known from the frames' heads, which are read ahead; payloads are read once.

    Args:
        session: Closed with the reader.
        partitions: Which; all by default.
    """

    def __init__(self, session: Session, partitions: Collection[int] | None = None) -> None:
        self._session = session
        self._partitions = None if partitions is None else {EVERY, *partitions}
        self._heads: dict[str, Heads] = {}

    def read(self, after: Offsets, *, most: int = READ_AT_ONCE) -> Iterator[Entry]:
        ends = self._behind(after)
        if ends:
            self._read_ahead({segment: after.get(segment, 0) for segment in ends})
            found = {segment: heads.heads for segment, heads in self._heads.items() if heads.heads}
            cut = {segment for segment, heads in found.items() if heads[-1].number < ends[segment]}
            yield from self._entries(up_to(in_order(found, cut), most))

    def behind(self, after: Offsets) -> bool:
        return bool(self._behind(after))

    def before(self, after: Offsets, most: int) -> dict[str, int]:
        """Offsets from which on about `most` bytes lead to `after`: those of the newest segments."""
        found, left = dict(after), most
        for segment in sorted(after, reverse=True):
            heads = self._session.rows(
                "heads_before", segment=segment, number=after[segment], most=HEADS_AT_ONCE
            )
            for number, size in heads:
                left -= size
                if left < 0:
                    return found
                found[segment] = number - 1
        return found

    def sync(self, segments: Sequence[str]) -> None:
        """A transaction that others can see is on the server's disk already."""

    def close(self) -> None:
        self._session.close()

    def _behind(self, after: Offsets) -> dict[str, int]:
        """The segments that have something behind `after`, and where they end."""
        ends = sorted(self._ends())
        return {segment: end for segment, end in ends if end > after.get(segment, 0)}

    def _ends(self) -> Iterable[tuple[str, int]]:
        """Where each segment that is read here ends."""
        found = self._session.rows("segments")
        return [(segment, end) for segment, partition, end in found if self._reads(partition)]

    def _reads(self, partition: int) -> bool:
        return self._partitions is None or partition in self._partitions

    def _read_ahead(self, after: Offsets) -> None:
        """Know the first heads behind `after` of each of its segments, and of no others."""
        self._heads = {
            segment: known.behind(start) if (known := self._heads.get(segment)) else Heads(start)
            for segment, start in after.items()
        }
        unknown = [segment for segment, heads in self._heads.items() if not heads.heads]
        if unknown:
            reached = [after[segment] for segment in unknown]
            for row in self._session.rows("heads", segment=unknown, after=reached, most=HEADS_AT_ONCE):
                self._heads[row[0]].heads.append(Head(*row))

    def _entries(self, heads: Sequence[Head]) -> Iterator[Entry]:
        wanted: dict[str, list[int]] = {}
        for head in heads:
            wanted.setdefault(head.segment, []).append(head.number)
        lows, highs = [numbers[0] for numbers in wanted.values()], [n[-1] for n in wanted.values()]
        rows = self._session.rows("frames", segment=list(wanted), low=lows, high=highs)
        found = {(segment, row[0]): row for segment, *row in rows}
        for head in heads:
            row = found.get((head.segment, head.number))
            if row is not None:  # it went since its head was read
                position = Position(segment=head.segment, offset=head.number)
                # Numbers before it may be missing: frames that their model's policy does not keep any more.
                yield Entry(position=position, frame=frame_of(*row), start=head.number - 1)
