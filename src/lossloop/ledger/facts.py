"""The columns of each kind of fact, and how rows become record batches.

`model` is in the batch's schema metadata: a batch holds facts of one model. `y_pred` is a number, or a
list of numbers where a prediction is a vector; `features` a struct where the version declares its
features, else the JSON text that was sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from lossloop.core.clock import Micros
from lossloop.ledger.frames import Frame, Kind

TIME = pa.timestamp("us", tz="UTC")

OUTCOMES = pa.schema([("id", pa.string()), ("y_true", pa.float64()), ("time", TIME)])
COMMANDS = pa.schema([("id", pa.string()), ("name", pa.string()), ("body", pa.string())])
DECISIONS = pa.schema([("id", pa.string()), ("body", pa.string())])
TICKS = pa.schema([("time", TIME)])


def predictions(columns: Mapping[str, Any], *, model: str) -> pa.RecordBatch:
    """A batch of predictions from columns of equal length.

    Args:
        columns: id, version, time (micros), unit, role, propensity, y_pred, shadow_version,
            shadow_y_pred, content (a digest of what was sent), features (an Arrow array, or None).
        model: Whose predictions these are.
    """
    y_pred = pa.array(columns["y_pred"])
    arrays: dict[str, pa.Array] = {
        "id": pa.array(columns["id"], pa.string()),
        "version": pa.array(columns["version"], pa.int32()),
        "time": _times(columns["time"]),
        "unit": pa.array(columns["unit"], pa.string()),
        "role": pa.array(columns["role"], pa.string()),
        "propensity": pa.array(columns["propensity"], pa.float64()),
        "y_pred": y_pred,
        "shadow_version": pa.array(columns["shadow_version"], pa.int32()),
        "shadow_y_pred": pa.array(columns["shadow_y_pred"], y_pred.type),
        "content": pa.array(columns["content"], pa.binary()),
    }
    if columns.get("features") is not None:
        arrays["features"] = columns["features"]
    batch = pa.RecordBatch.from_pydict(arrays)
    return batch.replace_schema_metadata({"model": model})


def outcomes(
    ids: Sequence[str], y_true: Sequence[float | None], times: Sequence[Micros], *, model: str
) -> pa.RecordBatch:
    """A batch of outcomes; a y_true of None says that the outcome is known to be missing."""
    arrays = [pa.array(ids, pa.string()), pa.array(y_true, pa.float64()), _times(times)]
    return pa.RecordBatch.from_arrays(arrays, schema=OUTCOMES.with_metadata({"model": model}))


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


def micros(column: pa.Array) -> np.ndarray[Any, np.dtype[np.int64]]:
    """The microseconds of a time column."""
    return np.asarray(column.cast(pa.int64()).to_numpy(zero_copy_only=False), dtype=np.int64)


def model_of(batch: pa.RecordBatch) -> str:
    """Whose facts a batch holds."""
    return str((batch.schema.metadata or {})[b"model"].decode())


def _times(values: Sequence[Micros]) -> pa.Array:
    return pa.array(values, pa.int64()).cast(TIME)
