"""Rows of a database's driver as Arrow batches."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import pyarrow as pa

Row = Sequence[Any]


def batch_of(rows: Sequence[Row], names: Sequence[str]) -> pa.RecordBatch:
    """Rows as columns, of the type that their values have; of text where they have several."""
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(names)
    return pa.RecordBatch.from_arrays([_array(values) for values in columns], list(names))


def _array(values: Sequence[Any]) -> pa.Array:
    if not {type(value) for value in values}.isdisjoint(_PLAIN):
        values = [_plain(value) for value in values]
    try:
        return pa.array(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError):
        return pa.array([None if value is None else _text(value) for value in values], pa.string())


_PLAIN = (Decimal, UUID, dict)


def _plain(value: Any) -> Any:
    """An exact number as a whole one where it is one, so that it can be an id; an object as its text."""
    if not isinstance(value, _PLAIN):
        return value
    if not isinstance(value, Decimal):
        return _text(value)
    exact = value.is_finite() and value == value.to_integral_value() and abs(value) < 2**63
    return int(value) if exact else float(value)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes | memoryview):
        return bytes(value).decode(errors="replace")
    if isinstance(value, list | dict):
        return msgspec.json.encode(value).decode()
    return str(value)
