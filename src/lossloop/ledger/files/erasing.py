"""Erasing a unit from a log: its predictions, the outcomes of those, their hashes; counts are kept."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lossloop.core.clock import Clock
from lossloop.core.errors import InUse
from lossloop.ledger.files import durable, manifests, sidecar
from lossloop.ledger.files.manifests import Manifest
from lossloop.ledger.files.opened import SUFFIX
from lossloop.ledger.files.reading import columns
from lossloop.ledger.files.removing import ERASED, Remover, Summarise
from lossloop.ledger.files.rewriting import Mask
from lossloop.ledger.files.sealing import Tell, finished, sealed_ones
from lossloop.ledger.files.segments import SegmentLog
from lossloop.ledger.files.sweeping import sweep


@dataclass(kw_only=True)
class Held:
    """What a log holds of a unit in one model."""

    ids: set[str] = field(default_factory=set)
    """Of its predictions: derived state is cleared of these."""
    predictions: int = 0
    outcomes: int = 0


Erased = dict[str, Held]
"""By model."""
_Keep = dict[str, dict[int, Mask]]
"""Which rows stay, by segment and table; tables that keep all are left out."""


def held(
    log: Path, unit: str, models: Collection[str] | None = None, *, tell: Tell = lambda done: None
) -> Erased:
    """What a log that nobody writes to holds of a unit; what is not sealed yet is sealed first.

    Args:
        log: The directory of segments.
        unit: Whose rows.
        models: Of these models, or of all.
        tell: Told of progress, in bytes of segments.

    Raises:
        InUse: A writer holds a segment; stop `lossloop up` first.
        StateError: A sealed file is damaged, so that nobody can tell what it holds.
    """
    with durable.maintained(manifests.sealed_directory(log)), durable.explained(log):
        return _survey(log, _sealed(log, tell), unit, models)[0]


def erase(
    log: Path,
    unit: str,
    models: Collection[str] | None = None,
    *,
    clock: Clock | None = None,
    summarise: Summarise | None = None,
) -> Erased:
    """Remove a unit's rows from a log that nobody writes to; a fact for each segment says how many went.

    Outcomes go whose id is that of one of the unit's predictions. Bytes that were damaged go too: nobody can
    tell whose they are. Doing it again goes on where it was cut off.

    Returns:
        What went; clear the derived state of these ids.

    Raises:
        InUse: A writer holds a segment; stop `lossloop up` first.
        StateError: A sealed file is damaged, so that nobody can tell what it holds.
    """
    with durable.maintained(manifests.sealed_directory(log)), durable.explained(log):
        found = _sealed(log, lambda done: None)
        gone, keep = _survey(log, found, unit, models)
        writer = SegmentLog(log).writer()
        try:
            remover = Remover(log, writer, clock, summarise)
            # Outcomes first: whose they are is known by the predictions that are still there.
            for kind in ("outcome", "prediction"):
                found = [_without(remover, manifest, keep, kind) for manifest in found]
        finally:
            writer.close()
    return gone


def _without(remover: Remover, manifest: Manifest, keep: _Keep, kind: str) -> Manifest:
    masks = {
        number: mask
        for number, mask in keep.get(manifest.segment, {}).items()
        if manifest.tables[number].kind == kind
    }
    return remover.remove(manifest, masks, why=ERASED, forget_damage=True)


def _sealed(log: Path, tell: Tell) -> list[Manifest]:
    """Everything, sealed."""
    still = {path.name for path in finished(log)}
    for path in sorted(log.glob(f"*{SUFFIX}")):
        if path.is_file() and path.name not in still:
            raise InUse(f"a process still writes {path.name}; stop lossloop up, then erase")
    sweep(log)
    for _ in sealed_ones(log, None, tell):
        pass
    return manifests.manifests(log)


def _survey(
    log: Path, found: list[Manifest], unit: str, models: Collection[str] | None
) -> tuple[Erased, _Keep]:
    gone: Erased = {}
    keep: _Keep = {}
    for manifest in found:
        for number in _tables(manifest, "prediction", models):
            _take_predictions(log, manifest, number, unit, gone, keep)
    for manifest in found:
        for number in _tables(manifest, "outcome", gone):
            _take_outcomes(log, manifest, number, gone, keep)
    return gone, keep


def _tables(manifest: Manifest, kind: str, models: Collection[str] | None) -> list[int]:
    return [
        number
        for number, table in enumerate(manifest.tables)
        if table.kind == kind and table.rows and (models is None or table.model in models)
    ]


def _take_predictions(
    log: Path, manifest: Manifest, number: int, unit: str, gone: Erased, keep: _Keep
) -> None:
    rows = columns(log, manifest, number, ["id", "unit"])
    going = _equal(rows.column("unit"), pa.array([unit]))
    if going.any():
        kept = gone.setdefault(manifest.tables[number].model, Held())
        ids = rows.column("id").filter(pa.array(going)).cast(pa.string())
        kept.ids.update(ids.drop_null().to_pylist())
        kept.predictions += int(going.sum())
        keep.setdefault(manifest.segment, {})[number] = ~going


def _take_outcomes(log: Path, manifest: Manifest, number: int, gone: Erased, keep: _Keep) -> None:
    model = manifest.tables[number].model
    ids = pa.array(sorted(gone[model].ids), pa.string())
    if not len(ids) or not _may_have(log, manifest, ids):
        return
    going = _equal(columns(log, manifest, number, ["id"]).column("id"), ids)
    if going.any():
        gone[model].outcomes += int(going.sum())
        keep.setdefault(manifest.segment, {})[number] = ~going


def _may_have(log: Path, manifest: Manifest, ids: pa.Array) -> bool:
    """Whether a segment may hold rows with any of these ids, by its sidecar."""
    path = manifest.ids.path
    return bool(path) and bool(
        len(sidecar.find(manifests.sealed_directory(log) / path, sidecar.hashes_of(ids)))
    )


def _equal(column: pa.ChunkedArray, wanted: pa.Array) -> Mask:
    found = pc.is_in(column.cast(pa.string()), value_set=wanted)
    return np.asarray(found.to_numpy(), dtype=np.bool_)
