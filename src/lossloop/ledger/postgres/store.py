"""Derived state of one partition, as the applier that holds its lease writes it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import msgspec

from lossloop.ledger.base import Offsets, Position
from lossloop.ledger.buffered import GONE, BufferedStore, Changes, Key, is_a, text_of
from lossloop.ledger.frames import Frame
from lossloop.ledger.names import read, written
from lossloop.ledger.postgres.chunks import behind_prefix, read_chunks
from lossloop.ledger.postgres.database import Database
from lossloop.ledger.postgres.errors import Fenced
from lossloop.ledger.postgres.frames import ipc_of
from lossloop.ledger.postgres.log import PostgresReader, Segments, values_of
from lossloop.ledger.postgres.session import Session
from lossloop.ledger.store import Chunk

T = TypeVar("T")
MOST_KNOWN = 10_000
"""Documents that are kept decoded between transactions."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Lease:
    """The right to write the derived state of a partition, for as long as nobody was given a newer token."""

    partition: int
    token: int


class PostgresStore(BufferedStore):
    """Documents, offsets and streams of one partition, and the frames that its applier appends.

    All of a transaction is gathered in memory and committed in one go, with the lease: after another applier
    has taken the partition, nothing that this one writes is kept. Since nobody else writes, what was read
    once is known.

    Args:
        session: Shared by the partitions of one applier; closed by whoever made it.
        lease: What each commit rests on.
    """

    def __init__(self, session: Session, lease: Lease) -> None:
        super().__init__()
        self._session = session
        self._lease = lease
        self._known: dict[Key, Any] = {}
        self._listed: dict[tuple[str, str, Any], dict[str, Any]] = {}
        self._own = 0

    @property
    def partition(self) -> int:
        """Whose state this is."""
        return self._lease.partition

    @property
    def lease(self) -> Lease:
        """What each commit rests on."""
        return self._lease

    def change(self) -> int:
        return int(self._rows("commits_of")[0][0]) - self._own

    def close(self) -> None:
        """The session is closed by whoever made it."""

    def append(self, frames: Sequence[Frame], segments: Segments) -> Position:
        """Append frames to the log with the transaction that surrounds this, or in one of their own.

        Where they end is known once they are committed: within a transaction the position is that of nothing.
        """
        with self.transaction():
            self._blocks[-1].frames += [(segments, frame) for frame in frames]
        return segments.nowhere() if self._blocks or not frames else segments.reached()

    def _rows(self, name: str, **values: Any) -> list[Any]:
        return self._session.rows(name, partition=self._lease.partition, **values)

    # What was committed.

    def _committed_document(self, kind: str, key: str, type: type[T]) -> T | None:
        if (kind, key) in self._known:
            known = self._known[kind, key]
            if known is None or is_a(known, type):
                return known  # type: ignore[no-any-return]
        found = self._rows("document_of", kind=kind, key=written(key))
        value = msgspec.json.decode(found[0][0], type=type, strict=False) if found else None
        self._known[kind, key] = value
        return value

    def _committed_documents(self, kind: str, type: type[T], prefix: str) -> Mapping[str, T]:
        listed = self._listed.get((kind, prefix, type))
        if listed is None:
            rows = self._rows("documents_of", kind=kind, **behind_prefix(prefix))
            listed = {read(key): msgspec.json.decode(body, type=type, strict=False) for key, body in rows}
            self._listed[kind, prefix, type] = listed
        return listed

    def _committed_offsets(self) -> Offsets:
        return dict(self._rows("offsets_of"))

    def _committed_streams(self, prefix: str) -> Sequence[str]:
        partitions = [self._lease.partition]
        return [
            name for (name,) in self._session.rows("streams", partitions=partitions, **behind_prefix(prefix))
        ]

    def _committed_chunks(self, stream: str, after: int) -> Iterator[Chunk]:
        return read_chunks(self._session, stream, [self._lease.partition], after)

    # Committing.

    def _commit(self, changes: Changes) -> None:
        frames: dict[Segments, list[Frame]] = {}
        for segments, frame in changes.frames:
            frames.setdefault(segments, []).append(frame)
        placed = {each: each.placed(some, self._session.partitions) for each, some in frames.items()}
        values = commit_values(changes, [row for some in placed.values() for row in some])
        try:
            held = self._session.rows("commit", held=self._lease.partition, token=self._lease.token, **values)
            if not held:
                raise fenced(self._session.database, self._lease)
        except BaseException:
            for segments in placed:
                segments.abandon()
            self._forget()
            raise
        for segments, some in placed.items():
            segments.appended(some)
        self._own += 1
        self._learn(changes)

    def _learn(self, changes: Changes) -> None:
        """What was committed is known now."""
        if len(self._known) + sum(map(len, self._listed.values())) > MOST_KNOWN:
            self._forget()
        kinds = {kind for kind, _ in changes.documents}
        self._listed = {name: found for name, found in self._listed.items() if name[0] not in kinds}
        for name, value in changes.documents.items():
            self._known[name] = None if value is GONE else value

    def _forget(self) -> None:
        self._known.clear()
        self._listed.clear()


def fenced(database: Database, lease: Lease) -> Fenced:
    """What to say where a lease was lost."""
    return Fenced(
        f"another applier has taken partition {lease.partition} of {database}; nothing of this was kept"
    )


def commit_values(changes: Changes, rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """What changes a partition's tables, and rows of frames, as values of the query that commits them."""
    kept = {name: value for name, value in changes.documents.items() if value is not GONE}
    gone = [name for name, value in changes.documents.items() if value is GONE]
    cuts = [(stream, *cut) for stream, changed in changes.streams.items() for cut in changed.cuts]
    new = [
        (s, first, batch) for s, changed in changes.streams.items() for first, batch in changed.chunks.items()
    ]
    return {
        "kinds": [kind for kind, _ in kept],
        "keys": [written(key) for _, key in kept],
        "bodies": [text_of(value) for value in kept.values()],
        "gone_kinds": [kind for kind, _ in gone],
        "gone_keys": [written(key) for _, key in gone],
        "segments": list(changes.offsets),
        "reached": list(changes.offsets.values()),
        "cut": [stream for stream, _, _ in cuts],
        "lows": [low for _, low, _ in cuts],
        "highs": [high for _, _, high in cuts],
        "streams": [stream for stream, _, _ in new],
        "firsts": [first for _, first, _ in new],
        "counts": [batch.num_rows for _, _, batch in new],
        "data": [ipc_of(batch) for _, _, batch in new],
        **values_of(rows),
    }


Look = Callable[[], Sequence[tuple[str, int, int]]]
"""Segments, their partitions and where they end, as they were when somebody looked."""


class PartitionLog:
    """The log as a partition's applier uses it: it reads its share, and writes with its transactions.

    Args:
        session: Shared by the partitions of one applier; closed by whoever made it.
        store: With whose transactions frames are appended.
        look: Who looks for all of them, where that is not done anew for each read.
    """

    def __init__(self, session: Session, store: PostgresStore, *, look: Look | None = None) -> None:
        self._session = session
        self._store = store
        self._look: Look = look or (lambda: session.rows("segments"))

    def writer(self) -> PartitionWriter:
        return PartitionWriter(self._store)

    def reader(self) -> PartitionReader:
        return PartitionReader(self._session, self._store.partition, self._look)


class PartitionReader(PostgresReader):
    """Reads one partition over a session that others use too."""

    def __init__(self, session: Session, partition: int, look: Look) -> None:
        super().__init__(session, [partition])
        self._look = look

    def close(self) -> None:
        """The session is closed by whoever made it."""

    def _ends(self) -> Iterable[tuple[str, int]]:
        return [(segment, end) for segment, partition, end in self._look() if self._reads(partition)]


class PartitionWriter:
    """Appends with the transactions of a store; frames about no model belong to its partition."""

    def __init__(self, store: PostgresStore) -> None:
        self._store = store
        self._segments = Segments(home=store.partition)

    def append(self, frames: Sequence[Frame]) -> Position:
        return self._store.append(frames, self._segments)

    def close(self) -> None:
        """Nothing is held."""
