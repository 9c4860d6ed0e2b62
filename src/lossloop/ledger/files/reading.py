"""Some columns of a table of a sealed segment, whether its frames are rows or are kept as they were."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from lossloop.core.errors import StateError
from lossloop.ledger.expired import EXPIRED_KINDS
from lossloop.ledger.files import frametable, manifests
from lossloop.ledger.files.frametable import PAYLOAD
from lossloop.ledger.files.manifests import Manifest
from lossloop.ledger.frames import batch_of
from lossloop.ledger.joined.identity import KEY_HIGH, KEY_LOW, UNIT_KEY


def columns(log: Path, manifest: Manifest, number: int, names: Sequence[str]) -> pa.Table:
    """These columns of all rows of a table; one that the rows do not have is null.

    Raises:
        StateError: The table's file is damaged or missing.
    """
    table = manifest.tables[number]
    path = manifests.sealed_directory(log) / table.file.path
    if not table.rows:
        return pa.table({name: pa.nulls(0) for name in names})
    try:
        if not table.schema:
            return _of_frames(path, names)
        with frametable.opened(path) as file:
            there = [name for name in names if name in file.schema_arrow.names]
            found = file.read(columns=there)
    except (OSError, pa.ArrowException) as error:
        raise StateError(
            f"{path} cannot be read ({type(error).__name__}); see: lossloop ledger verify"
        ) from error
    return pa.table({name: found.column(name) if name in there else pa.nulls(table.rows) for name in names})


def identified(log: Path, manifest: Manifest, number: int) -> pa.RecordBatch:
    """What tells the rows of a table from others: ids and units, or the numbers kept of those that expired.

    Raises:
        StateError: The table's file is damaged or missing.
    """
    kind = manifests.kind_of(manifest.tables[number])
    names = (KEY_HIGH, KEY_LOW, UNIT_KEY) if kind in EXPIRED_KINDS.values() else ("id", "unit")
    found = columns(log, manifest, number, names).combine_chunks()
    batches = found.to_batches()
    return batches[0] if batches else pa.RecordBatch.from_pylist([], schema=found.schema)


def _of_frames(path: Path, names: Sequence[str]) -> pa.Table:
    payloads = [payload for rows in frametable.groups(path) for payload in rows.column(PAYLOAD)]
    tables = [_of_batch(batch_of(payload.as_buffer()), names) for payload in payloads]
    return pa.concat_tables(tables, promote_options="permissive")


def _of_batch(batch: pa.RecordBatch, names: Sequence[str]) -> pa.Table:
    there = batch.schema.names
    return pa.table(
        {
            name: batch.column(there.index(name)) if there.count(name) == 1 else pa.nulls(batch.num_rows)
            for name in names
        }
    )
