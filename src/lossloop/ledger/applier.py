"""The applier: the one process that reads the log, folds it and writes the derived state.

Delivery is at least once, counting exactly once: one transaction commits what a batch of frames changed
together with how far the log was read. Decisions are facts too: they are in the log before the transaction
that they belong to commits; folded again after a crash, they are the same and change nothing.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

from lossloop.core.clock import Clock
from lossloop.core.errors import InUse
from lossloop.ledger.base import Entry
from lossloop.ledger.facts import decisions
from lossloop.ledger.frames import Damage, Frame, Kind
from lossloop.ledger.segments import READ_AT_ONCE, SegmentLog
from lossloop.ledger.state import State

DAMAGE = "damage"
"""Documents of bytes of the log that are no frame and were passed over: how many, by where they end."""

Fold = Callable[[Frame], list[tuple[str, str]]]
"""Folds a frame into the state and returns the decisions made: their ids and their JSON."""


class Applier:
    """Reads, folds, commits. Hold it under `applier_lock`."""

    def __init__(self, log: SegmentLog, state: State, fold: Fold, clock: Clock) -> None:
        self._reader = log.reader()
        self._writer = log.writer()
        self._state = state
        self._fold = fold
        self._clock = clock

    def step(self) -> int:
        """Fold what is new and commit it; return how many frames that was."""
        entries = list(self._reader.read(self._state.offsets(), most=READ_AT_ONCE))
        if not entries:
            return 0
        with self._state.transaction():
            decided = [decision for entry in entries for decision in self._apply(entry)]
            if decided:
                self._writer.append([decisions(decided, now=self._clock.now())])
            self._reader.sync(sorted({entry.position.segment for entry in entries}))
        return len(entries)

    def append(self, frame: Frame) -> None:
        """Add a fact of the applier's own, such as a tick."""
        self._writer.append([frame])

    def close(self) -> None:
        self._reader.close()
        self._writer.close()

    def _apply(self, entry: Entry) -> list[tuple[str, str]]:
        self._state.run("put_offset", entry.position.segment, entry.position.offset)
        if isinstance(entry.frame, Damage):
            where, size = entry.position, entry.frame.end - entry.frame.start
            self._state.put(DAMAGE, f"{where.segment}:{where.offset}", size)
            return []
        return [] if entry.frame.kind is Kind.DECISION else self._fold(entry.frame)


class ApplierLock:
    """The right to write the derived state, held by one process at a time and freed when it dies.

    Raises:
        InUse: Another process holds it.
    """

    def __init__(self, path: Path) -> None:
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
