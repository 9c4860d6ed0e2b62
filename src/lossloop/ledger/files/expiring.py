"""Frames of a sealed segment that expire: their rows move to tables of their own, less what nobody needs.

Positions and receipt times stay, so the segment is folded as it was. The new files lie beside the old ones
until the manifest that names them is there; then the old ones go. What was written is read back and compared
before.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa

from lossloop.core.errors import StateError
from lossloop.ledger.base import Entry
from lossloop.ledger.expired import EXPIRED_KINDS, Needs, expired_all
from lossloop.ledger.files import frametable, manifests, sidecar
from lossloop.ledger.files.frameindex import FrameIndex
from lossloop.ledger.files.frametable import TableWriter
from lossloop.ledger.files.manifests import Blob, Manifest, Table
from lossloop.ledger.files.rewriting import removed, table_without, times_of
from lossloop.ledger.files.sealed import SealedSegment
from lossloop.ledger.files.sealing import compare
from lossloop.ledger.files.sealwriter import Tables, Unfit, draft_of, placed, write_ids, write_index
from lossloop.ledger.files.sweeping import sweep
from lossloop.ledger.frames import Frame
from lossloop.ledger.joined.keys import Int64
from lossloop.ledger.removals import EXPIRED, Mask

KINDS = frozenset(kind.name.lower() for kind in EXPIRED_KINDS.values())
"""What tables of rows that have expired are called."""
_AT_ONCE = 4096
"""Frames that are read at once."""


@dataclass(frozen=True, kw_only=True)
class _Moved:
    """Frames as they are kept from now on."""

    places: Int64
    """Their places in the index. Shape (n,)."""
    tables: tuple[Table, ...]
    number: Int64
    """The table of each. Shape (n,)."""
    kind: Int64
    rows: Int64


def after_expiry(log: Path, manifest: Manifest, going: Mask, needs: Needs) -> Manifest:
    """Write the files of a segment anew where frames of a model expire; return the next manifest.

    It is the caller's to put in force, and to drop what it does not name any more.

    Args:
        log: The directory of segments.
        manifest: The segment as it is.
        going: Which of its frames, all of one model. Shape (frames,).
        needs: What of the rows has to be known.

    Raises:
        StateError: A file of these rows is damaged, or they did not come back as they were written.
    """
    segment = SealedSegment(log, manifest.segment, manifest)
    unfit: set[bytes] = set()
    try:
        while True:
            try:
                moved = _moved(log, segment, going, needs, unfit)
                after = _manifest(log, manifest, segment.index, going, moved)
                _compare(log, segment, after, moved, needs)
                return after
            except Unfit as found:
                if found.schema in unfit:
                    raise _damaged(manifest) from None
                unfit.add(found.schema)
                sweep(log)
    finally:
        segment.close()


def _moved(log: Path, segment: SealedSegment, going: Mask, needs: Needs, unfit: set[bytes]) -> _Moved:
    """Write the rows that expire, behind those of the model that have; so there is one table of a kind."""
    manifest, index = segment.manifest, segment.index
    before = _expired_before(manifest, index, going)
    places = np.flatnonzero(going | np.isin(index.table, before))
    tables = Tables(
        manifests.sealed_directory(log), segment.name, unfit, generation=manifest.generation + 1,
        others=len(manifest.tables),
    )  # fmt: skip
    told = [
        (tables.add(entry.position.offset, entry.frame), int(entry.frame.kind), entry.frame.batch.num_rows)
        for entries in _entries(segment, places, needs)
        for entry in entries
        if isinstance(entry.frame, Frame)
    ]
    number, kind, rows = np.array(told, np.int64).reshape(-1, 3).T
    return _Moved(places=places, tables=tables.finish(), number=number, kind=kind, rows=rows)


def _expired_before(manifest: Manifest, index: FrameIndex, going: Mask) -> list[int]:
    models = {manifest.tables[number].model for number in np.unique(index.table[going]).tolist()}
    return [n for n, table in enumerate(manifest.tables) if table.kind in KINDS and table.model in models]


def _entries(segment: SealedSegment, places: Int64, needs: Needs) -> Iterator[list[Entry]]:
    """What is kept at places of the index, some frames at a time."""
    for start in range(0, len(places), _AT_ONCE):
        found = [segment.entry(place) for place in places[start : start + _AT_ONCE].tolist()]
        frames = [entry.frame for entry in found if isinstance(entry.frame, Frame)]
        if len(frames) < len(found):
            raise _damaged(segment.manifest)
        yield [
            Entry(position=entry.position, frame=frame)
            for entry, frame in zip(found, expired_all(frames, needs), strict=True)
        ]


def _manifest(log: Path, manifest: Manifest, before: FrameIndex, going: Mask, moved: _Moved) -> Manifest:
    root, generation = manifests.sealed_directory(log), manifest.generation + 1
    merged = set(_expired_before(manifest, before, going))
    left = [number for number in range(len(manifest.tables)) if number not in merged]
    renumbered = np.full(len(manifest.tables) + 1, -1, np.int64)  # the last is NOWHERE, which is -1
    renumbered[left] = np.arange(len(left))
    index = _index(before, renumbered, len(left), moved)
    touched = np.unique(before.table[going]).tolist()
    tables = [
        _left(root, manifest.tables[number], before, number, going, generation)
        if number in touched
        else manifest.tables[number]
        for number in left
    ]
    tables += [
        msgspec.structs.replace(table, first=first, last=last)
        for number, table in enumerate(moved.tables, len(left))
        for first, last in [times_of(index, number)]
    ]
    gone = {
        number: np.repeat(~going[here], before.rows[here])
        for number in touched
        for here in [before.table == number]
    }
    return msgspec.structs.replace(
        manifest,
        format=manifests.FORMAT,
        generation=generation,
        tables=tuple(tables),
        index=write_index(root, manifest.segment, generation, index),
        ids=_ids(root, manifest, before, index, going),
        removed=removed(manifest, gone, EXPIRED),
    )


def _index(before: FrameIndex, renumbered: Int64, first: int, moved: _Moved) -> FrameIndex:
    table, kind, rows = renumbered[before.table], before.kind.copy(), before.rows.copy()
    table[moved.places] = first + moved.number
    kind[moved.places] = moved.kind
    rows[moved.places] = moved.rows
    return FrameIndex(end=before.end, kind=kind, time=before.time, table=table.astype(np.int16), rows=rows)


def _left(root: Path, table: Table, index: FrameIndex, number: int, going: Mask, generation: int) -> Table:
    """A table without the frames that expire."""
    here = index.table == number
    stays = np.repeat(~going[here], index.rows[here])
    if table.schema:
        pieces, file = table_without(root, table, stays, generation)
    else:
        pieces, file = _frames_left(root, table, ~going[here], generation)
    kept = here & ~going & (index.rows > 0)
    first, last = (int(index.time[kept].min()), int(index.time[kept].max())) if kept.any() else (0, 0)
    return msgspec.structs.replace(
        table, file=file, pieces=pieces, rows=int(stays.sum()), first=first, last=last
    )


def _frames_left(
    root: Path, table: Table, stays: Mask, generation: int
) -> tuple[tuple[manifests.Piece, ...], Blob]:
    """The file of frames that are kept as they were, without some of them."""
    if not stays.any():
        return (), Blob()
    draft, done = draft_of(root / table.file.path, generation), 0
    writer = TableWriter(draft, frametable.schema_for(None))
    for frames in frametable.groups(root / table.file.path):
        writer.write(frames.filter(pa.array(stays[done : done + frames.num_rows])).combine_chunks())
        done += frames.num_rows
    return placed(root, draft, writer)


def _ids(root: Path, manifest: Manifest, before: FrameIndex, after: FrameIndex, going: Mask) -> Blob:
    """The hashes of the ids that are left; a row of which less is kept keeps its number."""
    if not manifest.ids.path:
        return Blob()
    hashes, rows = sidecar.read(root / manifest.ids.path)
    frames = np.searchsorted(np.cumsum(before.rows), rows, side="right")
    there = ~going[frames]
    shift = (after.first_row - before.first_row)[frames[there]]
    return write_ids(root, manifest.segment, manifest.generation + 1, [(hashes[there], rows[there] + shift)])


def _compare(log: Path, segment: SealedSegment, after: Manifest, moved: _Moved, needs: Needs) -> None:
    """Read back what was written, and compare it with what it was made of.

    Raises:
        Unfit: With the schema of frames that came back changed.
    """
    written, done = SealedSegment(log, segment.name, after), 0
    try:
        for wanted in _entries(segment, moved.places, needs):
            places = moved.places[done : done + len(wanted)].tolist()
            compare(wanted, [written.entry(place) for place in places])
            done += len(wanted)
    finally:
        written.close()


def _damaged(manifest: Manifest) -> StateError:
    return StateError(
        f"rows of {manifest.segment} that are too old cannot be read, or not be written as they are; "
        "see: lossloop ledger verify"
    )
