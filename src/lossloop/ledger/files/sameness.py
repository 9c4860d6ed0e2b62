"""Whether two columns hold the same bits, NaN and the sign of zero included, where neither is null."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

_BITS = {16: pa.uint16(), 32: pa.uint32(), 64: pa.uint64()}


def same_batches(one: pa.RecordBatch, other: pa.RecordBatch) -> bool:
    """Whether two batches have the same schema, metadata included, and the same bits."""
    if not one.schema.equals(other.schema, check_metadata=True) or one.num_rows != other.num_rows:
        return False
    return all(map(same_bits, one.columns, other.columns))


def same_bits(one: Any, other: Any) -> bool:
    """Whether two arrays of one type are the same to the bit."""
    if len(one) != len(other) or not one.is_valid().equals(other.is_valid()):
        return False
    kind = one.type
    if pa.types.is_floating(kind):
        bits = _BITS[kind.bit_width]
        return bool(one.view(bits).equals(other.view(bits)))
    if pa.types.is_struct(kind):
        return all(map(same_bits, one.flatten(), other.flatten()))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        lengths = pc.list_value_length(one).equals(pc.list_value_length(other))
        return bool(lengths) and same_bits(one.flatten(), other.flatten())
    return bool(one.equals(other))
