"""Where facts with an id lie in a log: by the sidecars of sealed segments, by reading those that are open."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from lossloop.ledger.base import Entry
from lossloop.ledger.facts import ids_of, model_in
from lossloop.ledger.files import manifests, sidecar
from lossloop.ledger.files.manifests import Manifest
from lossloop.ledger.files.opened import SUFFIX, OpenSegment
from lossloop.ledger.files.sealed import SealedSegment
from lossloop.ledger.files.sealing import entries_of
from lossloop.ledger.frames import Frame, Kind


@dataclass(frozen=True, kw_only=True)
class Found:
    """A fact, and where it lies: the frame's segment and end offset, and the row in the frame, from 0."""

    segment: str
    offset: int
    row: int
    frame: Frame

    @property
    def fact(self) -> pa.RecordBatch:
        """The row alone."""
        return self.frame.batch.slice(self.row, 1)


def find(log: Path, id: str, *, model: str, kind: Kind = Kind.PREDICTION) -> list[Found]:
    """Every prediction, or outcome, of a model with this id, by segment and offset.

    Raises:
        StateError: A manifest or an index is damaged.
    """
    found: list[Found] = []
    # In this order: a segment that is sealed in between is found twice rather than not at all.
    names = {path.name for path in log.glob(f"*{SUFFIX}") if path.is_file()}
    sealed = {manifest.segment: manifest for manifest in manifests.manifests(log)}
    for name in sorted({*names, *sealed}):
        segment = _opened(log, name, None if name in names else sealed.get(name))
        try:
            entries = entries_of(segment) if isinstance(segment, OpenSegment) else _likely(segment, log, id)
            found += (each for entry in entries for each in _in(entry, id, model, kind))
        finally:
            segment.close()
    return found


def _opened(log: Path, name: str, manifest: Manifest | None) -> OpenSegment | SealedSegment:
    if manifest is None:
        with contextlib.suppress(FileNotFoundError):
            return OpenSegment(log, name)
    return SealedSegment(log, name, manifest)


def _likely(segment: SealedSegment, log: Path, id: str) -> Iterator[Entry]:
    """The frames in which the id may be."""
    ids = segment.manifest.ids
    if not ids.path:
        return
    path = manifests.sealed_directory(log) / ids.path
    rows = sidecar.find(path, sidecar.hashes_of(pa.array([id])))
    for place in segment.index.frames_of(rows).tolist():
        yield from segment.entries(int(segment.index.start[place]), 1)


def _in(entry: Entry, id: str, model: str, kind: Kind) -> Iterator[Found]:
    frame = entry.frame
    if not isinstance(frame, Frame) or frame.kind is not kind or model_in(frame) != model:
        return
    ids = ids_of(frame)
    rows = [] if ids is None else pc.indices_nonzero(pc.equal(ids, id)).to_pylist()
    for row in rows:
        yield Found(segment=entry.position.segment, offset=entry.position.offset, row=row, frame=frame)
