"""Keeping the log: finished segments are sealed, and what a policy no longer wants is removed."""

from __future__ import annotations

import sys
import threading

from lossloop.app.books import Books
from lossloop.app.forgetting import Summariser
from lossloop.app.home import Home
from lossloop.core.clock import Clock, SystemClock
from lossloop.core.errors import LossloopError
from lossloop.ledger.files.retention import Pruned, prune
from lossloop.ledger.files.sealing import seal
from lossloop.ledger.joined.keys import Keys

EVERY = 600.0
"""Seconds between two looks."""


class Keeper:
    """Looks after the log of a directory in a thread of its own; a log in a database looks after itself.

    Args:
        home: The directory.
        clock: Tells how old facts are.
        every: Seconds between two looks; the first comes after as long.
    """

    def __init__(self, home: Home, clock: Clock | None = None, *, every: float = EVERY) -> None:
        self._home = home
        self._clock = clock or SystemClock()
        self._every = every
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="keeper", daemon=True)

    def start(self) -> None:
        """Begin to look after the log."""
        if self._home.database is None:
            self._thread.start()

    def close(self) -> None:
        """Stop; what is being done is finished first."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()

    def _work(self) -> None:
        while not self._stop.wait(self._every):
            try:
                keep(self._home, self._clock)
            except LossloopError as error:  # a full disk, or somebody exports just now: later, then
                print(f"the log could not be looked after: {error}", file=sys.stderr, flush=True)


def keep(home: Home, clock: Clock) -> list[Pruned]:
    """Seal what is finished and folded; then remove what the models' policies do not keep.

    Raises:
        InUse: Another process seals, prunes, erases or exports.
        StorageFull: There is no room for sealed files; nothing was lost.
    """
    log = home.segments.directory
    state = home.state()
    try:
        seal(log, state.offsets())
        gone = []
        books, summarise = Books(state), Summariser(state, Keys(home.settings().secret))
        for model in books.models():
            kept = books.policy(model).retention
            if kept is not None:
                cutoff = None if kept.age is None else clock.now() - kept.age
                gone.append(
                    prune(log, model, cutoff=cutoff, larger_than=kept.size, clock=clock, summarise=summarise)
                )
        return gone
    finally:
        state.close()
