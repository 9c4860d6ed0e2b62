"""An applier of several partitions: it folds those that it holds leases of, and gives others up."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from lossloop.core.errors import LossloopError
from lossloop.ledger.postgres.database import Database
from lossloop.ledger.postgres.errors import Fenced
from lossloop.ledger.postgres.leases import SPAN, Leases
from lossloop.ledger.postgres.session import Row, Session
from lossloop.ledger.postgres.store import Lease, PartitionLog, PostgresStore

REST_AFTER = timedelta(minutes=10)
"""How long nothing was added to a segment that is not looked at any more until something is."""
TIDY_EVERY = 60.0
STEP_EVERY = 0.1
"""Seconds after which partitions are stepped although the log has not grown: for some, time is news."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Share:
    """What one partition is folded with."""

    lease: Lease
    log: PartitionLog
    store: PostgresStore


class Folding(Protocol):
    """What folds one partition, such as an Applier."""

    def step(self) -> int:
        """Fold what is new and commit it; return how many frames that was."""
        ...

    def close(self) -> None:
        """Give back what is held."""
        ...


class Crew:
    """The partitions that this process folds; one thread calls `step` over and over.

    Args:
        database: Where the ledger lies.
        begin: Makes what folds a partition; called whenever one is taken.
        span: How long leases last without being renewed; the same for all appliers.
        name: What `holders` shows.

    Raises:
        StateError: There is no ledger, or no database.
    """

    def __init__(
        self,
        database: Database,
        begin: Callable[[Share], Folding],
        *,
        span: timedelta = SPAN,
        name: str | None = None,
    ) -> None:
        self._session = Session(database)
        self._begin = begin
        self._foldings: dict[Lease, Folding] = {}
        self._ends: list[Row] = []
        self._steps_at = 0.0
        self._tidied = time.monotonic()
        self._leases = Leases(database, span=span, name=name)
        self._leases.start()

    @property
    def partitions(self) -> list[int]:
        """What is folded here now."""
        return sorted(lease.partition for lease in self._foldings)

    def step(self) -> int:
        """Fold what is new in each partition; return how many frames that was.

        Raises:
            LossloopError: A partition could not be folded for another reason than a lost lease; what was
                kept in memory for it is gone, and the next step begins it anew.
        """
        self._follow()
        # One look for all partitions: an idle applier asks the database one thing at a time.
        ends = self._session.rows("segments_awake") if self._foldings else []
        now = time.monotonic()
        if ends == self._ends and now < self._steps_at:
            return 0
        self._ends, self._steps_at = ends, 0.0
        if now > self._tidied + TIDY_EVERY:
            self._tidied = now
            self._session.execute("let_rest", span=REST_AFTER)
        folded = sum(self._step(lease) for lease in list(self._foldings))
        self._steps_at = 0.0 if folded else now + STEP_EVERY
        return folded

    def close(self) -> None:
        """Give all partitions back, so that others can go on at once; closing twice is harmless."""
        for lease in list(self._foldings):
            self._end(lease)
        with contextlib.suppress(LossloopError):  # then the leases expire
            self._leases.stop()
        self._session.close()

    def _step(self, lease: Lease) -> int:
        try:
            return self._foldings[lease].step()
        except Fenced:
            self._leases.forget(lease)
            self._end(lease)
            return 0
        except BaseException:
            self._end(lease)
            raise

    def _follow(self) -> None:
        """Begin what was taken, end what was lost, and give back what others should have."""
        for lease in self._leases.surplus():
            self._end(lease)
            self._leases.give_back(lease)
        held = set(self._leases.held().values())
        for lease in set(self._foldings) - held:
            self._end(lease)
        for lease in sorted(held - set(self._foldings), key=lambda lease: lease.partition):
            self._steps_at = 0.0
            self._session.execute("wake", partition=lease.partition)
            store = PostgresStore(self._session, lease)
            log = PartitionLog(self._session, store, look=self._seen)
            self._foldings[lease] = self._begin(Share(lease=lease, log=log, store=store))

    def _seen(self) -> list[Row]:
        return self._ends

    def _end(self, lease: Lease) -> None:
        folding = self._foldings.pop(lease, None)
        if folding is not None:
            folding.close()
