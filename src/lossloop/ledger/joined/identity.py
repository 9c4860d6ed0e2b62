"""What tells a row from others: the key of its id, the number of its unit, the number of its content.

A row that was sent has texts; one that has expired has the numbers instead.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import pyarrow as pa

from lossloop.ledger.joined.keys import Int64, Keys, UInt64

T = TypeVar("T", np.uint64, np.int64)

KEY_HIGH, KEY_LOW, UNIT_KEY, CONTENT_KEY = "key_high", "key_low", "unit_key", "content_key"
"""Columns of a row that has expired, in place of `id`, `unit` and `content`."""


def keys_of(batch: pa.RecordBatch, keys: Keys) -> tuple[UInt64, UInt64]:
    """The keys of the rows' ids: high and low halves. Shapes (n,), (n,)."""
    if KEY_HIGH in batch.schema.names:
        return _numbers(batch.column(KEY_HIGH), np.uint64), _numbers(batch.column(KEY_LOW), np.uint64)
    return keys.of(batch.column("id"))


def units_of(batch: pa.RecordBatch, keys: Keys) -> Int64:
    """The numbers of the rows' units, 0 where there is none. Shape (n,)."""
    if UNIT_KEY in batch.schema.names:
        return _numbers(batch.column(UNIT_KEY), np.int64)
    if "unit" in batch.schema.names:
        return keys.units(batch.column("unit"))
    return np.zeros(batch.num_rows, np.int64)


def contents_of(batch: pa.RecordBatch) -> pa.Int64Array | None:
    """The numbers of what was sent, null where nothing says so; None where nothing ever does. Shape (n,)."""
    if CONTENT_KEY in batch.schema.names:
        return batch.column(CONTENT_KEY)
    if "content" not in batch.schema.names:
        return None
    return pa.array([None if sent is None else _number(sent) for sent in batch.column("content").to_pylist()],
                    pa.int64())  # fmt: skip


def _number(content: bytes) -> int:
    return int.from_bytes(content[:8].ljust(8, b"\0"), "little", signed=True)


def _numbers(column: pa.Array, kind: type[T]) -> np.ndarray[Any, np.dtype[T]]:
    return np.asarray(column.to_numpy(zero_copy_only=False), dtype=kind)
