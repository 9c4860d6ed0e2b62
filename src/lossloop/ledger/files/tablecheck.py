"""Which events a damaged Parquet file touches: those of the row groups that cannot be read any more."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lossloop.core.errors import StateError
from lossloop.ledger.files import frametable, manifests
from lossloop.ledger.files.manifests import Manifest, Table
from lossloop.ledger.files.sealed import SealedSegment
from lossloop.ledger.findings import MOST_IDS, Finding


def check_table(log: Path, manifest: Manifest, number: int, wrong: str) -> Iterator[Finding]:
    """Say of a table's file, which is not as it was sealed, what cannot be read of it."""
    table = manifest.tables[number]
    path = manifests.sealed_directory(log) / table.file.path
    try:
        bad = [each for each in range(len(table.pieces)) if not frametable.holds(path, table.pieces, each)]
        file = None if len(table.pieces) - 1 in bad else frametable.opened(path)
    except (OSError, pa.ArrowException):
        file = None
    if file is None or not bad:
        yield _finding(manifest, table, f"{table.file.path}: {wrong}: nothing of it can be read")
        return
    with file:
        for group in bad:
            yield _group(log, manifest, number, file, group, wrong)


def _group(
    log: Path, manifest: Manifest, number: int, file: pq.ParquetFile, group: int, wrong: str
) -> Finding:
    table = manifest.tables[number]
    counts = [file.metadata.row_group(each).num_rows for each in range(file.num_row_groups)]
    first = sum(counts[:group])
    problem = f"{table.file.path}: {wrong}: row group {group} cannot be read"
    found = _finding(manifest, table, problem, ids=_ids(file, group))
    try:
        segment = SealedSegment(log, manifest.segment, manifest)
        index = segment.index
    except (StateError, OSError):
        return found
    raw = [not each.schema for each in manifest.tables]
    starts = index.first_in_table(raw)
    here = np.flatnonzero((index.table == number) & (starts >= first) & (starts < first + counts[group]))
    here = here[(index.rows[here] > 0)]
    if not len(here):
        return found
    return Finding(
        segment=found.segment,
        problem=problem,
        start=int(index.start[here[0]]),
        end=int(index.end[here[-1]]),
        kind=found.kind,
        model=found.model,
        rows=int(index.rows[here].sum()),
        first=int(index.time[here].min()),
        last=int(index.time[here].max()),
        ids=found.ids,
    )


def _ids(file: pq.ParquetFile, group: int) -> tuple[str, ...]:
    """The ids of a row group, where their own column can be read."""
    if "id" not in file.schema_arrow.names:
        return ()
    try:
        ids = file.read_row_group(group, columns=["id"]).column("id")
    except (OSError, pa.ArrowException):
        return ()
    return tuple(str(id) for id in ids.slice(0, MOST_IDS).to_pylist() if id is not None)


def _finding(manifest: Manifest, table: Table, problem: str, *, ids: tuple[str, ...] = ()) -> Finding:
    return Finding(
        segment=manifest.segment,
        problem=problem,
        end=manifest.end,
        kind=table.kind,
        model=table.model,
        rows=table.rows,
        first=table.first,
        last=table.last,
        ids=ids,
    )
