"""One connection to a ledger in PostgreSQL, made again whenever the server was away."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from lossloop.core.errors import NewerFormat, StateError
from lossloop.ledger.postgres.database import QUERIES, Database, missing
from lossloop.ledger.postgres.errors import Trouble, trouble_of

if TYPE_CHECKING:
    import psycopg

FORMAT = 1
"""Of the tables; a release refuses a number above its own."""
T = TypeVar("T")
Row = tuple[Any, ...]


class Session:
    """A connection, for one thread after the other.

    Args:
        database: Where the ledger lies. Nothing is opened before it is needed.
    """

    settings: Mapping[str, str] = {
        # A server that vanished without a word is noticed within half a minute.
        "connect_timeout": "5",
        "keepalives_idle": "10",
        "keepalives_interval": "5",
        "keepalives_count": "3",
        "tcp_user_timeout": "30000",
        "application_name": "lossloop",
    }
    """What libpq is told where the address says nothing about it."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._connection: psycopg.Connection | None = None
        self._lock = threading.RLock()
        self._partitions = 0

    @property
    def partitions(self) -> int:
        """Into how many partitions the ledger is cut; set when it was made."""
        if not self._partitions:
            self.run(lambda connection: None)
        return self._partitions

    def rows(self, name: str, **values: Any) -> list[Row]:
        """The rows that a query of queries.sql finds."""
        return self.run(lambda connection: connection.execute(QUERIES[name], values, binary=True).fetchall())

    def execute(self, name: str, **values: Any) -> None:
        """Run a statement of queries.sql that finds nothing."""
        self.run(lambda connection: connection.execute(QUERIES[name], values))

    def run(self, work: Callable[[psycopg.Connection], T]) -> T:
        """Do work on the connection; where that is lost, on another one.

        Then nobody knows whether the work was done, so it must be such that twice is as good as once.

        Raises:
            StorageFull: The server's disk takes no more.
            Overloaded: It has no room for this connection or this work just now.
            StateError: It did not answer for as long as patience lasts, or refuses.
        """
        patience = time.monotonic() + self.database.patience
        with self._lock:
            for pause in _pauses():
                try:
                    return self._attempt(work)
                except Trouble as trouble:
                    if not trouble.passes or time.monotonic() + pause > patience:
                        raise trouble.error from None
                time.sleep(pause)
        raise AssertionError("pauses never end")

    def close(self) -> None:
        """Give the connection back; closing twice is harmless, and the next work opens another one."""
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()

    def _attempt(self, work: Callable[[psycopg.Connection], T]) -> T:
        try:
            import psycopg
        except ImportError:
            raise missing() from None
        try:
            if self._connection is None:
                self._connection = self._opened(psycopg)
            return work(self._connection)
        except psycopg.Error as error:
            trouble = trouble_of(error, self.database)
        except BaseException:
            self._reset()
            raise
        self._reset()
        raise trouble

    def _reset(self) -> None:
        """Keep the connection only where the next work can use it as if nothing had happened."""
        connection = self._connection
        if connection is not None and (connection.closed or connection.info.transaction_status):
            self.close()

    def _opened(self, psycopg: Any) -> psycopg.Connection:
        connection = psycopg.connect(self.database.url, autocommit=True, **self._settings(psycopg))
        try:
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection  # type: ignore[no-any-return]

    def _settings(self, psycopg: Any) -> dict[str, Any]:
        """What the address says nothing about."""
        said = psycopg.conninfo.conninfo_to_dict(self.database.url)
        return {
            **{name: value for name, value in self.settings.items() if name not in said},
            "client_encoding": "utf8",
        }

    def _prepare(self, connection: psycopg.Connection) -> None:
        place = self.database.place
        connection.execute(
            "SELECT set_config('search_path', %s, false)", [f"{self.database.schema}, pg_temp"]
        )
        (found,) = connection.execute(QUERIES["meta"]).fetchall()
        self._partitions = int(found[1])
        if found[0] > FORMAT:
            raise newer(self.database, found[0])
        if found[0] < FORMAT:
            raise StateError(f"{place} has format {found[0]}; bring it to {FORMAT} with init_store")
        fsync, commit, encoding = connection.execute(QUERIES["durable"]).fetchall()[0]
        if fsync == "off" or encoding != "UTF8":
            raise StateError(
                f"{self.database} loses what it acknowledged: its setting fsync is off; switch it on"
                if fsync == "off"
                else f"{self.database} is encoded as {encoding}; make a database with ENCODING 'UTF8'"
            )
        if commit in ("off", "local"):
            connection.execute("SET synchronous_commit = on")


def _pauses() -> Iterator[float]:
    """Seconds before each further attempt: short ones at first, since most restarts are."""
    pause = 0.02
    while True:
        yield pause
        pause = min(2 * pause, 1.0)


def newer(database: Database, found: int) -> NewerFormat:
    """What to say of a ledger that this release cannot read."""
    return NewerFormat(
        f"{database.place} has format {found}, this release reads up to {FORMAT}; install a newer lossloop"
    )


def bare(database: Database, work: Callable[[psycopg.Connection], T]) -> T:
    """Do work once on a connection that expects no ledger to be there; errors as of Session.run."""
    session = _Bare(database)
    try:
        return session.run(work)
    finally:
        session.close()


def reach(database: Database) -> None:
    """Raise StateError where a database does not answer, or takes no connection."""
    bare(database, lambda connection: None)


class _Bare(Session):
    def _prepare(self, connection: psycopg.Connection) -> None:
        """Nothing is expected."""
