"""Made predictions and outcomes: ids like those of a real sender, the same every time."""

from __future__ import annotations

import msgspec
import numpy as np
import pyarrow as pa

from lossloop.core.clock import Micros, format_time
from lossloop.ledger.facts import outcomes, predictions
from lossloop.ledger.frames import payload_of
from lossloop.ledger.joined.keys import Int64

MODEL = "bench"
_HEAD = b"0192f0c1-7e3a-7000-8000-"
_HEX = np.frombuffer(b"0123456789abcdef", np.uint8)
_SHIFTS = np.arange(44, -4, -4)


def ids(numbers: Int64) -> pa.Array:
    """An id of 36 characters, a UUID, for each number."""
    text = np.empty((len(numbers), len(_HEAD) + len(_SHIFTS)), np.uint8)
    text[:, : len(_HEAD)] = np.frombuffer(_HEAD, np.uint8)
    text[:, len(_HEAD) :] = _HEX[(numbers[:, None] >> _SHIFTS) & 15]
    ends = np.arange(len(numbers) + 1, dtype=np.int32) * text.shape[1]
    return pa.StringArray.from_buffers(len(numbers), pa.py_buffer(ends), pa.py_buffer(text))


def predicted(numbers: Int64, now: Micros) -> pa.RecordBatch:
    """Predictions with these numbers: probabilities between 0.01 and 0.99."""
    count = len(numbers)
    columns = {
        "id": ids(numbers),
        "version": pa.array(np.ones(count, np.int32)),
        "time": np.full(count, now),
        "y_pred": pa.array(_random(numbers).uniform(0.01, 0.99, count)),
    }
    return predictions(columns, model=MODEL)


def happened(numbers: Int64, now: Micros) -> pa.RecordBatch:
    """Outcomes of the predictions with these numbers: 0 or 1."""
    count = len(numbers)
    labels = pa.array((_random(numbers).random(count) < 0.5).astype(float))
    return outcomes(ids(numbers), labels, np.full(count, now), model=MODEL)


def made(what: str, numbers: Int64, now: Micros) -> pa.RecordBatch:
    """`predictions` or `outcomes` with these numbers."""
    return (predicted if what == "predictions" else happened)(numbers, now)


def as_arrow(batch: pa.RecordBatch) -> bytes:
    """A request's body as an Arrow stream."""
    return payload_of(batch)


def as_json(what: str, batch: pa.RecordBatch) -> bytes:
    """A request's body as JSON rows; each says when it happened."""
    moment = format_time(batch.column("time")[0].cast(pa.int64()).as_py())
    rows = [{**row, "time": moment} for row in batch.drop_columns(["time"]).to_pylist()]
    return msgspec.json.encode({"model": MODEL, what: rows})


def _random(numbers: Int64) -> np.random.Generator:
    return np.random.default_rng(int(numbers[0]) if len(numbers) else 0)
