"""A ledger that nobody else folds, folded to its end: what erasing needs, wherever the ledger lies."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Protocol

import numpy as np

from lossloop.app.fold import Folder
from lossloop.app.forgetting import Summariser
from lossloop.app.home import Home
from lossloop.app.operate import fold_here
from lossloop.core.clock import SystemClock
from lossloop.core.errors import InUse
from lossloop.ledger.applier import ApplierLock
from lossloop.ledger.belonging import keys_from
from lossloop.ledger.files import erasing as in_files
from lossloop.ledger.files import manifests
from lossloop.ledger.files.verify import size
from lossloop.ledger.findings import Tell
from lossloop.ledger.joined.join import Join
from lossloop.ledger.joined.keys import Keys
from lossloop.ledger.joined.stream import Stream
from lossloop.ledger.joined.units import UNITS
from lossloop.ledger.postgres import erasing as in_postgres
from lossloop.ledger.postgres.database import Database
from lossloop.ledger.postgres.erasing import Found
from lossloop.ledger.postgres.frames import partition_of
from lossloop.ledger.postgres.moment import weight_of
from lossloop.ledger.postgres.whole import Whole, held
from lossloop.ledger.removals import Erased
from lossloop.ledger.sqlite.scrub import scrub
from lossloop.ledger.store import Store

ERASING, ERASING_KEYS = "erasing", "erasing_keys"
"""Documents of ids that are being erased, by model, and of the keys of predictions that have expired."""
Models = Collection[str] | None
"""Some models, or all."""


class Alone(Protocol):
    """What can be asked of a ledger that one process has for itself."""

    home: Home

    def size(self) -> int:
        """Bytes that are looked at, about."""
        ...

    def models(self) -> set[str]:
        """Models that the log holds facts of."""
        ...

    def held(self, unit: str, models: Models, tell: Tell) -> Erased:
        """What the log holds of a unit."""
        ...

    def note(self, erased: Erased) -> None:
        """Add to the ids that are being erased: once the log has them no more, nothing else tells them."""
        ...

    def erase(self, unit: str, models: Models) -> Erased:
        """Remove a unit from the log; return what went."""
        ...

    def noted(self) -> Mapping[str, list[str]]:
        """The ids that are being erased, by model."""
        ...

    def forget(self, unit: str) -> None:
        """Clear derived state of the ids that were noted, and forget these."""
        ...


@contextmanager
def stopped(home: Home) -> Iterator[Alone]:
    """The ledger to oneself, folded to its end.

    Raises:
        InUse: `lossloop up` runs over it.
    """
    if home.check().database is not None:
        with _whole(home.database, home) as whole:
            yield AloneInDatabase(home, whole)
        return
    fold_here(home)
    try:
        lock = ApplierLock(home.lock)
    except InUse:
        raise InUse(_needed(str(home.path))) from None
    try:
        yield AloneInFiles(home)
    finally:
        lock.release()


def _needed(place: str) -> str:
    return f"erasing needs {place} for itself; stop lossloop up first, then erase"


class AloneInFiles:
    """A state directory whose log and state are files; hold its lock."""

    def __init__(self, home: Home) -> None:
        self.home = home
        self._log = home.segments.directory
        self._keys = Keys(home.settings().secret)

    def size(self) -> int:
        return size(self._log)

    def models(self) -> set[str]:
        found = manifests.manifests(self._log)
        return {table.model for manifest in found for table in manifest.tables} - {""}

    def held(self, unit: str, models: Models, tell: Tell) -> Erased:
        return in_files.held(self._log, unit, models, keys=self._keys, tell=tell)

    def note(self, erased: Erased) -> None:
        with self._state() as state:
            note(state, erased)

    def erase(self, unit: str, models: Models) -> Erased:
        with self._state() as state:
            summariser = Summariser(state, self._keys)
            return in_files.erase(self._log, unit, models, keys=self._keys, summarise=summariser)

    def noted(self) -> Mapping[str, list[str]]:
        with self._state() as state:
            return state.all(ERASING, list[str])

    def forget(self, unit: str) -> None:
        with self._state() as state:
            forget(state, self._keys, unit)
        scrub(self.home.state_file)

    @contextmanager
    def _state(self) -> Iterator[Store]:
        state = self.home.writable_state()
        try:
            yield state
        finally:
            state.close()


class AloneInDatabase:
    """A ledger in PostgreSQL of which this process has all leases."""

    def __init__(self, home: Home, whole: Whole) -> None:
        self.home = home
        self._whole = whole
        self._keys = Keys(home.settings().secret)
        self._found: dict[tuple[str, Models], Found] = {}

    def size(self) -> int:
        return weight_of(self._whole.session)

    def models(self) -> set[str]:
        return {model for (model,) in self._whole.session.rows("models")}

    def held(self, unit: str, models: Models, tell: Tell) -> Erased:
        return self._survey(unit, models, tell).held

    def note(self, erased: Erased) -> None:
        partitions = self._whole.session.partitions
        for model, found in erased.items():
            note(self._whole.store_of(partition_of(model, partitions)), {model: found})

    def erase(self, unit: str, models: Models) -> Erased:
        found, state = self._survey(unit, models, lambda done: None), self.home.state()
        try:
            gone = in_postgres.erase(self._whole, found, summarise=Summariser(state, self._keys))
        finally:
            state.close()
        self._found.clear()
        return gone

    def noted(self) -> Mapping[str, list[str]]:
        return {
            model: ids
            for store in self._whole.stores()
            for model, ids in store.all(ERASING, list[str]).items()
        }

    def forget(self, unit: str) -> None:
        for store in self._whole.stores():
            forget(store, self._keys, unit)

    def _survey(self, unit: str, models: Models, tell: Tell) -> Found:
        """What was folded of a unit: that does not change, so it is looked for once."""
        key = (unit, None if models is None else tuple(sorted(models)))
        if key not in self._found:
            self._found[key] = in_postgres.survey(
                self._whole.session, unit, models, keys=self._keys, tell=tell
            )
        return self._found[key]


@contextmanager
def _whole(database: Database | None, home: Home) -> Iterator[Whole]:
    assert database is not None
    with ExitStack() as stack:
        try:
            whole = stack.enter_context(held(database, name="erase"))
        except InUse:
            raise InUse(_needed(database.place)) from None
        _fold(whole, home)
        yield whole


def _fold(whole: Whole, home: Home) -> None:
    """Fold all there is."""
    settings = home.settings()
    for share in whole.shares():
        folder = Folder(share.log, share.store, settings, SystemClock())
        try:
            while folder.catch_up():
                continue
        finally:
            folder.close()


def note(store: Store, erased: Erased) -> None:
    """Add to the ids that are being erased, by model."""
    with store.transaction():
        for model, found in erased.items():
            for kind, more in ((ERASING, found.ids), (ERASING_KEYS, found.keys)):
                before = store.get(kind, model, list[str]) or []
                store.put(kind, model, sorted({*before, *more}))


def forget(store: Store, keys: Keys, unit: str) -> None:
    """Clear derived state of the predictions noted; that there were some, and what they cost, stays."""
    with store.transaction():
        for model, ids in store.all(ERASING, list[str]).items():
            join = Join(store, model, keys)
            join.erase_ids(ids)
            join.erase_keys(*keys_from(store.get(ERASING_KEYS, model, list[str]) or []))
            for name in store.streams(f"{UNITS}/{model}/"):
                stream = Stream(store, name)
                parts = [columns["unit"] for columns in stream.read()]
                units = np.concatenate(parts) if parts else np.empty(0, np.int64)
                if (units == keys.unit(unit)).any():
                    stream.rewrite({"unit": units[units != keys.unit(unit)]})
            store.drop(ERASING, model)
            store.drop(ERASING_KEYS, model)
