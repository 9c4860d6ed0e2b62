"""Rows as callers send them, read one by one: a bad row is a problem, never the end of the good ones.

Rows to predict are read like this, and what is wrong with a row of any other batch is worded like this.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import msgspec

from lossloop.core.clock import FUTURE_TOLERANCE, LONGEST, Micros, format_time, parse_time
from lossloop.core.errors import InputError, alternatives
from lossloop.core.ids import digest

T = TypeVar("T")
LONGEST_NAME = 256
MOST_LATENCY = LONGEST / 1000
"""Milliseconds that a prediction may have taken; sums of them stay numbers."""


@dataclass(kw_only=True)
class Readings(Generic[T]):
    """What could be read, with each row's index in the request, and what could not."""

    rows: list[tuple[int, T]] = field(default_factory=list)
    problems: list[InputError] = field(default_factory=list)


def read_rows(
    rows: Sequence[Any], read: Callable[[Mapping[str, Any], int], T], keys: Sequence[str]
) -> Readings[T]:
    """Read each row that is an object with known keys only; ids may not repeat within a batch."""
    found: Readings[T] = Readings()
    seen: set[str] = set()
    for index, row in enumerate(rows):
        try:
            check_shape(row, index, keys)
            check_first(row, index, seen)
            found.rows.append((index, read(row, index)))
        except InputError as error:
            found.problems.append(error)
    return found


def check_shape(row: Any, index: int, keys: Sequence[str]) -> None:
    """Raise InputError where a row is no object, or has an unknown key."""
    if not isinstance(row, dict):
        raise InputError(f"a row must be an object, not {type(row).__name__}", row=index)
    for key in row:
        if key not in keys:
            raise InputError(f"unknown key {key!r}; {alternatives(key, keys)}", field=key, row=index)


def check_first(row: Any, index: int, seen: set[str]) -> None:
    """Raise InputError where an earlier row had this row's id; `seen` are the ids of those."""
    id = row.get("id") if isinstance(row, dict) else None
    if not isinstance(id, str):
        return  # absent, or a problem of its own
    if id in seen:
        raise twice(id, index)
    seen.add(id)


def twice(id: str, index: int) -> InputError:
    """What is wrong with a row whose id an earlier row of the batch has."""
    return InputError(f"the id {id!r} stands twice in this batch", field="id", row=index)


def text(row: Mapping[str, Any], key: str, index: int) -> str | None:
    """A short text, None where it is absent or null."""
    value = row.get(key)
    if value is None:
        return None
    if not isinstance(value, str) or not value:
        raise InputError(f"{key} must be text, not {value!r}", field=key, row=index)
    if len(value) > LONGEST_NAME:
        raise InputError(
            f"{key} has {len(value)} characters; at most {LONGEST_NAME} are taken", field=key, row=index
        )
    return value


def moment(row: Mapping[str, Any], index: int, *, now: Micros, replays: bool) -> Micros:
    """When the event was, now if it does not say; refused where it claims to be in the future."""
    value = text(row, "time", index)
    if value is None:
        return now
    try:
        read = parse_time(value)
    except InputError as error:
        raise InputError(str(error), field="time", row=index) from None
    if not replays and read > now + FUTURE_TOLERANCE:
        raise InputError(
            f"{value} is more than 5 minutes ahead of the receipt time {format_time(now)}; "
            "set the sender's clock",
            field="time",
            row=index,
        )
    return read


def whole(row: Mapping[str, Any], key: str, index: int) -> int:
    """A whole number above 0."""
    value = row.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InputError(f"{key} must be a whole number above 0, not {value!r}", field=key, row=index)
    return value


def content(row: Mapping[str, Any]) -> bytes:
    """A digest of what was sent, by which a repeat is told from a conflict. Shape: 16 bytes."""
    return bytes.fromhex(digest(msgspec.json.encode(row, order="deterministic"))[:32])
