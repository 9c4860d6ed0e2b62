"""The applier wired to the loop: a process that folds, or a few folds by whoever holds the lock."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable

import msgspec

from lossloop.app.home import Home
from lossloop.app.loop import Loop
from lossloop.core.clock import SECOND, Clock, SystemClock
from lossloop.ledger.applier import Applier, ApplierLock
from lossloop.ledger.facts import tick
from lossloop.ledger.frames import Frame

BUSY_PAUSE, IDLE_PAUSE = 0.0005, 0.01
TICK_EVERY = SECOND
PARENT = "LOSSLOOP_PARENT"
"""Who started this process: it may be gone before this one can look."""


class Folding:
    """A loop and its applier over one directory; holds the lock until closed."""

    def __init__(self, home: Home, clock: Clock | None = None) -> None:
        self._lock = ApplierLock(home.lock)
        with contextlib.suppress(OSError):  # a full disk: who folds is not known then, that is all
            home.lock.write_text(str(os.getpid()))
        self._state = home.state(read_only=False)
        self._clock = clock or SystemClock()
        settings = home.settings()
        self._loop = Loop(self._state, settings)
        self._applier = Applier(home.log, self._state, self, self._clock)
        self._ticks = settings.clock == "receipt"

    def fold(self, frame: Frame, *, segment: str, start: int) -> list[tuple[str, str]]:
        made = self._loop.fold(frame, segment=segment, start=start)
        return [(decision.id, msgspec.json.encode(decision).decode()) for decision in made]

    def flush(self) -> None:
        self._loop.flush()

    def append(self, frame: Frame) -> None:
        """Add a fact of the applier's own, such as a tick."""
        self._applier.append(frame)

    def drain(self) -> int:
        """Fold all there is; return how many frames that was."""
        folded = 0
        while step := self._applier.step():
            folded += step
        return folded

    def run(self, stop: Callable[[], bool]) -> None:
        """Fold until asked to stop. In live use silence matures predictions too: a tick a second."""
        quiet_since = time.monotonic()
        last_tick = self._clock.now()
        while not stop():
            if self._applier.step():
                quiet_since = time.monotonic()
                continue
            if self._ticks and self._clock.now() - last_tick >= TICK_EVERY:
                last_tick = self._clock.now()
                if self._loop.something_is_due(last_tick):
                    self.append(tick(last_tick, now=last_tick))
                    continue
            time.sleep(BUSY_PAUSE if time.monotonic() - quiet_since < 1 else IDLE_PAUSE)

    def close(self) -> None:
        self._applier.close()
        self._state.close()
        self._lock.release()


def folds(home: Home) -> int | None:
    """The process that last took the right to fold; None before any."""
    try:
        return int(home.lock.read_text())
    except (OSError, ValueError):
        return None


def watch_parent() -> None:
    """End this process when the one that started it is gone, however it went and however early."""
    parent = int(os.environ.get(PARENT) or os.getppid())

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.2)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
