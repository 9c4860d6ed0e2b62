"""Erasing a unit from a ledger: log, derived state and backups; what stays are counts."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import msgspec

from lossloop.access.audit import AuditLog
from lossloop.app.alone import Alone
from lossloop.app.bundles import backups, erase_in_bundle
from lossloop.app.home import Home
from lossloop.app.importing import forget_rejects
from lossloop.app.predicting import forget_batches
from lossloop.core.errors import UnknownName
from lossloop.core.records import Record
from lossloop.ledger.findings import Tell
from lossloop.ledger.removals import Erased

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
    """Rows that went from what imports and batches had rejected."""


def survey(
    alone: Alone,
    unit: str,
    model: str | None = None,
    *,
    more: Sequence[Path] = (),
    tell: Tell = lambda done: None,
) -> Erasure:
    """What would be erased.

    Args:
        alone: The ledger, as `stopped` gives it.
        unit: Whose rows.
        model: Of this model, or of all.
        more: Bundles that were made elsewhere.
        tell: Told of progress, in bytes.

    Raises:
        UnknownName: The log has no such model.
    """
    found = alone.held(unit, None if model is None else [model], tell)
    if model is not None and model not in (known := alone.models()):
        raise UnknownName("model", model, known)
    places = _bundles(alone.home, more)
    return Erasure(
        models=_counts(found),
        backups=[str(place) for place in places if place.exists()],
        removed=[path.name for path in sorted(alone.home.path.glob(OLDER))],
        not_found=[str(place) for place in places if not place.exists()],
    )


def erase_unit(alone: Alone, unit: str, model: str | None = None, *, more: Sequence[Path] = ()) -> Erasure:
    """Erase a unit from a ledger that is `stopped`. Doing it again goes on where it was cut off.

    An entry in the audit log says what was done, with a keyed hash in place of the unit.
    """
    home, models = alone.home, None if model is None else [model]
    # What is to go is noted first: once the log has it no more, nothing else tells which rows it was.
    alone.note(alone.held(unit, models, lambda done: None))
    gone = _counts(alone.erase(unit, models))
    rejected = forget_rejects(home, unit, alone.noted(), model)
    rejected += forget_batches(home, unit, alone.noted(), model)
    alone.forget(unit)
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


def _bundles(home: Home, more: Sequence[Path]) -> list[Path]:
    listed = [Path(backup.path) for backup in backups(home)]
    return sorted({*listed, *(path.absolute() for path in more)})


def _counts(found: Erased) -> dict[str, Counts]:
    return {
        model: Counts(predictions=rows.predictions, outcomes=rows.outcomes)
        for model, rows in sorted(found.items())
    }
