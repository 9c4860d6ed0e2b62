"""The applier: the one process that reads the log, folds it and writes the derived state.

Delivery is at least once, counting exactly once: one transaction commits what a batch of frames changed
together with how far the log was read. Decisions are facts too: they are in the log before the transaction
that they belong to commits; folded again after a crash, they are the same and change nothing.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Protocol

from lossloop.core.clock import Clock
from lossloop.core.errors import InUse
from lossloop.ledger.base import Entry, Log
from lossloop.ledger.facts import decisions
from lossloop.ledger.files.durable import explained
from lossloop.ledger.files.opened import READ_AT_ONCE
from lossloop.ledger.frames import Damage, Frame, Kind
from lossloop.ledger.store import Store

DAMAGE = "damage"
"""Documents of bytes of the log that are no frame and were passed over: how many, by where they end."""


class Fold(Protocol):
    """What is made of facts; it may keep in memory what it will write when it is asked to."""

    def fold(self, frame: Frame, *, segment: str, start: int) -> list[tuple[str, str]]:
        """Fold a frame that begins behind `start` in a segment; return the decisions: their ids and JSON."""
        ...

    def flush(self) -> None:
        """Write to the store what was only kept in memory; its transaction is about to commit."""
        ...


class Applier:
    """Reads, folds, commits. Hold it under `applier_lock`; after an error in `step`, begin anew."""

    def __init__(self, log: Log, store: Store, fold: Fold, clock: Clock) -> None:
        self._reader = log.reader()
        self._writer = log.writer()
        self._store = store
        self._fold = fold
        self._clock = clock
        self._offsets: dict[str, int] | None = None

    def step(self) -> int:
        """Fold what is new and commit it; return how many frames that was."""
        if self._offsets is None:
            self._offsets = dict(self._store.offsets())
        entries = list(self._reader.read(self._offsets, most=READ_AT_ONCE))
        if not entries:
            return 0
        offsets, self._offsets = self._offsets, None
        with self._store.transaction():
            decided = [decision for entry in entries for decision in self._apply(entry, offsets)]
            self._fold.flush()
            for segment in sorted({entry.position.segment for entry in entries}):
                self._store.put_offset(segment, offsets[segment])
            if decided:
                self._writer.append([decisions(decided, now=self._clock.now())])
            self._reader.sync(sorted({entry.position.segment for entry in entries}))
        self._offsets = offsets
        return len(entries)

    def append(self, frame: Frame) -> None:
        """Add a fact of the applier's own, such as a tick."""
        self._writer.append([frame])

    def close(self) -> None:
        self._reader.close()
        self._writer.close()

    def _apply(self, entry: Entry, offsets: dict[str, int]) -> list[tuple[str, str]]:
        where = entry.position
        start = offsets.get(where.segment, 0) if entry.start is None else entry.start
        offsets[where.segment] = where.offset
        if isinstance(entry.frame, Damage):
            self._store.put(DAMAGE, f"{where.segment}:{where.offset}", entry.frame.end - entry.frame.start)
            return []
        if entry.frame.kind is Kind.DECISION:
            return []
        return self._fold.fold(entry.frame, segment=where.segment, start=start)


class ApplierLock:
    """The right to write the derived state, held by one process at a time and freed when it dies.

    Raises:
        InUse: Another process holds it.
        StateError: Nothing can be written there.
    """

    def __init__(self, path: Path) -> None:
        with explained(path.parent):
            self._fd = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(self._fd)
            raise InUse(
                f"another process writes {path.parent}; stop it first, or use another directory"
            ) from None

    def release(self) -> None:
        """Let the next one write."""
        os.close(self._fd)
