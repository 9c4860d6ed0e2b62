"""Keeping the log: finished segments are sealed, and what a policy no longer wants expires."""

from __future__ import annotations

import sys
import threading

from lossloop.app.books import Books
from lossloop.app.home import Home
from lossloop.core.clock import Clock, Micros, SystemClock
from lossloop.core.errors import LossloopError, UnknownName
from lossloop.ledger.files.retention import prune as prune_files
from lossloop.ledger.files.sealing import seal
from lossloop.ledger.joined.keys import Keys
from lossloop.ledger.joined.slicing import features_of
from lossloop.ledger.postgres.database import Database
from lossloop.ledger.postgres.keeping import may_remove
from lossloop.ledger.postgres.keeping import prune as prune_frames
from lossloop.ledger.postgres.turns import Turn
from lossloop.ledger.removals import Pruned
from lossloop.ledger.store import Store

EVERY = 600.0
"""Seconds between two looks."""


class Keeper:
    """Looks after the log in a thread of its own; of several machines over one database, one does.

    Args:
        home: The directory.
        clock: Tells how old facts are.
        every: Seconds between two looks; the first comes after as long.
    """

    def __init__(self, home: Home, clock: Clock | None = None, *, every: float = EVERY) -> None:
        self._home = home
        self._clock = clock or SystemClock()
        self._every = every
        self._turn = None if home.database is None else Turn(home.database, "keeper")
        self._refused = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="keeper", daemon=True)

    def start(self) -> None:
        """Begin to look after the log."""
        self._thread.start()

    def close(self) -> None:
        """Stop; what is being done is finished first."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join()
        if self._turn is not None:
            self._turn.close()

    def _work(self) -> None:
        while not self._stop.wait(self._every):
            try:
                if self._is_mine():
                    keep(self._home, self._clock)
            except LossloopError as error:  # a full disk, or somebody exports just now: later, then
                print(f"the log could not be looked after: {error}", file=sys.stderr, flush=True)

    def _is_mine(self) -> bool:
        """Whether this process is the one that does it; it says once that it may not."""
        database = self._home.database
        if database is None or self._turn is None:
            return True
        wanted = _models_kept(self._home)
        refused, self._refused = self._refused, bool(wanted) and not may_remove(database)
        if self._refused:
            if not refused:
                print(_refusal(database, wanted), file=sys.stderr, flush=True)
            self._turn.close()  # another machine's user may be allowed to
        return bool(wanted) and not self._refused and self._turn.mine()


def keep(home: Home, clock: Clock) -> list[Pruned]:
    """Seal what is finished and folded; then let expire what the models' policies do not keep.

    In a database nothing is sealed.

    Raises:
        InUse: Another process seals, prunes, erases or exports.
        StorageFull: There is no room for sealed files; nothing was lost.
    """
    state = home.state()
    try:
        if home.database is None:
            seal(home.segments.directory, state.offsets())
        gone, books = [], Books(state)
        for model in books.models():
            kept = books.policy(model).retention
            if kept is not None:
                cutoff = None if kept.age is None else clock.now() - kept.age
                gone.append(_prune(home, state, model, cutoff, kept.size, clock))
        return gone
    finally:
        state.close()


def prune(
    home: Home,
    model: str,
    *,
    cutoff: Micros | None = None,
    larger_than: int | None = None,
    dry_run: bool = False,
) -> Pruned:
    """Let facts of a model expire that are too old or too much, as far as they were folded.

    Raises:
        InputError: Neither an age nor a size.
        InUse: Another process seals, prunes, erases or exports.
        StateError: The database's user may not remove facts.
        UnknownName: There is no such model.
    """
    state = home.state()
    try:
        if model not in (known := Books(state).models()):
            raise UnknownName("model", model, known)
        return _prune(home, state, model, cutoff, larger_than, dry_run=dry_run)
    finally:
        state.close()


def _prune(
    home: Home,
    state: Store,
    model: str,
    cutoff: Micros | None,
    larger_than: int | None,
    clock: Clock | None = None,
    *,
    dry_run: bool = False,
) -> Pruned:
    keys, features = Keys(home.settings().secret), features_of(state, model)
    if home.database is not None:
        return prune_frames(
            home.database, model, keys=keys, features=features, cutoff=cutoff, larger_than=larger_than,
            dry_run=dry_run, clock=clock,
        )  # fmt: skip
    return prune_files(
        home.segments.directory, model, keys=keys, features=features, cutoff=cutoff,
        larger_than=larger_than, dry_run=dry_run, clock=clock,
    )  # fmt: skip


def _models_kept(home: Home) -> list[str]:
    """Models whose policies say how much is kept."""
    state = home.state()
    try:
        books = Books(state)
        return [model for model in books.models() if books.policy(model).retention is not None]
    finally:
        state.close()


def _refusal(database: Database, models: list[str]) -> str:
    return (
        f"the retention of {', '.join(models)} is not carried out: this user of {database} may not remove "
        "facts. Let its owner grant it the part keeper, or run lossloop ledger prune as somebody who may"
    )
