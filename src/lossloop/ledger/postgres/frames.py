"""Frames as rows of a table, and to which partition each belongs."""

from __future__ import annotations

import re
import struct
import zlib
from typing import Any

import msgspec
import pyarrow as pa

from lossloop.core.errors import NewerFormat, TooLarge
from lossloop.ledger.expired import EXPIRED_KINDS
from lossloop.ledger.facts import OF_A_MODEL
from lossloop.ledger.frames import MAX_PAYLOAD, Damage, Frame, Kind

EVERY = -1
"""In place of a partition: a frame that every partition folds, such as the command `freeze`."""
_HEAD = struct.Struct("<BqI")
_SIZE = struct.Struct("<I")
"""Before the payload of rows that have expired, which is compressed: nobody waits for it."""
_KINDS = frozenset(Kind)
_LINE = re.compile(r"""^["']?model["']?\s*:\s*["']?([^"'\s#]+)""", re.MULTILINE)
_INLINE = re.compile(r"""[{,]\s*["']?model["']?\s*:\s*["']?([^"'\s#,}]+)""")


def partition_of(model: str, partitions: int) -> int:
    """Where a model's facts and everything derived from them are."""
    return zlib.crc32(model.encode()) % partitions


def model_in(frame: Frame) -> str | None:
    """The one model that a frame is about; None where it is about none or several."""
    if frame.kind in OF_A_MODEL:
        return (frame.batch.schema.metadata or {}).get(b"model", b"").decode() or None
    if frame.kind is not Kind.COMMAND:
        return None
    if "body" not in frame.batch.schema.names:
        return None
    models = {_model_of_command(body) for body in frame.batch.column("body").to_pylist()}
    return models.pop() if len(models) == 1 else None


def _model_of_command(body: Any) -> str | None:
    """Named outright, or by the key of an effect (``model/number``), or by the text of a policy."""
    try:
        said = msgspec.json.decode(body) if isinstance(body, str) else None
    except msgspec.DecodeError:
        return None
    if not isinstance(said, dict):
        return None
    if isinstance(said.get("model"), str):
        return str(said["model"])
    if isinstance(said.get("key"), str):
        return str(said["key"]).partition("/")[0]
    return _model_of_policy(said["text"]) if isinstance(said.get("text"), str) else None


def _model_of_policy(text: str) -> str | None:
    """The value of the key `model` at the top of a policy, in either style of YAML."""
    match = _LINE.search(text)
    if match is not None:
        return match[1]
    for found in _INLINE.finditer(text):
        before = text[: found.start() + 1]
        if before.count("{") - before.count("}") == 1:
            return found[1]
    return None


def row_of(frame: Frame) -> dict[str, Any]:
    """A frame as values of columns.

    Raises:
        TooLarge: Its payload is over MAX_PAYLOAD.
    """
    payload = ipc_of(frame.batch)
    if frame.kind in EXPIRED_KINDS.values():
        payload = _SIZE.pack(len(payload)) + pa.compress(payload, codec="zstd", asbytes=True)
    if len(payload) > MAX_PAYLOAD:
        raise TooLarge(
            f"{len(payload)} bytes in one batch; at most {MAX_PAYLOAD} are taken: send it in parts"
        )
    crc = _checksum(frame.kind, frame.time, frame.batch.num_rows, payload)
    return {
        "kind": int(frame.kind), "time": frame.time, "rows": frame.batch.num_rows, "crc": crc,
        "model": model_in(frame), "payload": payload,
    }  # fmt: skip


def frame_of(number: int, kind: int, time: int, rows: int, crc: int, payload: bytes) -> Frame | Damage:
    """The frame that a row holds; damage where its checksum is another.

    Raises:
        NewerFormat: It is of a kind that this release does not know.
    """
    if _checksum(kind, time, rows, payload) != crc:
        return Damage(start=number - 1, end=number)
    if kind not in _KINDS:
        raise NewerFormat(f"the log holds a frame of kind {kind}; install a newer lossloop")
    if kind in EXPIRED_KINDS.values():
        (size,) = _SIZE.unpack_from(payload)
        payload = pa.decompress(payload[_SIZE.size :], size, codec="zstd", asbytes=True)
    return Frame(kind=Kind(kind), time=time, batch=batch_of(payload))


def ipc_of(batch: pa.RecordBatch) -> bytes:
    """A batch as an Arrow IPC stream."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue())


def batch_of(data: bytes) -> pa.RecordBatch:
    """The batch of an Arrow IPC stream."""
    with pa.ipc.open_stream(pa.py_buffer(data)) as reader:
        return reader.read_next_batch()


def _checksum(kind: int, time: int, rows: int, payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(_HEAD.pack(kind & 0xFF, time, rows)))
