"""Replies of the protocol, written: JSON, and behind it the raw bytes of outputs that were asked for so."""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import msgspec

from lossloop.serve.inference import Reply, Request, Tensor
from lossloop.serve.inference.datatypes import to_raw
from lossloop.serve.inference.inputs import PREDICTION_ID
from lossloop.serve.inference.outputs import ROLE, VERSION

HEADERS: Mapping[str, bytes] = {
    PREDICTION_ID: b"lossloop-prediction-id",
    VERSION: b"lossloop-version",
    ROLE: b"lossloop-role",
}
"""Under which header each parameter of a reply is told too, percent-encoded; some show no parameters."""
WORTH_PACKING = 1024
"""Bytes from which on a body is packed where its receiver takes that."""
_REFUSES = re.compile(r";\s*q=0(\.0*)?\s*$")
Headers = list[tuple[bytes, bytes]]
encode = msgspec.json.Encoder().encode


def write_reply(request: Request, reply: Reply) -> tuple[bytes, Headers]:
    """The body of a reply and the headers that belong to it."""
    parts: list[bytes] = []
    outputs = [_output(request, tensor, parts) for tensor in reply.outputs]
    told: dict[str, Any] = {"model_name": reply.model, "model_version": reply.version}
    if reply.id:
        told["id"] = reply.id
    told |= {"parameters": reply.parameters, "outputs": outputs}
    body = encode(told)
    headers = [(HEADERS[name], quote(value, safe=",/:").encode()) for name, value in reply.parameters.items()]
    if not parts:
        return body, [(b"content-type", b"application/json"), *headers]
    headers += [
        (b"content-type", b"application/octet-stream"),
        (b"inference-header-content-length", b"%d" % len(body)),
    ]
    return b"".join([body, *parts]), headers


def _output(request: Request, tensor: Tensor, parts: list[bytes]) -> dict[str, Any]:
    """An output as JSON; where it goes as raw bytes, those are added to the parts."""
    told = {"name": tensor.name, "datatype": tensor.datatype, "shape": tensor.shape}
    if tensor.parameters.get("binary_data", request.parameters.get("binary_data_output", False)) is not True:
        values = tensor.values
        return {**told, "data": values if isinstance(values, list) else values.tolist()}
    raw = to_raw(tensor.values)
    parts.append(raw)
    return {**told, "parameters": {"binary_data_size": len(raw)}}


def packed(body: bytes, accepted: bytes) -> tuple[bytes, Headers]:
    """A body as its receiver takes it, by Accept-Encoding: gzip or deflate where it is worth that."""
    if len(body) < WORTH_PACKING:
        return body, []
    names = [part.strip() for part in accepted.decode("latin-1").lower().split(",")]
    taken = {part.partition(";")[0].strip() for part in names if not _REFUSES.search(part)}
    if "gzip" in taken:
        return gzip.compress(body, compresslevel=1, mtime=0), [(b"content-encoding", b"gzip")]
    if "deflate" in taken:
        return zlib.compress(body, level=1), [(b"content-encoding", b"deflate")]
    return body, []
