"""The applier wired to the loop: a process that folds, or a few folds by whoever holds the right to."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from typing import Protocol

import msgspec

from lossloop.act.settings import Settings
from lossloop.app.home import Home
from lossloop.app.loop import Loop
from lossloop.app.pace import Pace
from lossloop.core.clock import SECOND, Clock, SystemClock
from lossloop.core.errors import InUse, StateError
from lossloop.ledger.applier import Applier, ApplierLock
from lossloop.ledger.base import Log
from lossloop.ledger.facts import tick
from lossloop.ledger.frames import Frame
from lossloop.ledger.postgres.crew import Crew, Share
from lossloop.ledger.postgres.database import Database
from lossloop.ledger.sqlite.state import State
from lossloop.ledger.store import Store

PACE = ((1.0, 0.0005), (10.0, 0.01), (60.0, 0.02), (float("inf"), 0.04))
"""Pauses between two looks at the log, by the seconds for which it has not grown."""
FREE_WITHIN = 3.0
"""Seconds."""
TICK_EVERY = SECOND
TICK_BEHIND = SECOND // 4
"""By how much a tick lies back. A fact has its time before it is on disk: a tick that overtook it would be
folded first, and by a rebuild, which goes by time, second."""


class Folder:
    """A loop and its applier over one log and one store."""

    def __init__(self, log: Log, store: Store, settings: Settings, clock: Clock) -> None:
        self._clock = clock
        self._loop = Loop(store, settings)
        self._applier = Applier(log, store, self, clock)
        self._ticks = settings.clock == "receipt"
        self._last_tick = clock.now()
        self._ready = False

    def fold(self, frame: Frame, *, segment: str, start: int) -> list[tuple[str, str]]:
        made = self._loop.fold(frame, segment=segment, start=start)
        return [(decision.id, msgspec.json.encode(decision).decode()) for decision in made]

    def flush(self) -> None:
        self._loop.flush()

    def step(self) -> int:
        """Fold what is new and commit it; return how many frames that was.

        In live use silence matures predictions too: where nothing is new, a tick a second. Silence is also
        when what a later fact needs is read and indexed: of millions of predictions that takes a second.
        """
        folded = self.catch_up() or self._tick()
        if folded or not self._ready:
            self._ready = not (folded or self._loop.prepare())
        return folded

    def catch_up(self) -> int:
        """Fold what is new and commit it, without a tick; return how many frames that was."""
        return self._applier.step()

    def _tick(self) -> int:
        now = self._clock.now()
        if not self._ticks or now - self._last_tick < TICK_EVERY:
            return 0
        self._last_tick = now
        settled = now - TICK_BEHIND
        if not self._loop.something_is_due(settled):
            return 0
        self.append(tick(settled, now=settled))
        return self.catch_up()

    def append(self, frame: Frame) -> None:
        """Add a fact of the applier's own, such as a tick."""
        self._applier.append(frame)

    def close(self) -> None:
        self._applier.close()


class Steps(Protocol):
    """What folds all that this process may fold."""

    def step(self) -> int:
        """Fold what is new and commit it; return how many frames that was."""
        ...

    def close(self) -> None:
        """Give the right to fold back."""
        ...


class Folding:
    """The fold of a directory whose log and state are files; holds the lock until closed."""

    def __init__(self, home: Home, clock: Clock | None = None) -> None:
        self._lock = ApplierLock(home.lock)
        _sign(home)
        try:
            self._state = home.writable_state()
            _compare(home, self._state)
        except BaseException:
            self._lock.release()
            raise
        self._folder = Folder(home.log, self._state, home.settings(), clock or SystemClock())

    def step(self) -> int:
        return self._folder.step()

    def append(self, frame: Frame) -> None:
        """Add a fact of the applier's own, such as a tick."""
        self._folder.append(frame)

    def drain(self) -> int:
        """Fold all there is; return how many frames that was."""
        folded = 0
        while step := self._folder.catch_up():
            folded += step
        return folded

    def close(self) -> None:
        self._folder.close()
        self._state.close()
        self._lock.release()


def _compare(home: Home, state: State) -> None:
    """Raise StateError where the state has folded what the log does not hold."""
    reader = home.segments.reader()
    lacking = reader.lacking(state.offsets())
    reader.close()
    if lacking:
        state.close()
        raise StateError(
            f"{home.state_file} has folded more of {lacking[0]} than the log holds: it was copied in use, "
            f"or facts are lost; restore them, or run: lossloop ledger rebuild --state {home.path}"
        )


def folding_in(database: Database, home: Home, clock: Clock | None = None) -> Steps:
    """The fold of the partitions of a database that fall to this process."""
    settings = home.settings()

    def begin(share: Share) -> Folder:
        return Folder(share.log, share.store, settings, clock or SystemClock())

    _sign(home)
    return Crew(database, begin)


def when_free(home: Home) -> Steps:
    """What this process may fold.

    Where another one holds the directory's lock, this waits a moment: what a killed predecessor left ends
    soon, and so does a command's fold.
    """
    if home.database is not None:
        return folding_in(home.database, home)
    deadline = time.monotonic() + FREE_WITHIN
    while True:
        try:
            return Folding(home)
        except InUse:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def fold_until(folding: Steps, stop: Callable[[], bool]) -> None:
    """Fold until asked to stop."""
    pace = Pace(steps=PACE)
    while not stop():
        if folding.step():
            pace.news()
        else:
            time.sleep(pace.pause())


def _sign(home: Home) -> None:
    """Say which process folds here."""
    with contextlib.suppress(OSError):  # a full disk: who folds is not known then, that is all
        home.lock.write_text(str(os.getpid()))


def folds(home: Home) -> int | None:
    """The process on this machine that last took the right to fold; None before any."""
    try:
        return int(home.lock.read_text())
    except (OSError, ValueError):
        return None
