"""Two columns are the same to the bit, or they are not."""

from __future__ import annotations

import math
import struct

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.ledger.files.sameness import same_batches, same_bits
from tests.ledger.anyframes import HARD


@pytest.mark.parametrize("name", sorted(HARD))
def test_a_column_is_the_same_as_itself(name: str) -> None:
    array = HARD[name]
    assert same_bits(array, array)
    assert same_bits(array.slice(1), array.slice(1))
    assert not same_bits(array, array.slice(1))


def nan(payload: int) -> float:
    (value,) = struct.unpack("<d", struct.pack("<Q", 0x7FF8_0000_0000_0000 | payload))
    return float(value)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ([0.0], [-0.0]),
        ([1.0], [None]),
        ([1.0, None], [None, 1.0]),
        ([nan(0)], [nan(1)]),
        ([1.0], [math.nextafter(1.0, 2.0)]),
        ([[0.0]], [[-0.0]]),
        ([[1.0], [2.0]], [[1.0, 2.0], []]),
        ([[]], [None]),
        ([{"a": [0.0]}], [{"a": [-0.0]}]),
        ([{"a": None}], [None]),
        (["a"], ["b"]),
    ],
)
def test_columns_that_differ_in_a_bit_are_told_apart(one: list[object], other: list[object]) -> None:
    kind = pa.array([*one, *other]).type
    arrays = pa.array(one, kind), pa.array(other, kind)
    assert not same_bits(*arrays)
    assert same_bits(arrays[0], arrays[0])


def test_what_lies_below_a_null_does_not_matter() -> None:
    mask = pa.array([True, False])
    arrays = [pa.array([value, 1.0]).filter(mask) for value in (5.0, 7.0)]
    kept = [pa.compute.if_else(pa.array([False]), array, None) for array in arrays]
    assert same_bits(*kept)


@given(st.lists(st.one_of(st.none(), st.floats(width=32)), max_size=5))
def test_equal_bits_are_equal(values: list[float | None]) -> None:
    for kind in (pa.float32(), pa.float64()):
        array = pa.array(values, kind)
        assert same_bits(array, pa.concat_arrays([array.slice(0, 1), array.slice(1)]))


def test_batches_differ_in_schema_too() -> None:
    one = pa.RecordBatch.from_pydict({"a": [1]})
    assert same_batches(one, pa.RecordBatch.from_pydict({"a": [1]}))
    assert not same_batches(one, one.replace_schema_metadata({"model": "m"}))
    assert not same_batches(one, one.slice(0, 0))
    assert not same_batches(one, one.rename_columns(["b"]))
    assert not same_batches(one, pa.RecordBatch.from_pydict({"a": [2]}))
