"""Erasing a unit from a state directory: derived state, log and backups; what stays are counts."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
import numpy as np

from lossloop.access.audit import AuditLog
from lossloop.app.bundles import backups, erase_in_bundle
from lossloop.app.forgetting import Summariser
from lossloop.app.home import Home
from lossloop.app.importing import forget_rejects
from lossloop.app.operate import fold_here
from lossloop.core.errors import InUse, UnknownName
from lossloop.core.records import Record
from lossloop.ledger.applier import ApplierLock
from lossloop.ledger.files import manifests
from lossloop.ledger.files.erasing import Erased, erase, held
from lossloop.ledger.joined.join import Join
from lossloop.ledger.joined.keys import Keys
from lossloop.ledger.joined.stream import Stream
from lossloop.ledger.joined.units import UNITS
from lossloop.ledger.sqlite.scrub import scrub
from lossloop.ledger.sqlite.state import State

Tell = Callable[[int], None]
ERASING = "erasing"
"""Documents of ids that are being erased, by model."""
OLDER = "backup-format-*"
"""Backups that a migration made: an older release's files, from which nothing can be erased."""


class Counts(Record, frozen=True):
    """Rows of a unit in a model."""

    predictions: int
    outcomes: int


class Erasure(Record, frozen=True, omit_defaults=False):
    """What is to be erased, or was, and where."""

    models: dict[str, Counts]
    backups: list[str] = []
    """Bundles that hold some of it, or did."""
    removed: list[str] = []
    """Backups of an older format, which go as a whole."""
    not_found: list[str] = []
    """Bundles that were made and are not where they were: erase there, wherever they are now."""
    rejected: int = 0
    """Rows that went from what imports had rejected."""


@contextmanager
def stopped(home: Home) -> Iterator[None]:
    """The directory to oneself, folded to its end.

    Raises:
        InUse: `lossloop up` runs over it.
    """
    fold_here(home.check())
    try:
        lock = ApplierLock(home.lock)
    except InUse:
        raise InUse(f"erasing needs {home.path} for itself; stop lossloop up first, then erase") from None
    try:
        yield
    finally:
        lock.release()


def survey(
    home: Home,
    unit: str,
    model: str | None = None,
    *,
    more: Sequence[Path] = (),
    tell: Tell = lambda done: None,
) -> Erasure:
    """What would be erased; call it while everything is `stopped`.

    Args:
        home: The state directory.
        unit: Whose rows.
        model: Of this model, or of all.
        more: Bundles that were made elsewhere.
        tell: Told of progress, in bytes of segments.

    Raises:
        UnknownName: The log has no such model.
    """
    log = home.segments.directory
    found = held(log, unit, None if model is None else [model], tell=tell)
    known = {table.model for manifest in manifests.manifests(log) for table in manifest.tables} - {""}
    if model is not None and model not in known:
        raise UnknownName("model", model, known)
    places = _bundles(home, more)
    return Erasure(
        models=_counts(found),
        backups=[str(place) for place in places if place.exists()],
        removed=[path.name for path in sorted(home.path.glob(OLDER))],
        not_found=[str(place) for place in places if not place.exists()],
    )


def erase_unit(home: Home, unit: str, model: str | None = None, *, more: Sequence[Path] = ()) -> Erasure:
    """Erase a unit; call it while everything is `stopped`. Doing it again goes on where it was cut off.

    An entry in the audit log says what was done, with a keyed hash in place of the unit.
    """
    log, models = home.segments.directory, None if model is None else [model]
    state, keys = home.writable_state(), Keys(home.settings().secret)
    try:
        # What is to go is noted first: once the log has it no more, nothing else tells which rows it was.
        _note(state, held(log, unit, models))
        gone = _counts(erase(log, unit, models, summarise=Summariser(state, keys)))
        rejected = forget_rejects(home, unit, state.all(ERASING, list[str]), model)
        forget(state, keys, unit)
    finally:
        state.close()
    scrub(home.state_file)
    places = _bundles(home, more)
    cleared = [str(place) for place in places if place.exists() and erase_in_bundle(place, unit, models)]
    older = sorted(home.path.glob(OLDER))
    for path in older:
        shutil.rmtree(path)
    done = Erasure(
        models=gone,
        backups=cleared,
        removed=[path.name for path in older],
        not_found=[str(place) for place in places if not place.exists()],
        rejected=rejected,
    )
    audit = AuditLog(home.path)
    audit.append("erase", {"unit": audit.keyed(unit), "model": model, **msgspec.to_builtins(done)})
    return done


def _note(state: State, erased: Erased) -> None:
    """Add to the ids that are being erased, by model."""
    with state.transaction():
        for model, found in erased.items():
            before = state.get(ERASING, model, list[str]) or []
            state.put(ERASING, model, sorted({*before, *found.ids}))


def forget(state: State, keys: Keys, unit: str) -> None:
    """Clear derived state of the predictions noted; that there were some, and what they cost, stays."""
    with state.transaction():
        for model, ids in state.all(ERASING, list[str]).items():
            Join(state, model, keys).erase_ids(ids)
            for name in state.streams(f"{UNITS}/{model}/"):
                stream = Stream(state, name)
                parts = [columns["unit"] for columns in stream.read()]
                units = np.concatenate(parts) if parts else np.empty(0, np.int64)
                if (units == keys.unit(unit)).any():
                    stream.rewrite({"unit": units[units != keys.unit(unit)]})
            state.drop(ERASING, model)


def _bundles(home: Home, more: Sequence[Path]) -> list[Path]:
    listed = [Path(backup.path) for backup in backups(home)]
    return sorted({*listed, *(path.absolute() for path in more)})


def _counts(found: Erased) -> dict[str, Counts]:
    return {
        model: Counts(predictions=rows.predictions, outcomes=rows.outcomes)
        for model, rows in sorted(found.items())
    }
