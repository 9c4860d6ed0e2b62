"""A ledger held as a whole: no applier folds it meanwhile, and none can begin to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import timedelta

from lossloop.ledger.postgres.crew import Share
from lossloop.ledger.postgres.database import Database
from lossloop.ledger.postgres.leases import SPAN, alone
from lossloop.ledger.postgres.session import Session
from lossloop.ledger.postgres.store import Lease, PartitionLog, PostgresStore


class Whole:
    """All partitions of a ledger, as `held` gives them.

    Args:
        database: Where the ledger lies.
        session: Shared by all partitions; closed by whoever made it.
        leases: One of each partition.
    """

    def __init__(self, database: Database, session: Session, leases: Mapping[int, Lease]) -> None:
        self.database = database
        self.session = session
        self._stores = {
            partition: PostgresStore(session, lease) for partition, lease in sorted(leases.items())
        }

    def tokens(self) -> Mapping[int, int]:
        """What commits rest on, by partition."""
        return {partition: store.lease.token for partition, store in self._stores.items()}

    def stores(self) -> list[PostgresStore]:
        """The derived state of each partition, to be written; this process's only ones."""
        return list(self._stores.values())

    def store_of(self, partition: int) -> PostgresStore:
        """The derived state of one partition."""
        return self._stores[partition]

    def shares(self) -> list[Share]:
        """What each partition is folded with."""
        return [
            Share(lease=store.lease, log=PartitionLog(self.session, store), store=store)
            for store in self.stores()
        ]


@contextmanager
def held(database: Database, *, span: timedelta = SPAN, name: str | None = None) -> Iterator[Whole]:
    """A ledger as a whole, for as long as the block lasts; servers may go on appending.

    Args:
        database: Where the ledger lies.
        span: How long leases last; the same for all appliers.
        name: What `holders` shows.

    Raises:
        InUse: An applier holds partitions, and is not dead.
    """
    with alone(database, span=span, name=name) as leases, closing(Session(database)) as session:
        yield Whole(database, session, leases.held())
