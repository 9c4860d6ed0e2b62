from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.core.errors import InputError
from lossloop.serve.inference.datatypes import (
    BF16,
    BOOL,
    BYTES,
    DTYPES,
    NAMES,
    check_datatype,
    of_json,
    of_raw,
    text_of,
    to_floats,
    to_raw,
)

WHOLE = [name for name, dtype in DTYPES.items() if dtype.kind in "iu"]
FLOATING = [name for name, dtype in DTYPES.items() if dtype.kind == "f"]


def test_every_datatype_of_the_protocol_is_there() -> None:
    assert sorted(NAMES) == sorted(
        ["BOOL", "FP16", "FP32", "FP64", "BF16", "BYTES"]
        + [f"{sign}INT{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)]
    )
    for name in NAMES:
        check_datatype(name, "datatype")
    with pytest.raises(InputError, match="'STRING'"):
        check_datatype("STRING", "datatype")


@given(st.data(), st.sampled_from(WHOLE))
def test_whole_numbers_survive_raw_and_json(data: st.DataObject, name: str) -> None:
    limits = np.iinfo(DTYPES[name])
    values = data.draw(st.lists(st.integers(int(limits.min), int(limits.max)), max_size=5))
    found = of_json(name, values, "f")
    assert not isinstance(found, list)
    assert found.tolist() == values
    again = of_raw(name, to_raw(found), len(values), "f")
    assert np.array_equal(np.asarray(again), found)
    for beyond in (int(limits.min) - 1, int(limits.max) + 1):
        with pytest.raises(InputError, match=f"beyond {name}"):
            of_json(name, [beyond], "f")


@given(st.data(), st.sampled_from(FLOATING))
def test_floats_survive_raw_and_json(data: st.DataObject, name: str) -> None:
    width: Any = DTYPES[name].itemsize * 8
    values = data.draw(st.lists(st.none() | st.floats(width=width, allow_nan=False), max_size=5))
    found = of_json(name, values, "f")
    assert not isinstance(found, list)
    assert [None if math.isnan(value) else value for value in found.tolist()] == values
    assert np.asarray(of_raw(name, to_raw(found), len(values), "f")).tobytes() == found.tobytes()


@given(st.lists(st.text(max_size=8), max_size=6))
def test_texts_survive_raw_bytes(values: list[str]) -> None:
    assert of_raw(BYTES, to_raw(list(values)), len(values), "f") == values


@given(st.lists(st.floats(width=16, allow_nan=False), max_size=5))
def test_bf16_is_the_upper_half_of_a_float32(values: list[float]) -> None:
    raw = (np.array(values, np.float32).view(np.uint32) >> 16).astype("<u2").tobytes()
    found = np.asarray(of_raw(BF16, raw, len(values), "f"))
    assert np.allclose(found, values, rtol=2**-7)


@given(st.binary(max_size=40), st.sampled_from(NAMES), st.integers(0, 6))
def test_any_bytes_are_values_or_a_clear_error(raw: bytes, name: str, count: int) -> None:
    try:
        found = of_raw(name, raw, count, "f")
    except InputError:
        return
    assert len(found) == count


@given(st.lists(st.none() | st.booleans() | st.integers() | st.floats() | st.text()), st.sampled_from(NAMES))
def test_any_json_is_values_or_a_clear_error(data: list[Any], name: str) -> None:
    try:
        found = of_json(name, data, "f")
    except InputError:
        return
    assert len(found) == len(data)


@pytest.mark.parametrize(
    ("name", "data", "words"),
    [
        ("FP64", [1.0, "2"], "value 1 is no FP64: '2'"),
        ("FP64", [True], "value 0 is no FP64: True"),
        ("FP64", [10**400], "beyond FP64"),
        ("FP16", [1e6], "beyond FP16"),
        ("INT8", [1.5], "value 0 is no INT8: 1.5"),
        ("INT8", [None], "value 0 is no INT8: None"),
        ("BOOL", [1], "value 0 is no BOOL: 1"),
        ("BYTES", ["a", 1], "value 1 is no BYTES: 1"),
        ("BF16", [1.0], "raw bytes only"),
    ],
)
def test_what_json_cannot_say(name: str, data: list[Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        of_json(name, data, "f")


def test_whole_numbers_may_have_a_point() -> None:
    found = of_json("INT32", [1.0, 2], "f")
    assert not isinstance(found, list)
    assert found.tolist() == [1, 2]


def test_booleans_are_bytes() -> None:
    found = np.asarray(of_raw(BOOL, b"\x00\x01\x02", 3, "f"))
    assert found.tolist() == [False, True, True]
    assert to_raw(found) == b"\x00\x01\x01"


@pytest.mark.parametrize(
    ("raw", "count", "words"),
    [
        (b"\x01\x00\x00", 1, "end within a length"),
        (b"\x02\x00\x00\x00a", 1, "end within value 0"),
        (b"\x01\x00\x00\x00\xff", 1, "value 0 is not UTF-8"),
        (b"\x01\x00\x00\x00a", 2, "says 2 values"),
    ],
)
def test_texts_that_do_not_add_up(raw: bytes, count: int, words: str) -> None:
    with pytest.raises(InputError, match=words):
        of_raw(BYTES, raw, count, "f")


def test_numbers_become_floats_only_where_none_changes() -> None:
    assert to_floats(np.array([True, False]), "f").tolist() == [1.0, 0.0]
    assert to_floats(np.array([2**53, -(2**53), 2**60]), "f").tolist() == [2.0**53, -(2.0**53), 2.0**60]
    assert to_floats(np.array([2**63], np.uint64), "f").tolist() == [2.0**63]
    for changed in (np.array([2**53 + 1]), np.array([2**64 - 1], np.uint64), np.array([-(2**53) - 1])):
        with pytest.raises(InputError, match="exactly"):
            to_floats(changed, "f")


def test_a_text_of_nothing_is_an_empty_one() -> None:
    assert of_raw(BYTES, to_raw(["", None]), 2, "f") == ["", ""]
    assert text_of("é".encode(), 0, "f") == "é"
