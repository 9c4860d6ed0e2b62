"""Bodies of the protocol, read: JSON, and behind it the raw bytes of tensors that say how many they are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from lossloop.app.http.bodies import decoded
from lossloop.app.http.problems import Malformed
from lossloop.core.errors import InputError
from lossloop.serve.inference import Request, Tensor, Wanted
from lossloop.serve.inference.datatypes import of_json, of_raw
from lossloop.serve.inference.tensors import MOST_TENSORS, flat, size_of

JSON_LENGTH = b"inference-header-content-length"
_NONE: Mapping[str, Any] = {}


class InferInput(msgspec.Struct):
    """A tensor: `data` flat or nested, or as many bytes behind the JSON as `binary_data_size` says."""

    name: str
    datatype: str
    shape: list[int]
    parameters: dict[str, Any] | None = None
    data: Any = None


class InferOutput(msgspec.Struct):
    """An output that is asked for; with the parameter `binary_data` as raw bytes."""

    name: str
    parameters: dict[str, Any] | None = None


class InferBody(msgspec.Struct):
    """Tensors to answer. What else clients write into it is passed over."""

    inputs: list[InferInput]
    id: str | None = None
    parameters: dict[str, Any] | None = None
    outputs: list[InferOutput] | None = None


class IndexBody(msgspec.Struct):
    """Which versions to list."""

    ready: bool = False


class RepositoryBody(msgspec.Struct):
    """Which version to load or unload: the parameter `version`."""

    parameters: dict[str, Any] | None = None


_READER = msgspec.json.Decoder(InferBody)


def read_request(names: Mapping[str, str], headers: Mapping[bytes, bytes], raw: bytes) -> Request:
    """A request to answer.

    Args:
        names: What the path names: `model` and perhaps `version`.
        headers: Of the request; one may say where the JSON ends.
        raw: The body without its Content-Encoding.

    Raises:
        InputError: It cannot be taken; Malformed where it is no such body at all.
    """
    length = _json_length(headers, raw)
    body: InferBody = decoded(_READER, raw if length is None else raw[:length])
    if len(body.inputs) > MOST_TENSORS or len(body.outputs or ()) > MOST_TENSORS:
        raise InputError(f"at most {MOST_TENSORS} tensors are taken", field="inputs")
    rest = memoryview(raw)[len(raw) if length is None else length :]
    inputs = []
    for each in body.inputs:
        tensor, used = _tensor(each, rest)
        rest = rest[used:]
        inputs.append(tensor)
    if len(rest):
        raise Malformed(f"{len(rest)} bytes behind the last tensor belong to none", field="inputs")
    return Request(
        model=names["model"],
        version=names.get("version", ""),
        id=body.id or "",
        parameters=body.parameters or _NONE,
        inputs=inputs,
        outputs=[Wanted(name=each.name, parameters=each.parameters or _NONE) for each in body.outputs or ()],
    )


def _json_length(headers: Mapping[bytes, bytes], raw: bytes) -> int | None:
    """How many bytes of a body are JSON, None for all of them."""
    told = headers.get(JSON_LENGTH)
    if told is None:
        return None
    if not told.isdigit() or len(told) > 12 or not 0 < int(told) <= len(raw):
        words = (
            f"Inference-Header-Content-Length must lie between 1 and {len(raw)}, the body's length unpacked"
        )
        raise Malformed(words, field="Inference-Header-Content-Length")
    return int(told)


def _tensor(told: InferInput, rest: memoryview) -> tuple[Tensor, int]:
    """A tensor, and how many of the bytes behind the JSON are its own."""
    count, field = size_of(told.name, told.datatype, told.shape), f"inputs.{told.name}"
    parameters = told.parameters or _NONE
    size = parameters.get("binary_data_size")
    if size is None:
        values = of_json(told.datatype, flat(told.data, told.shape, told.name), field)
        return _made(told, values, parameters), 0
    if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= len(rest):
        raise InputError(
            f"{told.name}: binary_data_size is {size!r:.20}; {len(rest)} bytes are left behind the JSON",
            field=field,
        )
    if told.data is not None:
        raise InputError(f"{told.name} has data and binary_data_size; send one of them", field=field)
    return _made(told, of_raw(told.datatype, rest[:size], count, field), parameters), size


def _made(told: InferInput, values: Any, parameters: Mapping[str, Any]) -> Tensor:
    return Tensor(
        name=told.name, datatype=told.datatype, shape=tuple(told.shape), values=values, parameters=parameters
    )
