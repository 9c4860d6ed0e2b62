"""Ledgers on the tests' server, as the conformance checks and other tests open them."""

from __future__ import annotations

from datetime import timedelta
from itertools import count

from lossloop.ledger.postgres.database import Database
from lossloop.ledger.postgres.leases import Leases
from lossloop.ledger.postgres.session import Session
from lossloop.ledger.postgres.setup import init_store
from lossloop.ledger.postgres.store import Lease, PartitionLog, PostgresStore
from lossloop.ledger.postgres.view import PostgresView
from tests.ledger.postgres.server import Server

_numbers = count(1)


def empty_database(server: Server) -> Database:
    """A schema that is not there yet."""
    return Database(url=server.url(), schema=f"test_{next(_numbers)}", patience=60)


def new_database(server: Server, *, partitions: int = 1) -> Database:
    """An empty ledger."""
    database = empty_database(server)
    init_store(database, partitions=partitions)
    return database


def taken(database: Database, *, name: str = "test") -> dict[int, Lease]:
    """Leases of all partitions that are free, for an hour."""
    leases = Leases(database, span=timedelta(hours=1), name=name)
    try:
        leases.beat()
    finally:
        leases.close()
    return dict(leases.held())


class Partition:
    """The state of the one partition of a ledger, and the log as its applier uses it."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lease = taken(database)[0]
        self.sessions: list[Session] = []

    def log(self) -> PartitionLog:
        session = self._session()
        return PartitionLog(session, PostgresStore(session, self._lease))

    def writer(self) -> PostgresStore:
        return PostgresStore(self._session(), self._lease)

    def reader(self) -> PostgresView:
        return PostgresView(self._database)

    def close(self) -> None:
        """Close what its writers leave to whoever made their session."""
        for session in self.sessions:
            session.close()

    def _session(self) -> Session:
        self.sessions.append(Session(self._database))
        return self.sessions[-1]
