"""Batches as callers may send them, good and bad, for tests of all that reads them."""

from __future__ import annotations

import math
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

from lossloop.core.clock import DAY, format_time, parse_time
from lossloop.core.tasks import Task
from lossloop.core.traffic import Traffic
from lossloop.serve.rowwise import OUTCOME_KEYS, PREDICTION_KEYS, Terms

NOW = parse_time("2024-01-01T12:00:00Z")
HUGE = 10**400

scalars = st.none() | st.booleans() | st.integers() | st.just(HUGE) | st.floats() | st.text(max_size=5)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)
times = st.sampled_from([
    "2024-01-01T00:00:00Z", "2023-12-31T23:59:59.123456-05:00", "20231231T000000Z",
    "2023-12-31T00:00:00.5+01", "2023-12-31T00:00:00.123456789Z", "2024-01-01T12:05:00Z",
    "2024-01-01T12:05:00.000001Z", "2024-01-01", "1899-12-31T23:59:59Z", "2200-01-01T00:00:00Z",
    "1900-01-01T00:00:00+05:00", "noon", "", "x" * 300, format_time(NOW + DAY),
])  # fmt: skip
names = st.sampled_from(["a", "b", "é", "", " ", "n" * 256, "n" * 257, "é" * 200, "\0", "🙂" * 256])
outputs = st.sampled_from([
    0, 1, 0.5, 1.0, -0.0, 2, -1, [0.5, 0.5], [0.2, 0.3, 0.5], [1], [], [1, 0.0005], [0.5, None],
    [True, False], [0.5, "0.5"], [HUGE, 0], 2**60 + 1, 1e308, [1e308, -1e308],
])  # fmt: skip
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "id": names,
    "unit": names,
    "reason": names,
    "time": times,
    "version": st.sampled_from([1, 2, 3, 0, -1, 1.0, True, 2**31, 2**63, "1"]),
    "y_pred": outputs,
    "y_true": outputs | st.booleans(),
    "role": st.sampled_from(["champion", "challenger", "king", ""]),
    "propensity": st.sampled_from([1, 0.5, 1e-300, 0, -1, 1.5, 5e-324]),
    "features": st.dictionaries(st.sampled_from(["x", "y"]), scalars, max_size=2),
    "latency_ms": st.sampled_from(
        [0, -0.0, 1, 12.5, 5e-324, 3.1536e12, -1, 1e308, math.inf, math.nan, HUGE, True]
    ),
    "error": st.none() | names,
}


def _rows(keys: tuple[str, ...], needs: dict[str, Any]) -> st.SearchStrategy[list[Any]]:
    """Rows of which most are good: a few values are anything, a few keys unknown, a few rows no object."""
    known = st.fixed_dictionaries({}, optional={key: VALUES[key] | st.none() for key in keys})
    likely = known.map(lambda row: {**needs, **row})
    row = (
        likely
        | likely
        | known
        | st.dictionaries(st.sampled_from([*keys, "x"]), anything, max_size=4)
        | anything
    )
    return st.lists(row, min_size=1, max_size=20)


answered = _rows(PREDICTION_KEYS, {"version": 1, "y_pred": 0.5})
failed = _rows(PREDICTION_KEYS, {"version": 1, "y_pred": None, "error": "timeout"})
prediction_rows = answered | st.builds(lambda some, more: [*some, *more], answered, failed)
outcome_rows = _rows(OUTCOME_KEYS, {"id": "z", "y_true": 1})


def terms(task: Task = Task.BINARY, *, replays: bool = False) -> Terms:
    """What a model with versions 1 and 2 takes."""
    traffic = Traffic(model="m", task=task, champion=1)
    return Terms(traffic=traffic, now=NOW, replays=replays, known=frozenset({1, 2}))


def stream(batch: pa.RecordBatch | list[pa.RecordBatch], **options: Any) -> bytes:
    """An Arrow stream of one batch, or of several."""
    batches = batch if isinstance(batch, list) else [batch]
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batches[0].schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        for each in batches:
            writer.write_batch(each)
    return bytes(sink.getvalue().to_pybytes())
