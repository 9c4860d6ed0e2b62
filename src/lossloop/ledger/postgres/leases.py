"""Leases: which applier folds which partition, for as long as it shows that it is alive.

Each applier renews its leases and takes free ones up to its fair share, on a thread of its own: folding
may take longer than a lease lasts. A lease that was not renewed goes to another applier, under a newer
token; by its old one nobody can commit any more, however late it wakes up.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from lossloop.core.errors import InUse, LossloopError
from lossloop.core.ids import new_id
from lossloop.ledger.postgres.database import QUERIES, Database
from lossloop.ledger.postgres.session import Session
from lossloop.ledger.postgres.store import Lease

if TYPE_CHECKING:
    import psycopg

SPAN = timedelta(seconds=3)
"""How long a lease lasts without being renewed."""
RENEWALS = 4
"""Attempts to renew within that time."""


class Leases:
    """The leases of one applier; begin with `start`, end with `stop`.

    Args:
        database: Where the ledger lies.
        span: How long leases last; the same for all appliers.
        name: What `holders` shows; the machine and the process by default.
    """

    def __init__(self, database: Database, *, span: timedelta = SPAN, name: str | None = None) -> None:
        self.holder = f"{name or f'{socket.gethostname()}:{os.getpid()}'}:{new_id()[-8:]}"
        self._session = Session(database)
        self._span = span
        self._lock = threading.Lock()
        self._held: dict[int, Lease] = {}
        self._share = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep, daemon=True, name="lossloop-leases")

    def start(self) -> None:
        """Take the first leases and renew them from now on.

        Raises:
            StateError: There is no ledger, or no database.
        """
        try:
            self.beat()
        except BaseException:
            self._session.close()
            raise
        # From now on a beat that comes too late is worth nothing.
        self._session.database = replace(self._session.database, patience=self._span.total_seconds())
        self._thread.start()

    def held(self) -> Mapping[int, Lease]:
        """The leases held, by partition, as far as this applier knows."""
        with self._lock:
            return dict(self._held)

    def complete(self) -> bool:
        """Whether no other applier holds a partition."""
        with self._lock:
            return len(self._held) == self._session.partitions

    def surplus(self) -> list[Lease]:
        """Leases over the fair share: finish what is under way for them, then give them back."""
        with self._lock:
            return [self._held[partition] for partition in sorted(self._held)[self._share :]]

    def give_back(self, lease: Lease) -> None:
        """Let another applier have a partition at once."""
        self.forget(lease)
        self._session.execute("give_back", partition=lease.partition, token=lease.token)

    def forget(self, lease: Lease) -> None:
        """A lease turned out to be lost."""
        with self._lock:
            if self._held.get(lease.partition) == lease:
                del self._held[lease.partition]

    def stop(self) -> None:
        """Give all leases back."""
        self._halt()
        try:
            for lease in self.held().values():
                self.give_back(lease)
            self._session.execute("leave", holder=self.holder)
        finally:
            self._session.close()

    def close(self) -> None:
        """Renew no more; leases that were not given back go on until they expire."""
        self._halt()
        self._session.close()

    def _halt(self) -> None:
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()

    def beat(self) -> None:
        """Show that this applier is alive, renew what it holds, and take what it should."""
        with self._lock:
            mine = list(self._held)
        held, share = self._session.run(self._beat)
        with self._lock:
            # What was given back meanwhile is not held any more.
            self._held = {p: lease for p, lease in held.items() if p in self._held or p not in mine}
            self._share = share

    def _keep(self) -> None:
        while not self._over.wait(self._span.total_seconds() / RENEWALS):
            try:
                self.beat()
            except LossloopError:
                continue  # the database is away: nobody can take the leases, and commits say what is wrong

    def _beat(self, connection: psycopg.Connection) -> tuple[dict[int, Lease], int]:
        values = {"holder": self.holder, "span": self._span}
        connection.execute(QUERIES["beat"], values)
        connection.execute(QUERIES["bury"], {"span": 20 * self._span})
        held = connection.execute(QUERIES["renew"], values).fetchall()
        alive = [holder for (holder,) in connection.execute(QUERIES["alive"]).fetchall()]
        share = fair_share(self._session.partitions, {*alive, self.holder}, self.holder)
        if share > len(held):
            held += connection.execute(QUERIES["take"], {**values, "most": share - len(held)}).fetchall()
        return {partition: Lease(partition=partition, token=token) for partition, token in held}, share


def fair_share(partitions: int, alive: Collection[str], holder: str) -> int:
    """How many partitions a holder should have, so that the shares of all make up the whole."""
    least, over = divmod(partitions, len(alive))
    return least + (sorted(alive).index(holder) < over)


def holders(database: Database) -> dict[int, str]:
    """Who folds which partition now; none for those that nobody does."""
    session = Session(database)
    try:
        return dict(sorted(session.rows("holders")))
    finally:
        session.close()


@contextlib.contextmanager
def alone(database: Database, *, span: timedelta = SPAN, name: str | None = None) -> Iterator[Leases]:
    """The leases of all partitions, for as long as the block lasts: no applier runs beside it.

    Args:
        database: Where the ledger lies.
        span: How long leases last without being renewed; the same for all appliers.
        name: What `holders` shows.

    Raises:
        InUse: An applier holds partitions, and is not dead.
        StateError: There is no ledger, or no database.
    """
    _wait(lambda: not holders(database), database, span)
    leases = Leases(database, span=span, name=name)
    leases.start()
    try:
        _wait(leases.complete, database, span)
        yield leases
    finally:
        with contextlib.suppress(LossloopError):  # then the leases expire
            leases.stop()


def _wait(free: Callable[[], bool], database: Database, span: timedelta) -> None:
    """Wait for as long as one that was killed may hold partitions."""
    deadline = time.monotonic() + 1.5 * span.total_seconds()
    while not free():
        if time.monotonic() > deadline:
            raise InUse(f"an applier folds the ledger in {database}; stop every `lossloop up` over it first")
        time.sleep(0.05)
