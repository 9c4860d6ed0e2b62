"""Rewriting a sealed segment without some of its rows: positions stay, frames that lose all rows stay empty.

The new files lie beside the old ones until the manifest that names them is there; then the old ones go.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np
import pyarrow as pa

from lossloop.ledger.files import frametable, manifests, sidecar
from lossloop.ledger.files.frameindex import FrameIndex
from lossloop.ledger.files.frametable import PAYLOAD, TableWriter
from lossloop.ledger.files.manifests import Blob, Manifest, Piece, Removed, Table
from lossloop.ledger.files.sealed import SealedSegment
from lossloop.ledger.files.sealwriter import draft_of, placed, write_ids, write_index
from lossloop.ledger.frames import batch_of, payload_of
from lossloop.ledger.removals import Mask, filtered


def rewritten(
    log: Path, manifest: Manifest, keep: Mapping[int, Mask], *, why: str, forget_damage: bool = False
) -> Manifest:
    """Write the files of a segment anew, without the rows that are not kept; return the next manifest.

    It is the caller's to put in force, and to drop what it does not name any more.

    Args:
        log: The directory of segments.
        manifest: The segment as it is.
        keep: By the number of a table.
        why: ``erased`` or ``expired``.
        forget_damage: Whether the bytes go that were no frame: nobody can tell whose they are.
    """
    root = manifests.sealed_directory(log)
    generation = manifest.generation + 1
    segment = SealedSegment(log, manifest.segment, manifest)
    index = _thinned(segment.index, keep)
    tables = list(manifest.tables)
    for number, mask in keep.items():
        pieces, file = table_without(root, tables[number], mask, generation)
        first, last = times_of(index, number)
        tables[number] = msgspec.structs.replace(
            tables[number], file=file, pieces=pieces, rows=int(mask.sum()), first=first, last=last
        )
    return msgspec.structs.replace(
        manifest,
        generation=generation,
        tables=tuple(tables),
        index=write_index(root, manifest.segment, generation, index),
        ids=_sidecar(root, manifest, segment.index, keep, generation),
        damage=Blob() if forget_damage else manifest.damage,
        removed=removed(manifest, keep, why),
    )


def drop_old(log: Path, before: Manifest, after: Manifest) -> None:
    """Remove the files that only the manifest before names."""
    root, kept = manifests.sealed_directory(log), {blob.path for blob in after.blobs}
    for blob in before.blobs:
        if blob.path not in kept:
            (root / blob.path).unlink(missing_ok=True)


def _thinned(index: FrameIndex, keep: Mapping[int, Mask]) -> FrameIndex:
    rows = index.rows.copy()
    for number, mask in keep.items():
        here = index.table == number
        ends = np.cumsum(index.rows[here])
        kept = np.concatenate([[0], np.cumsum(mask)])
        rows[here] = kept[ends] - kept[ends - index.rows[here]]
    return FrameIndex(end=index.end, kind=index.kind, time=index.time, table=index.table, rows=rows)


def times_of(index: FrameIndex, number: int) -> tuple[int, int]:
    """Receipt times of the first and the last row of a table; 0 where it has none."""
    times = index.time[(index.table == number) & (index.rows > 0)]
    return (int(times.min()), int(times.max())) if len(times) else (0, 0)


def _sidecar(
    root: Path, manifest: Manifest, index: FrameIndex, keep: Mapping[int, Mask], generation: int
) -> Blob:
    if not manifest.ids.path:
        return Blob()
    table_of = np.repeat(index.table, index.rows)
    stays = np.ones(len(table_of), np.bool_)
    for number, mask in keep.items():
        stays[table_of == number] = mask
    moved = np.cumsum(stays) - 1
    hashes, rows = sidecar.read(root / manifest.ids.path)
    there = stays[rows]
    return write_ids(root, manifest.segment, generation, [(hashes[there], moved[rows[there]])])


def removed(manifest: Manifest, keep: Mapping[int, Mask], why: str) -> tuple[Removed, ...]:
    """What a manifest has no more once these rows are kept, by the number of a table."""
    counts = {(each.why, each.kind, each.model): each.rows for each in manifest.removed}
    for number, mask in keep.items():
        table = manifest.tables[number]
        key = (why, table.kind, table.model)
        counts[key] = counts.get(key, 0) + int((~mask).sum())
    return tuple(
        Removed(why=why, kind=kind, model=model, rows=rows)
        for (why, kind, model), rows in sorted(counts.items())
    )


def table_without(root: Path, table: Table, mask: Mask, generation: int) -> tuple[tuple[Piece, ...], Blob]:
    """The file of a table without some rows; none where no row is left."""
    if table.schema and not mask.any():
        return (), Blob()
    draft = draft_of(root / table.file.path, generation)
    schema = manifests.schema_of(table) if table.schema else None
    writer = TableWriter(draft, frametable.schema_for(schema))
    done = 0
    for rows in frametable.groups(root / table.file.path):
        if schema is None:
            thin, count = _payloads(rows, mask[done:])
        else:
            count = rows.num_rows
            thin = rows.filter(pa.array(mask[done : done + count]))
        writer.write(thin.combine_chunks())
        done += count
    return placed(root, draft, writer)


def _payloads(rows: pa.Table, mask: Mask) -> tuple[pa.Table, int]:
    """Whole frames, each without the rows that go; and how many rows that was of."""
    payloads, done = [], 0
    for payload in rows.column(PAYLOAD):
        batch = batch_of(payload.as_buffer())
        part = pa.array(mask[done : done + batch.num_rows])
        payloads.append(payload_of(filtered(batch, part)))
        done += batch.num_rows
    return rows.set_column(0, PAYLOAD, pa.array(payloads, pa.binary())), done
