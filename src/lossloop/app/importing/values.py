"""Values of a source, of whatever type it has, as the types that the log has: a whole column at once.

Text is what CSV has; Parquet and databases have types of their own. A value that cannot be read stands as
null and is among the bad ones, in words. An empty text is null.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lossloop.core.clock import from_datetime, parse_time
from lossloop.core.errors import InputError
from lossloop.ledger.facts import TIME

VECTORS = pa.list_(pa.float64())
_NUMBER = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$|^(?i:[+-]?(nan|inf|infinity))$"
_TRUTHS = {"true": 1.0, "false": 0.0, "t": 1.0, "f": 0.0}
_PER_UNIT = {"s": 1_000_000.0, "ms": 1000.0, "us": 1.0, "ns": 0.001}
_JSON = msgspec.json.Decoder()
_LONGEST_SHOWN = 60


@dataclass(frozen=True, kw_only=True, slots=True)
class Read:
    """A column, and what is wrong with values that could not be read, by their place."""

    values: pa.Array
    bad: Mapping[int, str] = field(default_factory=dict)


def shown(value: Any) -> str:
    """A value in an error, not all of it if it is long."""
    text = repr(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}... ({len(text):,} characters)"


def is_text(kind: pa.DataType) -> bool:
    """Whether values of a type are read as text."""
    plain = kind.value_type if pa.types.is_dictionary(kind) else kind
    tests = (
        pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_binary,
        pa.types.is_large_binary, pa.types.is_null,
    )  # fmt: skip
    return any(test(plain) for test in tests)


def is_number(kind: pa.DataType) -> bool:
    """Whether values of a type are numbers."""
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def texts(raw: pa.Array, name: str) -> Read:
    """Short texts: ids, units, roles. Whole numbers, times and dates become text too."""
    kind = raw.type
    if is_text(kind):
        return _utf8(raw, name)
    if pa.types.is_floating(kind):
        words = f"{name} must be text or a whole number, not {{}}: write it as text at its source"
        return Read(values=pa.nulls(len(raw), pa.string()), bad=_each(raw, words))
    with contextlib.suppress(pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError):
        return Read(values=raw.cast(pa.string()))
    raise _wrong(name, kind, "text")


def _utf8(raw: pa.Array, name: str) -> Read:
    """Text of bytes; what is no UTF-8 is bad, and what is empty is null."""
    values = raw.dictionary_decode() if pa.types.is_dictionary(raw.type) else raw
    bad: dict[int, str] = {}
    try:
        values = values.cast(pa.string())
    except pa.ArrowInvalid:
        read = [_decoded(value) for value in values.to_pylist()]
        bad = {place: f"{name} is not text in UTF-8" for place, value in enumerate(read) if value is False}
        values = pa.array([value or None for value in read], pa.string())
    if pc.any(pc.equal(pc.binary_length(values), 0)).as_py():
        values = pc.if_else(pc.equal(pc.binary_length(values), 0), pa.scalar(None, pa.string()), values)
    return Read(values=values, bad=bad)


def _decoded(value: bytes | str | None) -> str | bool | None:
    with contextlib.suppress(UnicodeDecodeError):
        return value.decode() if isinstance(value, bytes) else value
    return False


def numbers(raw: pa.Array, name: str, words: Mapping[str, float] | None = None) -> Read:
    """Numbers, NaN and infinite ones too; true and false stay what they are where the column has that type.

    Args:
        raw: The source's column.
        name: What it is, in errors.
        words: Numbers of words that may stand there, as labels have; true and false among them.
    """
    kind = raw.type
    if is_number(kind):
        return Read(values=pc.cast(raw, pa.float64(), safe=False))
    if pa.types.is_boolean(kind):
        return Read(values=raw)
    if not is_text(kind):
        raise _wrong(name, kind, "numbers")
    found = _utf8(raw, name)
    values = pc.ascii_trim_whitespace(found.values)
    numeric = pc.match_substring_regex(values, _NUMBER)
    if pc.all(numeric, min_count=0).as_py():
        return Read(values=values.cast(pa.float64()), bad=found.bad)
    read = pc.if_else(numeric, values, pa.scalar(None, pa.string())).cast(pa.float64())
    known = {} if words is None else {**_TRUTHS, **words}
    values = pc.if_else(numeric, pa.scalar(None, pa.string()), values)
    worded = _from_words(values, known)
    bad = _each(
        pc.if_else(worded.is_null(), values, pa.scalar(None, pa.string())),
        f"{name} must be a number{_or_words(words)}, not {{}}",
    )
    return Read(values=pc.coalesce(read, worded), bad={**found.bad, **bad})


def _from_words(values: pa.Array, known: Mapping[str, float]) -> pa.Array:
    if not known:
        return pa.nulls(len(values), pa.float64())
    places = pc.index_in(values, value_set=pa.array(known, pa.string()))
    places = pc.coalesce(places, pc.index_in(pc.utf8_lower(values), value_set=pa.array(known, pa.string())))
    return pa.array(list(known.values()), pa.float64()).take(places)


def _or_words(words: Mapping[str, float] | None) -> str:
    return f", or one of {', '.join(sorted(words))}" if words else ""


def whole(raw: pa.Array, name: str) -> Read:
    """Whole numbers."""
    if pa.types.is_integer(raw.type):
        return Read(values=pc.cast(raw, pa.int64(), safe=False))
    if pa.types.is_boolean(raw.type):
        return Read(values=pa.nulls(len(raw), pa.int64()), bad=_each(raw, f"{name} is no truth: {{}}"))
    found = numbers(raw, name)
    floats = np.asarray(found.values.to_numpy(zero_copy_only=False), dtype=np.float64)
    fit = np.isfinite(floats) & (floats == np.trunc(floats)) & (np.abs(floats) < 2**53)
    values = pa.array(np.where(fit, floats, 0).astype(np.int64), mask=~fit)
    broken = pc.if_else(pa.array(fit), pa.scalar(None, pa.float64()), found.values)
    return Read(values=values, bad={**_each(broken, f"{name} must be a whole number, not {{}}"), **found.bad})


def times(raw: pa.Array, name: str, *, zone: str = "", unit: str = "", column: str = "") -> Read:
    """Moments.

    Args:
        raw: Timestamps, dates, ISO 8601 texts, or numbers since 1970.
        name: What it is, in errors.
        zone: The time zone of times that say none.
        unit: What numbers count: s, ms, us or ns.
        column: What the source calls it, where that is something else.

    Raises:
        InputError: The column's times have no zone, or its numbers no unit, and none was said.
    """
    kind = raw.type
    if unit and (is_text(kind) or is_number(kind)):
        found = numbers(raw, name)
        micros = pc.multiply(found.values, _PER_UNIT[unit])
        fit = pc.less(pc.abs(micros), 2.0**62).fill_null(False)
        micros = pc.if_else(fit, pc.round(micros), pa.scalar(None, pa.float64()))
        bad = _each(pc.if_else(fit, pa.scalar(None, pa.float64()), found.values), f"{name} is no time: {{}}")
        return Read(values=micros.cast(pa.int64()).cast(TIME), bad={**found.bad, **bad})
    if is_number(kind):
        raise InputError(
            f"the column {column or name!r} has numbers; say what they count with --time-unit s, ms, us or "
            "ns",
            field=name,
        )
    if is_text(kind):
        return _time_texts(raw, name, zone, column)
    if pa.types.is_date(kind):
        raw = raw.cast(pa.timestamp("ms") if pa.types.is_date64(kind) else pa.timestamp("s"))
        kind = raw.type
    if not pa.types.is_timestamp(kind):
        raise _wrong(name, kind, "times")
    found = _near(raw, name)
    if kind.tz is None:
        return Read(values=_placed(found.values, name, zone, column), bad=found.bad)
    values = pc.cast(found.values, options=pc.CastOptions(TIME, allow_time_truncate=True))
    return Read(values=values, bad=found.bad)


def _near(raw: pa.Array, name: str) -> Read:
    """Timestamps; those that are more than microseconds can count are bad."""
    if raw.type.unit == "ns":
        return Read(values=raw)
    counts, most = raw.cast(pa.int64()), (1 << 62) // int(_PER_UNIT[raw.type.unit])
    fit = pc.and_(pc.less(counts, most), pc.greater(counts, -most))
    bad = _each(pc.if_else(fit, pa.scalar(None, pa.int64()), counts), f"{name} is no time: {{}}")
    return Read(values=pc.if_else(fit, raw, pa.scalar(None, raw.type)), bad=bad)


def _placed(raw: pa.Array, name: str, zone: str, column: str) -> pa.Array:
    """Times on the wall of a zone; an hour that a clock showed twice is its first."""
    if not zone:
        raise InputError(
            f"the times of {column or name!r} say no time zone; say which with --timezone, such as "
            "--timezone UTC",
            field=name,
        )
    naive = pc.cast(raw, options=pc.CastOptions(pa.timestamp("us"), allow_time_truncate=True))
    placed = pc.assume_timezone(naive, zone, ambiguous="earliest", nonexistent="earliest")
    return placed.cast(TIME)


def _time_texts(raw: pa.Array, name: str, zone: str, column: str) -> Read:
    found = _utf8(raw, name)
    values = pc.ascii_trim_whitespace(found.values)
    with contextlib.suppress(pa.ArrowInvalid):
        if zone:
            return Read(values=_placed(values.cast(pa.timestamp("us")), name, zone, column), bad=found.bad)
        return Read(values=values.cast(TIME), bad=found.bad)
    # Arrow reads a part of what ISO 8601 allows, and a column of one form only.
    read: list[int | None] = []
    bad = dict(found.bad)
    for place, value in enumerate(values.to_pylist()):
        try:
            read.append(None if value is None else _moment(value, zone))
        except InputError as error:
            read.append(None)
            bad[place] = str(error)
    return Read(values=pa.array(read, pa.int64()).cast(TIME), bad=bad)


def _moment(value: str, zone: str) -> int:
    if zone:
        with contextlib.suppress(ValueError):
            moment = datetime.fromisoformat(value)
            if moment.tzinfo is None:
                return from_datetime(moment.replace(tzinfo=ZoneInfo(zone)))
    try:
        return parse_time(value)
    except InputError as error:
        hint = "; or say --timezone" if "no offset" in str(error) else ""
        raise InputError(str(error).replace(repr(value), shown(value)) + hint) from None


def vectors(raws: Sequence[pa.Array], name: str) -> Read:
    """Lists of numbers: of several columns of numbers, a column of lists, or a column of JSON lists."""
    if len(raws) > 1:
        return _side_by_side(raws, name)
    (raw,) = raws
    kind = raw.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        if is_number(kind.value_type) or pa.types.is_null(kind.value_type):
            return Read(values=pc.cast(raw, VECTORS, safe=False))
    elif is_text(kind):
        return _json(raw, name, "a list of numbers, such as [0.2, 0.8]", _list_of_numbers, VECTORS)
    raise _wrong(name, kind, "lists of numbers, or several columns")


def _list_of_numbers(value: Any) -> list[float] | None:
    good = isinstance(value, list) and all(
        isinstance(each, int | float) and not isinstance(each, bool) for each in value
    )
    return [float(each) for each in value] if good else None


def _side_by_side(raws: Sequence[pa.Array], name: str) -> Read:
    read = [numbers(raw, name) for raw in raws]
    bad = {place: words for each in reversed(read) for place, words in each.bad.items()}
    table = np.stack([each.values.cast(pa.float64()).to_numpy(zero_copy_only=False) for each in read], axis=1)
    offsets = np.arange(len(table) + 1, dtype=np.int32) * len(raws)
    return Read(values=pa.ListArray.from_arrays(pa.array(offsets), pa.array(table.ravel())), bad=bad)


def objects(raw: pa.Array, name: str) -> Read:
    """JSON objects, as they were written."""
    found = _json(raw, name, 'an object, such as {"x": 1}', _object, pa.string())
    return Read(values=found.values, bad=found.bad)


def _object(value: Any) -> str | None:
    return msgspec.json.encode(value).decode() if isinstance(value, dict) else None


def _json(raw: pa.Array, name: str, wanted: str, take: Callable[[Any], Any], kind: pa.DataType) -> Read:
    found = _utf8(raw, name)
    read: list[Any] = []
    bad = dict(found.bad)
    for place, text in enumerate(found.values.to_pylist()):
        value = None
        if text is not None:
            with contextlib.suppress(msgspec.DecodeError, OverflowError, RecursionError):
                value = take(_JSON.decode(text))
            if value is None:
                bad[place] = f"{name} must be {wanted}, not {shown(text)}"
        read.append(value)
    return Read(values=pa.array(read, kind), bad=bad)


def joined(raws: Sequence[pa.Array], names: Sequence[str]) -> Read:
    """Ids of what stands in several columns, with a slash between; a slash within gets a backslash."""
    parts, bad = [], {}
    for raw, name in zip(raws, names, strict=True):
        read = texts(raw, name)
        part = pc.replace_substring(pc.replace_substring(read.values, "\\", "\\\\"), "/", "\\/")
        parts.append(part)
        bad.update(dict.fromkeys(_nulls(part), f"{name} is empty, and the id is made of it"))
        bad.update(read.bad)
    values = pc.binary_join_element_wise(*parts, "/", null_handling="emit_null")
    return Read(values=values, bad=bad)


def _nulls(values: pa.Array) -> list[int]:
    if not values.null_count:
        return []
    found: list[int] = np.flatnonzero(values.is_null().to_numpy(zero_copy_only=False)).tolist()
    return found


def _each(values: pa.Array, words: str) -> dict[int, str]:
    """The same words for each value that is not null, with that value in them."""
    if values.null_count == len(values):
        return {}
    places = np.flatnonzero(values.is_valid().to_numpy(zero_copy_only=False)).tolist()
    return {place: words.format(shown(values[place].as_py())) for place in places}


def _wrong(name: str, kind: pa.DataType, wanted: str) -> InputError:
    return InputError(f"the column of {name} has type {kind}; it must be {wanted}", field=name)
