"""Rows as they are handed over: checked as far as can be told without the server, and made JSON at once."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from enum import IntEnum
from typing import Any, NamedTuple, TypedDict

import msgspec

from lossloop.core.errors import InputError, alternatives
from lossloop.core.ids import new_id

Row = Mapping[str, Any]
LONGEST_NAME = 256
_HEAD = struct.Struct("<BHH")


class _Answered(TypedDict):
    version: int
    y_pred: Any


class PredictionRow(_Answered, total=False):
    """One prediction that a service made; `id` and `time` are made at hand-over where they are left out."""

    id: str
    unit: str | None
    time: datetime | str
    features: Any
    role: str
    propensity: float
    latency_ms: float
    """What the answer took."""
    error: str
    """Why there is none; `y_pred` is None then."""


class _Known(TypedDict):
    id: str
    y_true: Any


class OutcomeRow(_Known, total=False):
    """What happened to the prediction `id`; a `y_true` of None says that it is known to be missing."""

    time: datetime | str
    reason: str


class Kind(IntEnum):
    """What a row is."""

    PREDICTION = 1
    OUTCOME = 2

    @property
    def noun(self) -> str:
        return self.name.lower()

    @property
    def path(self) -> str:
        """Where rows of this kind are sent."""
        return f"/v1/{self.noun}s"


class Entry(NamedTuple):
    """A row as it lies in the spool."""

    kind: Kind
    model: bytes
    id: bytes
    row: bytes
    """JSON."""


_NEEDED = {Kind.PREDICTION: PredictionRow.__required_keys__, Kind.OUTCOME: OutcomeRow.__required_keys__}
_KEYS = {
    Kind.PREDICTION: PredictionRow.__required_keys__ | PredictionRow.__optional_keys__,
    Kind.OUTCOME: OutcomeRow.__required_keys__ | OutcomeRow.__optional_keys__,
}
_KINDS = {int(kind): kind for kind in Kind}


def pack(kind: Kind, model: str, rows: Sequence[Row]) -> tuple[list[str], list[bytes]]:
    """The ids of rows and what is written of each.

    Raises:
        InputError: A row that the server could never take; `row` says which. None of them is handed over.
    """
    now = datetime.now(UTC)
    name = model.encode()
    ids: list[str] = []
    packed: list[bytes] = []
    for index, row in enumerate(rows):
        try:
            id, raw = _read(kind, row, now)
        except InputError as error:
            raise InputError(str(error), field=error.field, row=index) from None
        key = id.encode()
        ids.append(id)
        packed.append(b"".join((_HEAD.pack(kind, len(name), len(key)), name, key, raw)))
    return ids, packed


def unpack(payload: bytes | memoryview) -> Entry:
    """What `pack` has written of a row."""
    raw = bytes(payload)
    kind, name, key = _HEAD.unpack_from(raw)
    start = _HEAD.size + name
    end = start + key
    return Entry(_KINDS[kind], raw[_HEAD.size : start], raw[start:end], raw[end:])


def to_json(value: object) -> bytes:
    """JSON of anything that a service may hold: NumPy's scalars and arrays, dataclasses, pydantic's models.

    Raises:
        InputError: It has no form in JSON.
    """
    try:
        return _ENCODER.encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise InputError(f"a row must be writable as JSON: {error}") from None


def _read(kind: Kind, row: Row, now: datetime) -> tuple[str, bytes]:
    if not isinstance(row, Mapping):
        raise InputError(f"a row must be a mapping, not {type(row).__name__}")
    keys = row.keys()
    if not keys <= _KEYS[kind]:
        key = sorted(str(each) for each in keys - _KEYS[kind])[0]
        raise InputError(f"unknown key {key!r}; {alternatives(key, _KEYS[kind])}", field=key)
    if not keys >= _NEEDED[kind]:
        key = sorted(_NEEDED[kind] - keys)[0]
        raise InputError(f"{kind.noun} without {key!r}", field=key)
    moment = row.get("time")
    if isinstance(moment, datetime) and moment.tzinfo is None:
        raise InputError("a time without a time zone has no place on the clock; add tzinfo", field="time")
    id = row.get("id")
    if id is None:
        id = new_id()
    elif not isinstance(id, str) or not 0 < len(id) <= LONGEST_NAME:
        raise InputError(f"id must be text of 1 to {LONGEST_NAME} characters, not {id!r}", field="id")
    return id, to_json({**row, "id": id, "time": now if moment is None else moment})


def _plain(value: object) -> object:
    """What stands for an object that msgspec does not know."""
    for name in ("tolist", "model_dump", "to_dict"):
        method = getattr(value, name, None)
        if callable(method) and not isinstance(value, type):
            return method()
    raise TypeError(f"objects of type {type(value).__name__} cannot be")


_ENCODER = msgspec.json.Encoder(enc_hook=_plain)
