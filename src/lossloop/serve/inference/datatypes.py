"""The datatypes of the Open Inference Protocol: their names, and values to and from raw bytes and JSON.

A tensor's values lie flat, in row-major order: numbers and booleans as a NumPy array of their own type, BYTES
as a list of texts. BF16, which NumPy has not, is read from raw bytes only, and is float32 here.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from lossloop.core.errors import InputError, alternatives

Array = np.ndarray[Any, Any]
Values: TypeAlias = Array | list[str | None]

BYTES, BF16, BOOL, FP64, INT64 = "BYTES", "BF16", "BOOL", "FP64", "INT64"
DTYPES: Mapping[str, np.dtype[Any]] = {
    BOOL: np.dtype("?"),
    "UINT8": np.dtype("u1"), "UINT16": np.dtype("<u2"), "UINT32": np.dtype("<u4"), "UINT64": np.dtype("<u8"),
    "INT8": np.dtype("i1"), "INT16": np.dtype("<i2"), "INT32": np.dtype("<i4"), INT64: np.dtype("<i8"),
    "FP16": np.dtype("<f2"), "FP32": np.dtype("<f4"), FP64: np.dtype("<f8"),
}  # fmt: skip
NAMES = (*DTYPES, BF16, BYTES)
_LENGTH = struct.Struct("<I")
_TWO_TO_53 = 1 << 53
"""Whole numbers up to here are floats too."""


def check_datatype(name: str, field: str) -> None:
    """Raise InputError for a datatype that there is not."""
    if name not in NAMES:
        raise InputError(f"there is no datatype {name!r}; {alternatives(name, NAMES, most=14)}", field=field)


def of_raw(datatype: str, raw: bytes | memoryview, count: int, field: str) -> Values:
    """`count` values from their raw bytes, little-endian; each of BYTES behind 4 bytes of its length.

    Raises:
        InputError: The bytes are too many or too few, or a text is not UTF-8.
    """
    if datatype == BYTES:
        return _texts(memoryview(raw), count, field)
    kind = np.dtype("<u2") if datatype == BF16 else DTYPES[datatype]
    if len(raw) != count * kind.itemsize:
        words = f"{count} values of {datatype} are {count * kind.itemsize} bytes, not {len(raw)}"
        raise InputError(f"{field}: {words}", field=field)
    if datatype == BOOL:
        return np.frombuffer(raw, np.uint8).astype(bool)
    values: Array = np.frombuffer(raw, kind)
    if datatype == BF16:  # the upper half of a float32
        return (values.astype(np.uint32) << 16).view(np.float32)
    return values


def to_raw(values: Values) -> bytes:
    """Values as raw bytes; a text of None is an empty one."""
    if isinstance(values, list):
        parts = [(text or "").encode() for text in values]
        return b"".join(piece for part in parts for piece in (_LENGTH.pack(len(part)), part))
    return values.tobytes()


def of_json(datatype: str, data: Sequence[Any], field: str) -> Values:
    """Values from what JSON brought, flat. A number of null is NaN, a text of null none.

    Raises:
        InputError: A value is of another kind than the datatype, or beyond it.
    """
    kinds = set(map(type, data))
    if datatype == BYTES:
        if not kinds <= {str, type(None)}:
            raise _refused(datatype, data, (str, type(None)), field)
        return list(data)
    if datatype == BF16:
        raise InputError(f"{field}: BF16 is taken as raw bytes only; send FP32 in JSON", field=field)
    if datatype == BOOL:
        if not kinds <= {bool}:
            raise _refused(datatype, data, (bool,), field)
        return np.array(data, bool)
    if DTYPES[datatype].kind == "f":
        return _floats(datatype, data, kinds, field)
    if float in kinds:  # some write whole numbers with a point
        data = [int(value) if type(value) is float and value.is_integer() else value for value in data]
        kinds = set(map(type, data))
    if not kinds <= {int}:
        raise _refused(datatype, data, (int,), field)
    try:
        return np.array(data, DTYPES[datatype])
    except OverflowError:
        raise InputError(f"{field}: a value lies beyond {datatype}", field=field) from None


def to_floats(values: Array, field: str) -> Array:
    """Numbers or booleans as float64; raise InputError where that would change one. Shape (n,)."""
    if values.dtype.kind in "iu" and values.dtype.itemsize == 8:
        large = values[(values > _TWO_TO_53) | (values < -_TWO_TO_53 if values.dtype.kind == "i" else False)]
        changed = next((each for each in large.tolist() if int(float(each)) != each), None)
        if changed is not None:
            raise InputError(f"{field}: no FP64 is {changed} exactly; send FP64", field=field)
    floats: Array = values.astype(np.float64, copy=False)
    return floats


def _floats(datatype: str, data: Sequence[Any], kinds: set[type], field: str) -> Array:
    if not kinds <= {float, int, type(None)}:
        raise _refused(datatype, data, (float, int, type(None)), field)
    try:
        values: Array = np.array(data, np.float64)
    except OverflowError:
        raise InputError(f"{field}: a value lies beyond {datatype}", field=field) from None
    if datatype == FP64:
        return values
    with np.errstate(over="ignore"):
        small: Array = values.astype(DTYPES[datatype])
    if np.isinf(small).any() and not np.array_equal(np.isinf(small), np.isinf(values)):
        raise InputError(f"{field}: a value lies beyond {datatype}", field=field)
    return small


def _refused(datatype: str, data: Sequence[Any], kinds: tuple[type, ...], field: str) -> InputError:
    place, value = next((place, each) for place, each in enumerate(data) if type(each) not in kinds)
    return InputError(f"{field}: value {place} is no {datatype}: {value!r:.40}", field=field)


def _texts(raw: memoryview, count: int, field: str) -> list[str | None]:
    found: list[str | None] = []
    at, end = 0, len(raw)
    while at < end:
        if at + 4 > end:
            raise InputError(f"{field}: the raw bytes end within a length", field=field)
        (length,) = _LENGTH.unpack_from(raw, at)
        at += 4
        if at + length > end:
            raise InputError(f"{field}: the raw bytes end within value {len(found)}", field=field)
        found.append(text_of(raw[at : at + length], len(found), field))
        at += length
    if len(found) != count:
        raise InputError(
            f"{field}: the shape says {count} values, the raw bytes hold {len(found)}", field=field
        )
    return found


def text_of(raw: bytes | memoryview, place: int, field: str) -> str:
    """One value of BYTES as text; raise InputError where it is not UTF-8."""
    try:
        return str(raw, "utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{field}: value {place} is not UTF-8", field=field) from None
