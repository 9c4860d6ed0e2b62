"""Columns as they were sent, checked a whole column at once.

A column is a list of plain values, as JSON gives it, or an Arrow array of one of the types that `serve.arrow`
makes. Each check gives the column as the log keeps it, and which of its values fit; a value that does not fit
stands as null, or as anything. What is wrong with it is worded elsewhere, row by row: most batches have no
such row.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from collections.abc import Set as AbstractSet
from itertools import chain
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lossloop.core.clock import FIRST_YEAR, FUTURE_TOLERANCE, LAST_YEAR, Micros, parse_time
from lossloop.core.errors import InputError
from lossloop.core.records import Role
from lossloop.core.tasks import (
    LISTED,
    LISTED_LABELS,
    Counts,
    Floats,
    Mask,
    Task,
    label_lists_fit,
    labels_fit,
    lists_fit,
    predictions_fit,
)
from lossloop.ledger.facts import TIME, VECTORS
from lossloop.serve.reading import LONGEST_NAME, MOST_LATENCY

Column: TypeAlias = list[Any] | pa.Array
Int64 = np.ndarray[Any, np.dtype[np.int64]]

_NONE = type(None)


class Checked(NamedTuple):
    """A column of n values as the log keeps it, and which of them fit. Shape of the mask: (n,)."""

    values: pa.Array
    fit: Mask


def texts(column: Column) -> Checked:
    """Short texts; nulls fit."""
    values, fit = _plain_texts(column) if isinstance(column, list) else (column, all_of(len(column)))
    there = filled(values)
    sizes = np.diff(np.frombuffer(values.buffers()[1], np.int32, len(values) + 1, values.offset * 4))
    if int(sizes.max()) > LONGEST_NAME:
        lengths = pc.utf8_length(values).fill_null(1).to_numpy(zero_copy_only=False)
        fit = fit & (lengths <= LONGEST_NAME)
    return Checked(values, fit & ((sizes > 0) | ~there))


def _plain_texts(values: list[Any]) -> tuple[pa.Array, Mask]:
    try:
        return pa.array(values, pa.string()), all_of(len(values))
    except (TypeError, ValueError):  # one of them is no text
        fit = [value is None or isinstance(value, str) for value in values]
        kept = [value if isinstance(value, str) else None for value in values]
        return pa.array(kept, pa.string()), np.array(fit)


def roles(column: Column) -> Checked:
    """Roles; null is the champion."""
    found = texts(column)
    fit = np.asarray(pc.is_in(found.values, value_set=pa.array(_ROLES)).to_numpy(zero_copy_only=False))
    return Checked(found.values.fill_null(str(Role.CHAMPION)), found.fit & (fit | ~filled(found.values)))


# No array: PyArrow imports pandas, where that is installed, to make its first one.
_ROLES = [str(role) for role in Role]


def numbers(column: Column, *, truths: bool = False) -> Checked:
    """Numbers of any size, NaN and infinite ones too; nulls fit, and so do true and false where `truths`."""
    if isinstance(column, pa.Array):
        if pa.types.is_list(column.type):  # one number is asked for
            return Checked(pa.nulls(len(column), pa.float64()), ~filled(column))
        whole = truths or not pa.types.is_boolean(column.type)
        return Checked(column.cast(pa.float64()), all_of(len(column)) if whole else ~filled(column))
    kinds = {type(value) for value in column} - {_NONE}
    with contextlib.suppress(TypeError, ValueError):
        if kinds <= {float, int}:
            return Checked(pa.array(column, pa.float64()), all_of(len(column)))
        if truths and kinds <= {bool}:
            return Checked(pa.array(column, pa.bool_()).cast(pa.float64()), all_of(len(column)))
    read = [_number(value, truths=truths) for value in column]
    fit = [value is None or number is not None for value, number in zip(column, read, strict=True)]
    return Checked(pa.array(read, pa.float64()), np.array(fit))


def _number(value: Any, *, truths: bool) -> float | None:
    if not isinstance(value, (int, float)) or (isinstance(value, bool) and not truths):
        return None
    try:
        return float(value)
    except OverflowError:  # a whole number beyond any float
        return None


def labels(column: Column, task: Task) -> Checked:
    """Labels of a task; null says that one is known to be missing."""
    if task in LISTED_LABELS:
        found, fit = _lists(column, task, label_lists_fit)
    else:
        found = numbers(column, truths=task is Task.BINARY)
        fit = labels_fit(task, _floats(found.values))
    return Checked(found.values, found.fit & (fit | ~filled(found.values)))


def outputs(column: Column, task: Task) -> Checked:
    """Predictions of a task; nulls do not fit."""
    if task in LISTED:
        found, fit = _lists(column, task, lists_fit)
    else:
        found = numbers(column)
        fit = predictions_fit(task, _floats(found.values))
    return Checked(found.values, found.fit & fit & filled(found.values))


def answers(column: Column, task: Task, errors: pa.Array) -> Checked:
    """Predictions of a task; null where, and only where, an error says that there is none."""
    failed = filled(errors)
    none = np.array([value is None for value in column]) if isinstance(column, list) else ~filled(column)
    found = outputs(column, task)
    return Checked(found.values, np.where(failed, none, found.fit))


def latencies(column: Column) -> Checked:
    """Milliseconds from 0 on; nulls fit."""
    found = numbers(column)
    took = _floats(found.values)
    fit = ((took >= 0) & (took <= MOST_LATENCY)) | ~filled(found.values)
    return Checked(found.values, found.fit & fit)


def _lists(
    column: Column, task: Task, fitting: Callable[[Task, Floats, Counts], Mask]
) -> tuple[Checked, Mask]:
    """Lists of numbers, nulls too, and which of them the task has."""
    found = _plain_vectors(column) if isinstance(column, list) else Checked(column, all_of(len(column)))
    values = found.values
    if not pa.types.is_list(values.type):
        return found, ~all_of(len(values))
    lengths = values.value_lengths().fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
    return found, fitting(task, _floats(values.flatten()), lengths)


def _plain_vectors(values: list[Any]) -> Checked:
    with contextlib.suppress(TypeError, ValueError):
        lists = [value for value in values if value is not None]
        if set(map(type, lists)) <= {list} and set(map(type, chain.from_iterable(lists))) <= {float, int}:
            return Checked(pa.array(values, VECTORS), all_of(len(values)))
    read = [_vector(value) for value in values]
    fit = [value is None or vector is not None for value, vector in zip(values, read, strict=True)]
    return Checked(pa.array(read, VECTORS), np.array(fit))


def _vector(value: Any) -> list[float] | None:
    if not isinstance(value, list):
        return None
    read = [_number(each, truths=False) for each in value]
    return None if None in read else read  # type: ignore[return-value]


def propensities(column: Column) -> Checked:
    """Chances in (0, 1]; null is 1."""
    found = numbers(column)
    chances = _floats(found.values)
    fit = ((chances > 0) & (chances <= 1)) | ~filled(found.values)
    return Checked(found.values.fill_null(1.0), found.fit & fit)


def versions(column: Column, known: AbstractSet[int]) -> Checked:
    """Numbers of known versions; nulls do not fit."""
    if isinstance(column, list):
        read = [value if type(value) is int and value in known else None for value in column]
        values = pa.array(read, pa.int32())
        return Checked(values, filled(values))
    if not pa.types.is_integer(column.type):
        return Checked(column, ~all_of(len(column)))
    found = column.fill_null(0).to_numpy(zero_copy_only=False)
    listed = np.zeros(max(known, default=0) + 1, np.bool_)
    listed[list(known)] = True
    inside = np.where((found > 0) & (found < len(listed)), found, 0).astype(np.int64)
    return Checked(pa.array(inside, pa.int32()), listed[inside])


def moments(column: Column, *, now: Micros, replays: bool) -> Checked:
    """Times of events, `now` where they are null; the future fits only in a replay."""
    values, fit = _times(column)
    at = values.fill_null(now).cast(pa.int64()).to_numpy(zero_copy_only=False)
    if not replays:
        fit = fit & (at <= now + FUTURE_TOLERANCE)
    return Checked(values.fill_null(now) if values.null_count else values, fit)


def _times(column: Column) -> Checked:
    if isinstance(column, pa.Array) and pa.types.is_timestamp(column.type):
        return Checked(column, _in_range(column))
    found = texts(column)
    with contextlib.suppress(pa.ArrowInvalid):
        values = found.values.cast(TIME)
        if _in_range(values).all():
            return Checked(values, found.fit)
    # Arrow does not read all that ISO 8601 allows; where it does read, it reads the same.
    read = [_moment(value) for value in found.values.to_pylist()]
    missing = [moment is None for moment in read]
    fit = found.fit & ~(np.array(missing) & filled(found.values))
    return Checked(pa.array(read, pa.int64()).cast(TIME), fit)


def _moment(value: str | None) -> Micros | None:
    with contextlib.suppress(InputError):
        return None if value is None else parse_time(value)
    return None


_FIRST, _END = parse_time(f"{FIRST_YEAR}-01-01T00:00:00Z"), parse_time(f"{LAST_YEAR}-12-31T23:59:59.999999Z")


def _in_range(values: pa.Array) -> Mask:
    at = values.cast(pa.int64()).fill_null(0).to_numpy(zero_copy_only=False)
    return np.asarray((at >= _FIRST) & (at <= _END))


def at(moments: Int64) -> pa.Array:
    """Microseconds as times."""
    return pa.array(moments).view(TIME)


def repeated(values: pa.Array) -> Mask:
    """Which values stand earlier in the column already; nulls do not. Shape (n,)."""
    found = np.zeros(len(values), np.bool_)
    if len(values.unique()) + max(values.null_count - 1, 0) < len(values):
        codes = values.dictionary_encode().indices.fill_null(-1).to_numpy(zero_copy_only=False)
        found[:] = True
        found[np.unique(codes, return_index=True)[1]] = False
        found[codes < 0] = False
    return found


def all_of(count: int) -> Mask:
    """A mask of which all is true."""
    return np.ones(count, np.bool_)


def filled(values: pa.Array) -> Mask:
    """Which values are not null. Shape (n,)."""
    if not values.null_count:
        return all_of(len(values))
    return np.asarray(values.is_valid().to_numpy(zero_copy_only=False))


def _floats(values: pa.Array) -> Floats:
    """As NumPy; null is NaN."""
    return np.asarray(values.to_numpy(zero_copy_only=False), dtype=np.float64)
