"""Derived state that was made elsewhere, put in place of what is there: all of it, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from lossloop.ledger.buffered import Changes
from lossloop.ledger.postgres.database import QUERIES, Database
from lossloop.ledger.postgres.session import Session
from lossloop.ledger.postgres.store import Lease, commit_values, fenced
from lossloop.ledger.store import Store

if TYPE_CHECKING:
    import psycopg

BYTES_AT_ONCE = 8 * 1024 * 1024
"""About so many bytes go to the server in one statement."""


@dataclass(frozen=True, kw_only=True)
class Made:
    """What a partition's derived state is to be.

    Args:
        lease: The right to write it.
        documents: Kind, key and JSON of each.
        store: Holds its offsets and streams.
    """

    lease: Lease
    documents: Iterable[tuple[str, str, str]]
    store: Store


def replace_all(database: Database, made: Callable[[], Iterator[Made]]) -> None:
    """Replace the derived state of partitions, all in one transaction.

    Memory stays bounded. Readers see what was there until all of it is there. While it is under way nobody
    can be given another lease of these partitions.

    Args:
        database: Where the ledger lies.
        made: What is to be there; asked again where the connection was lost.

    Raises:
        Fenced: A lease was lost; nothing has changed.
        StorageFull: The server's disk takes no more; nothing has changed.
        StateError: The database stays away; nothing has changed, unless it went away at the very end.
    """

    def work(connection: psycopg.Connection) -> None:
        with connection.transaction():
            # One that is paused in the midst of this must not hold the partitions for ever.
            connection.execute("SET LOCAL idle_in_transaction_session_timeout = '60s'")
            for each in made():
                _replace(connection, database, each)

    with closing(Session(database)) as session:
        session.run(work)


def _replace(connection: psycopg.Connection, database: Database, made: Made) -> None:
    lease = {"held": made.lease.partition, "token": made.lease.token}
    if not connection.execute(QUERIES["fence"], lease).fetchall():
        raise fenced(database, made.lease)
    for name in ("clear_documents", "clear_offsets", "clear_chunks"):
        connection.execute(QUERIES[name], lease)
    for changes in _pieces(made):
        connection.execute(QUERIES["commit"], {**lease, **commit_values(changes, [])})


def _pieces(made: Made) -> Iterator[Changes]:
    """Everything as changes, none of them large; a chunk that is, alone."""
    piece, size = Changes(offsets=dict(made.store.offsets())), 0
    for kind, key, text in made.documents:
        piece.documents[kind, key] = msgspec.Raw(text.encode())
        size += len(text)
        if size > BYTES_AT_ONCE:
            yield piece
            piece, size = Changes(), 0
    for stream in made.store.streams(""):
        for chunk in made.store.chunks(stream):
            piece.stream(stream).chunks[chunk.first] = chunk.batch
            size += chunk.batch.nbytes
            if size > BYTES_AT_ONCE:
                yield piece
                piece, size = Changes(), 0
    yield piece
