"""Erasing a unit from a log: its predictions, the outcomes of those, their hashes; counts are kept."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
import pyarrow as pa

from lossloop.core.clock import Clock
from lossloop.core.errors import InUse
from lossloop.ledger.files import durable, manifests, sidecar
from lossloop.ledger.files.manifests import Manifest
from lossloop.ledger.files.opened import SUFFIX
from lossloop.ledger.files.reading import columns
from lossloop.ledger.files.removing import Remover
from lossloop.ledger.files.sealing import finished, sealed_ones
from lossloop.ledger.files.segments import SegmentLog
from lossloop.ledger.files.sweeping import sweep
from lossloop.ledger.findings import Tell
from lossloop.ledger.removals import ERASED, Erased, Held, Mask, Summarise, is_one_of

_NAMED, _MINE = range(2)
"""Turns: rows that have an id of the unit go before those that have the unit, for these tell the ids."""
_Keep = dict[tuple[int, str], dict[int, Mask]]
"""Which rows stay of those that are left, by turn and segment, and by table; who keeps all is left out."""


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

    An id that stands at one prediction of the unit is the unit's: all predictions with that id go, for they
    counted as one, and all its outcomes. Bytes that were damaged go too: nobody can tell whose they are.
    Doing it again goes on where it was cut off.

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
            for turn in (_NAMED, _MINE):
                found = [
                    remover.remove(each, keep.get((turn, each.segment), {}), why=ERASED, forget_damage=True)
                    for each in found
                ]
        finally:
            writer.close()
    return gone


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
            _take_ids(log, manifest, number, unit, gone)
    for manifest in found:
        for number in _tables(manifest, "prediction", gone):
            gone[manifest.tables[number].model].predictions += _take(log, manifest, number, unit, gone, keep)
        for number in _tables(manifest, "outcome", gone):
            gone[manifest.tables[number].model].outcomes += _take(log, manifest, number, unit, gone, keep)
    return gone, keep


def _tables(manifest: Manifest, kind: str, models: Collection[str] | None) -> list[int]:
    return [
        number
        for number, table in enumerate(manifest.tables)
        if table.kind == kind and table.rows and (models is None or table.model in models)
    ]


def _take_ids(log: Path, manifest: Manifest, number: int, unit: str, gone: Erased) -> None:
    """Note the ids of a unit's predictions."""
    rows = columns(log, manifest, number, ["id", "unit"])
    going = is_one_of(rows.column("unit"), pa.array([unit]))
    if going.any():
        ids = rows.column("id").filter(pa.array(going)).cast(pa.string())
        gone.setdefault(manifest.tables[number].model, Held()).ids.update(ids.drop_null().to_pylist())


def _take(log: Path, manifest: Manifest, number: int, unit: str, gone: Erased, keep: _Keep) -> int:
    """Note which rows of a table stay, in each turn; return how many go."""
    table = manifest.tables[number]
    ids = pa.array(sorted(gone[table.model].ids), pa.string())
    mine = named = np.zeros(table.rows, np.bool_)
    if len(ids) and _may_have(log, manifest, ids):
        named = is_one_of(columns(log, manifest, number, ["id"]).column("id"), ids)
    if table.kind == "prediction":
        mine = is_one_of(columns(log, manifest, number, ["unit"]).column("unit"), pa.array([unit]))
    named = named & ~mine
    if named.any():
        keep.setdefault((_NAMED, manifest.segment), {})[number] = ~named
    if mine.any():
        keep.setdefault((_MINE, manifest.segment), {})[number] = ~mine[~named]
    return int(np.count_nonzero(named | mine))


def _may_have(log: Path, manifest: Manifest, ids: pa.Array) -> bool:
    """Whether a segment may hold rows with any of these ids, by its sidecar."""
    path = manifest.ids.path
    return bool(path) and bool(
        len(sidecar.find(manifests.sealed_directory(log) / path, sidecar.hashes_of(ids)))
    )
