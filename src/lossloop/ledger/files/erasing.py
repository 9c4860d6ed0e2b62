"""Erasing a unit from a log: its predictions, the outcomes of those, their hashes; counts are kept."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
import pyarrow as pa

from lossloop.core.clock import Clock
from lossloop.core.errors import InUse
from lossloop.ledger.belonging import Belonging
from lossloop.ledger.expired import EXPIRED_KINDS
from lossloop.ledger.facts import OF_A_MODEL, PREDICTIONS
from lossloop.ledger.files import durable, manifests, sidecar
from lossloop.ledger.files.manifests import Manifest
from lossloop.ledger.files.opened import SUFFIX
from lossloop.ledger.files.reading import identified
from lossloop.ledger.files.removing import Remover
from lossloop.ledger.files.sealing import finished, sealed_ones
from lossloop.ledger.files.segments import SegmentLog
from lossloop.ledger.files.sweeping import sweep
from lossloop.ledger.findings import Tell
from lossloop.ledger.frames import Kind
from lossloop.ledger.joined.keys import Keys
from lossloop.ledger.removals import ERASED, Erased, Held, Mask, Summarise

_NAMED, _MINE = range(2)
"""Turns: rows that have an id of the unit go before those that have the unit, for these tell the ids."""
_Keep = dict[tuple[int, str], dict[int, Mask]]
"""Which rows stay of those that are left, by turn and segment, and by table; who keeps all is left out."""


def held(
    log: Path,
    unit: str,
    models: Collection[str] | None = None,
    *,
    keys: Keys,
    tell: Tell = lambda done: None,
) -> Erased:
    """What a log that nobody writes to holds of a unit; what is not sealed yet is sealed first.

    Args:
        log: The directory of segments.
        unit: Whose rows.
        models: Of these models, or of all.
        keys: Those of the ledger: rows that have expired are known by them.
        tell: Told of progress, in bytes of segments.

    Raises:
        InUse: A writer holds a segment; stop `lossloop up` first.
        StateError: A sealed file is damaged, so that nobody can tell what it holds.
    """
    with durable.maintained(manifests.sealed_directory(log)), durable.explained(log):
        return _Survey(log, _sealed(log, tell), Belonging(unit, keys), models).gone


def erase(
    log: Path,
    unit: str,
    models: Collection[str] | None = None,
    *,
    keys: Keys,
    clock: Clock | None = None,
    summarise: Summarise | None = None,
) -> Erased:
    """Remove a unit's rows from a log that nobody writes to; a fact for each segment says how many went.

    An id that stands at one prediction of the unit is the unit's: all predictions with that id go, for they
    counted as one, and all its outcomes. Bytes that were damaged go too: nobody can tell whose they are.
    Doing it again goes on where it was cut off.

    Args:
        log: The directory of segments.
        unit: Whose rows.
        models: Of these models, or of all.
        keys: Those of the ledger: rows that have expired are known by them.
        clock: Tells when.
        summarise: What is kept of the predictions that go; nothing by default.

    Returns:
        What went; clear the derived state of these ids.

    Raises:
        InUse: A writer holds a segment; stop `lossloop up` first.
        StateError: A sealed file is damaged, so that nobody can tell what it holds.
    """
    with durable.maintained(manifests.sealed_directory(log)), durable.explained(log):
        found = _sealed(log, lambda done: None)
        survey = _Survey(log, found, Belonging(unit, keys), models)
        writer = SegmentLog(log).writer()
        try:
            remover = Remover(log, writer, clock, summarise)
            for turn in (_NAMED, _MINE):
                found = [
                    remover.remove(
                        each, survey.keep.get((turn, each.segment), {}), why=ERASED, forget_damage=True
                    )
                    for each in found
                ]
        finally:
            writer.close()
    return survey.gone


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


class _Survey:
    """What a log has of a unit: how much, and which rows stay once it is erased.

    Args:
        log: The directory of segments.
        found: What is sealed, which is everything.
        whose: Tells the unit's rows.
        models: Of these models, or of all.
    """

    def __init__(
        self, log: Path, found: list[Manifest], whose: Belonging, models: Collection[str] | None
    ) -> None:
        self._log = log
        self._whose = whose
        self.gone: Erased = {}
        self.keep: _Keep = {}
        for manifest in found:
            for number in _tables(manifest, PREDICTIONS, models):
                self._note(manifest, number)
        self._named = {model: whose.named(held) for model, held in self.gone.items()}
        for manifest in found:
            for number in _tables(manifest, OF_A_MODEL, self.gone):
                self._take(manifest, number)

    def _note(self, manifest: Manifest, number: int) -> None:
        """Note the ids of the unit's predictions."""
        rows = identified(self._log, manifest, number)
        mine = self._whose.mine(rows)
        if mine.any():
            self._whose.note(rows, mine, self.gone.setdefault(manifest.tables[number].model, Held()))

    def _take(self, manifest: Manifest, number: int) -> None:
        """Note which rows of a table stay, in each turn, and how many go."""
        table = manifest.tables[number]
        held, named = self.gone[table.model], self._named[table.model]
        mine = those = np.zeros(table.rows, np.bool_)
        predicted = manifests.kind_of(table) in PREDICTIONS
        whole = manifests.kind_of(table) not in EXPIRED_KINDS.values()
        if predicted or not whole or len(named.nameless) or _may_have(self._log, manifest, named.ids):
            rows = identified(self._log, manifest, number)
            those = named.those(rows)
            mine = self._whose.mine(rows) if predicted else mine
            if whole and len(named.nameless):  # an id that nobody knew is known now
                self._whose.note(rows, those, held)
        those = those & ~mine
        if those.any():
            self.keep.setdefault((_NAMED, manifest.segment), {})[number] = ~those
        if mine.any():
            self.keep.setdefault((_MINE, manifest.segment), {})[number] = ~mine[~those]
        going = int(np.count_nonzero(those | mine))
        held.predictions += going if predicted else 0
        held.outcomes += 0 if predicted else going


def _tables(manifest: Manifest, kinds: Collection[Kind], models: Collection[str] | None) -> list[int]:
    return [
        number
        for number, table in enumerate(manifest.tables)
        if manifests.kind_of(table) in kinds and table.rows and (models is None or table.model in models)
    ]


def _may_have(log: Path, manifest: Manifest, ids: pa.Array) -> bool:
    """Whether a segment may hold rows with any of these ids, by its sidecar."""
    path = manifest.ids.path
    return bool(path and len(ids)) and bool(
        len(sidecar.find(manifests.sealed_directory(log) / path, sidecar.hashes_of(ids)))
    )
