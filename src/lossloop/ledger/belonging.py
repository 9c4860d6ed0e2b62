"""Whose rows are whose: those of a unit, and those that have an id of it, whole or expired.

A row that has expired has numbers in place of its unit and its id; they are compared with those of the texts.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lossloop.ledger.joined.identity import KEY_HIGH, KEY_LOW, UNIT_KEY, keys_of
from lossloop.ledger.joined.keys import Keys, UInt64
from lossloop.ledger.removals import Held, Mask, is_one_of

_KEY = pa.binary(16)


class Belonging:
    """Tells which rows belong to a unit.

    Args:
        unit: Whom predictions are about.
        keys: Those of the ledger.
    """

    def __init__(self, unit: str, keys: Keys) -> None:
        self._unit = pa.array([unit], pa.string())
        self._number = keys.unit(unit)
        self._keys = keys

    def mine(self, predictions: pa.RecordBatch) -> Mask:
        """Which predictions are about the unit. Shape (n,)."""
        if KEY_HIGH not in predictions.schema.names:
            return is_one_of(_column(predictions, "unit"), self._unit)
        numbers = _column(predictions, UNIT_KEY).cast(pa.int64())
        same = pc.equal(numbers, pa.scalar(self._number, pa.int64())).fill_null(False)
        return np.asarray(same.to_numpy(zero_copy_only=False), dtype=np.bool_)

    def note(self, predictions: pa.RecordBatch, mine: Mask, held: Held) -> None:
        """Add the ids of the unit's predictions, or what is kept of them, to what is held of it."""
        rows = predictions.filter(pa.array(mine))
        if KEY_HIGH in rows.schema.names:
            held.keys.update(texts_of(*keys_of(rows, self._keys)))
        else:
            held.ids.update(_column(rows, "id").cast(pa.string()).drop_null().to_pylist())

    def named(self, held: Held) -> Named:
        """What tells the rows that have one of the ids of the unit."""
        return Named(held, self._keys)


class Named:
    """Tells which rows have one of some ids.

    Args:
        held: The ids, and the keys of those that nobody knows any more.
        keys: Those of the ledger.
    """

    def __init__(self, held: Held, keys: Keys) -> None:
        self._keys = keys
        self.ids = pa.array(sorted(held.ids), pa.string())
        self.nameless = pa.array([bytes.fromhex(key) for key in sorted(held.keys)], _KEY)
        """Keys whose ids nobody knows: every id has to be hashed to find them."""
        known = _keyed(*keys.of(self.ids)) if len(self.ids) else pa.array([], _KEY)
        self._all = pa.concat_arrays([known, self.nameless])

    def those(self, rows: pa.RecordBatch) -> Mask:
        """Which rows have one of the ids. Shape (n,)."""
        if KEY_HIGH in rows.schema.names:
            return _are_in(_keyed(*keys_of(rows, self._keys)), self._all)
        ids = _column(rows, "id").cast(pa.string())
        found = is_one_of(ids, self.ids)
        if len(self.nameless):
            found = found | _are_in(_keyed(*self._keys.of(ids.fill_null(""))), self.nameless)
        return found


def identified(rows: pa.RecordBatch) -> pa.RecordBatch:
    """The columns that tell the ids of rows, which are alike in all batches."""
    if KEY_HIGH in rows.schema.names:
        return pa.RecordBatch.from_pydict({name: rows.column(name) for name in (KEY_HIGH, KEY_LOW)})
    return pa.RecordBatch.from_pydict({"id": _column(rows, "id").cast(pa.string())})


def texts_of(high: UInt64, low: UInt64) -> list[str]:
    """Keys as texts, 32 hexadecimal digits each."""
    return [key.hex() for key in _keyed(high, low).to_pylist()]


def keys_from(texts: list[str]) -> tuple[UInt64, UInt64]:
    """What `texts_of` made texts of. Shapes (n,), (n,)."""
    both = np.frombuffer(b"".join(map(bytes.fromhex, texts)), np.uint64).reshape(-1, 2)
    return np.ascontiguousarray(both[:, 0]), np.ascontiguousarray(both[:, 1])


def _keyed(high: UInt64, low: UInt64) -> pa.FixedSizeBinaryArray:
    both = np.ascontiguousarray(np.stack([high, low], axis=1))
    return pa.FixedSizeBinaryArray.from_buffers(_KEY, len(both), [None, pa.py_buffer(both.tobytes())])


def _are_in(keys: pa.Array, wanted: pa.Array) -> Mask:
    return np.asarray(pc.is_in(keys, value_set=wanted).to_numpy(zero_copy_only=False), dtype=np.bool_)


def _column(batch: pa.RecordBatch, name: str) -> pa.Array:
    """A column; nulls where there is none, or several."""
    there = batch.schema.names
    return batch.column(there.index(name)) if there.count(name) == 1 else pa.nulls(batch.num_rows)
