"""A batch as the body of a request: rows, columns or Arrow; plain, gzip or zstd."""

from __future__ import annotations

import json
import random
from typing import Any

import pyarrow as pa

from lossloop.core.clock import parse_time
from tests.torture.events import Batch

SHAPES = ("rows", "columns", "arrow")
ENCODINGS = ("", "", "gzip", "zstd")
ARROW = "application/vnd.apache.arrow.stream"


def request_of(batch: Batch, chance: random.Random) -> tuple[str, bytes, dict[str, str]]:
    """Path, body and headers; which shape and which encoding is left to chance, each time anew."""
    shape, encoding = chance.choice(SHAPES), chance.choice(ENCODINGS)
    path, columns = f"/v1/{batch.kind}", batch.columns()
    if shape == "arrow":
        headers = {"Content-Type": ARROW}
        path, body = f"{path}?model={batch.model}", _arrow(columns)
    else:
        headers = {"Content-Type": "application/json"}
        document = {"columns": columns} if shape == "columns" else {batch.kind: _rows(columns)}
        body = json.dumps({"model": batch.model, **document}).encode()
    if encoding:
        headers["Content-Encoding"], body = encoding, _packed(body, encoding)
    return path, body, headers


def _rows(columns: dict[str, list[Any]]) -> list[dict[str, Any]]:
    names = list(columns)
    rows = (dict(zip(names, values, strict=True)) for values in zip(*columns.values(), strict=True))
    return [{name: value for name, value in row.items() if _is_said(name, value)} for row in rows]


def _is_said(name: str, value: Any) -> bool:
    """Whether a key has to stand in a row; a label that is missing is said so."""
    return value is not None or name == "y_true"


def _arrow(columns: dict[str, list[Any]]) -> bytes:
    """Times as timestamps; everything else as Arrow takes it."""
    times = [parse_time(time) for time in columns["time"]]
    arrays = {name: pa.array(values) for name, values in columns.items()}
    arrays["time"] = pa.array(times, pa.timestamp("us", tz="UTC"))
    if "y_true" in arrays:
        arrays["y_true"] = pa.array(columns["y_true"], pa.float64())
    batch = pa.RecordBatch.from_pydict(arrays)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue())


def _packed(body: bytes, encoding: str) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, encoding) as stream:
        stream.write(body)
    return bytes(sink.getvalue())
