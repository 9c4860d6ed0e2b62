"""The columns of each kind of fact, and how rows become record batches.

`model` is in the batch's schema metadata: a batch holds facts of one model. `y_pred` is a number, or a
list of numbers where a prediction is a vector; `features` a struct where the version declares its
features or they were sent by column, else the JSON text that was sent. A prediction without `role` is the
champion's, without `propensity` its arm was certain, and `content` is there where Lossloop itself answered.
One that failed has no `y_pred`, and says why in `error`; `latency_ms` is what it took. Where a limit cut an
answer, `limited` says which, and `raw_y_pred` what the version had said; `explanation` is JSON text, and as
personal as features are: it goes where they go.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lossloop.core.clock import Micros
from lossloop.core.records import Role
from lossloop.ledger.frames import Frame, Kind

PREDICTIONS = frozenset({Kind.PREDICTION, Kind.EXPIRED_PREDICTION})
OUTCOMES = frozenset({Kind.OUTCOME, Kind.EXPIRED_OUTCOME})
OF_A_MODEL = PREDICTIONS | OUTCOMES
"""Kinds of frames that name a model; those that have expired are folded as they were before."""
TIME = pa.timestamp("us", tz="UTC")
VECTORS = pa.list_(pa.float64())

COMMANDS = pa.schema([("id", pa.string()), ("name", pa.string()), ("body", pa.string())])
DECISIONS = pa.schema([("id", pa.string()), ("body", pa.string())])
TICKS = pa.schema([("time", TIME)])
OPTIONAL: Mapping[str, pa.DataType | None] = {
    "unit": pa.string(), "role": pa.string(), "propensity": pa.float64(), "shadow_version": pa.int32(),
    "shadow_y_pred": None, "content": pa.binary(), "features": None, "latency_ms": pa.float64(),
    "error": pa.string(), "limited": pa.string(), "raw_y_pred": None, "explanation": pa.string(),
}  # fmt: skip
"""Columns of predictions that may be left out; None for the type of what is given."""
_LIKE_Y_PRED = ("shadow_y_pred", "raw_y_pred")
_UNSAID: Mapping[str, Any] = {"role": str(Role.CHAMPION), "propensity": 1.0}
"""What a prediction without the column is."""
Values: TypeAlias = pa.Array | Sequence[Any] | np.ndarray[Any, Any]


def predictions(columns: Mapping[str, Any], *, model: str) -> pa.RecordBatch:
    """A batch of predictions from columns of equal length, each an Arrow array or a sequence of values.

    Args:
        columns: `id`, `version`, `time` (microseconds), `y_pred` and any of OPTIONAL. A column that says
            nothing, such as one of nulls, is left out of the batch.
        model: Whose predictions these are.
    """
    y_pred = _array(columns["y_pred"], None)
    if pa.types.is_null(y_pred.type):  # all of them failed
        y_pred = y_pred.cast(pa.float64())
    arrays: dict[str, pa.Array] = {
        "id": _array(columns["id"], pa.string()),
        "version": _array(columns["version"], pa.int32()),
        "time": _times(columns["time"]),
        "y_pred": y_pred,
    }
    for name, kind in OPTIONAL.items():
        if columns.get(name) is not None:
            array = _array(columns[name], y_pred.type if name in _LIKE_Y_PRED else kind)
            if _says_something(name, array):
                arrays[name] = array
    batch = pa.RecordBatch.from_pydict(arrays)
    return batch.replace_schema_metadata({"model": model})


def outcomes(
    ids: Values, y_true: Values, times: Values, reasons: Values | None = None, *, model: str
) -> pa.RecordBatch:
    """A batch of outcomes: numbers, or lists of them.

    A y_true of None says that the outcome is known to be missing, and its reason why. A batch without any
    reason has no such column.
    """
    lists = not isinstance(y_true, pa.Array) and any(isinstance(label, list) for label in y_true)
    kind = None if isinstance(y_true, pa.Array) else VECTORS if lists else pa.float64()
    arrays = {"id": _array(ids, pa.string()), "y_true": _array(y_true, kind), "time": _times(times)}
    why = None if reasons is None else _array(reasons, pa.string())
    if why is not None and _says_something("reason", why):
        arrays["reason"] = why
    return pa.RecordBatch.from_pydict(arrays).replace_schema_metadata({"model": model})


def command(id: str, name: str, body: Mapping[str, Any], *, now: Micros) -> Frame:
    """A frame with one command: something that a person or an effect asks of the loop."""
    text = msgspec.json.encode(body, order="deterministic").decode()
    batch = pa.RecordBatch.from_pydict({"id": [id], "name": [name], "body": [text]}, schema=COMMANDS)
    return Frame(kind=Kind.COMMAND, time=now, batch=batch)


def decisions(rows: Sequence[tuple[str, str]], *, now: Micros) -> Frame:
    """A frame of decisions taken: their ids and their JSON."""
    columns = {"id": [id for id, _ in rows], "body": [body for _, body in rows]}
    return Frame(kind=Kind.DECISION, time=now, batch=pa.RecordBatch.from_pydict(columns, schema=DECISIONS))


def tick(moment: Micros, *, now: Micros) -> Frame:
    """A frame that says only what time it is, so that silence matures predictions too."""
    batch = pa.RecordBatch.from_arrays([_times([moment])], schema=TICKS)
    return Frame(kind=Kind.TICK, time=now, batch=batch)


def optional(batch: pa.RecordBatch, name: str) -> pa.Array | None:
    """A column that may be left out; None where it is."""
    return batch.column(name) if name in batch.schema.names else None


def micros(column: pa.Array) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The microseconds of a time column."""
    return np.asarray(column.cast(pa.int64()).to_numpy(zero_copy_only=False), dtype=np.int64)


def model_of(batch: pa.RecordBatch) -> str:
    """Whose facts a batch holds."""
    return str((batch.schema.metadata or {})[b"model"].decode())


def model_in(frame: Frame) -> str:
    """Whose predictions or outcomes a frame holds; empty where it does not say so."""
    named = (frame.batch.schema.metadata or {}).get(b"model", b"")
    return str(named.decode(errors="replace")) if frame.kind in OF_A_MODEL else ""


def ids_of(frame: Frame) -> pa.Array | None:
    """The ids of a frame's rows, null where a row has none; None where its kind or its columns have none."""
    place = frame.batch.schema.get_field_index("id")
    if frame.kind not in OF_A_MODEL or place < 0:
        return None
    ids = frame.batch.column(place)
    return ids if pa.types.is_string(ids.type) or pa.types.is_large_string(ids.type) else None


def is_history(batch: pa.RecordBatch) -> bool:
    """Whether a batch was brought in later: its rows stand where their event times say, unjudged."""
    return b"history" in (batch.schema.metadata or {})


def _says_something(name: str, array: pa.Array) -> bool:
    if name in _UNSAID:
        return not bool(pc.all(pc.equal(array, _UNSAID[name])).as_py())
    return bool(array.null_count < len(array))


def _times(values: Values) -> pa.Array:
    """Microseconds, or times already."""
    return values if isinstance(values, pa.Array) else pa.array(values, pa.int64()).cast(TIME)


def _array(values: Values, kind: pa.DataType | None) -> pa.Array:
    """An array of a type; None takes the array's own."""
    if isinstance(values, pa.Array):
        return values if kind is None or values.type == kind else values.cast(kind)
    return pa.array(values, kind)
