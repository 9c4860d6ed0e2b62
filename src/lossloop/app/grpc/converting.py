"""Messages to what the transport-free object takes, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lossloop.app.grpc.messages import CLASSES
from lossloop.core.errors import InputError
from lossloop.serve.inference import ModelMetadata, Reply, Request, Tensor, Wanted
from lossloop.serve.inference.datatypes import BYTES, DTYPES, FP64, INT64, Values, of_raw, text_of, to_raw
from lossloop.serve.inference.tensors import MOST_TENSORS, size_of

_CONTENTS: Mapping[str, str] = {
    "BOOL": "bool_contents",
    "INT8": "int_contents", "INT16": "int_contents", "INT32": "int_contents", INT64: "int64_contents",
    "UINT8": "uint_contents", "UINT16": "uint_contents", "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents", FP64: "fp64_contents", BYTES: "bytes_contents",
}  # fmt: skip
"""Where the values of a datatype lie that are not raw."""
_response: Any = CLASSES["ModelInferResponse"]


def read_request(message: Any, patience: float | None = None) -> Request:
    """A request to answer; raise InputError where its tensors are not what they say."""
    if len(message.inputs) > MOST_TENSORS or len(message.outputs) > MOST_TENSORS:
        raise InputError(f"at most {MOST_TENSORS} tensors are taken", field="inputs")
    raw: Sequence[bytes] = message.raw_input_contents
    if raw and len(raw) != len(message.inputs):
        raise InputError(
            f"{len(raw)} raw_input_contents for {len(message.inputs)} inputs; send all of them raw, or none",
            field="raw_input_contents",
        )
    return Request(
        model=message.model_name,
        version=message.model_version,
        id=message.id,
        parameters=_parameters(message.parameters),
        inputs=[_tensor(each, raw[place] if raw else None) for place, each in enumerate(message.inputs)],
        outputs=[Wanted(name=each.name, parameters=_parameters(each.parameters)) for each in message.outputs],
        patience=patience,
    )


def _tensor(told: Any, raw: bytes | None) -> Tensor:
    shape, field = tuple(told.shape), f"inputs.{told.name}"
    count = size_of(told.name, told.datatype, shape)
    if raw is None:
        values = _typed(told, count, field)
    elif told.HasField("contents"):
        raise InputError(f"{told.name} has contents and raw_input_contents; send one of them", field=field)
    else:
        values = of_raw(told.datatype, raw, count, field)
    return Tensor(name=told.name, datatype=told.datatype, shape=shape, values=values)


def _typed(told: Any, count: int, field: str) -> Values:
    if told.datatype not in _CONTENTS:
        raise InputError(
            f"{field}: {told.datatype} has no typed contents; send raw_input_contents", field=field
        )
    own = _CONTENTS[told.datatype]
    others = [found.name for found, _ in told.contents.ListFields() if found.name != own]
    if others:
        raise InputError(f"{field}: values of {told.datatype} lie in {own}, not in {others[0]}", field=field)
    found = getattr(told.contents, own)
    if len(found) != count:
        raise InputError(f"{field}: the shape says {count} values, there are {len(found)}", field=field)
    if told.datatype == BYTES:
        return [text_of(value, place, field) for place, value in enumerate(found)]
    try:
        return np.array(list(found), DTYPES[told.datatype])
    except OverflowError:
        raise InputError(f"{field}: a value lies beyond {told.datatype}", field=field) from None


def write_reply(reply: Reply, *, raw: bool) -> Any:
    """The message of a reply: raw where the request was, typed otherwise."""
    message = _response(model_name=reply.model, model_version=reply.version, id=reply.id)
    for name, value in reply.parameters.items():
        message.parameters[name].string_param = value
    for tensor in reply.outputs:
        told = message.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=tensor.shape)
        if raw:
            message.raw_output_contents.append(to_raw(tensor.values))
            continue
        values = tensor.values
        plain = [(value or "").encode() for value in values] if isinstance(values, list) else values.tolist()
        getattr(told.contents, _CONTENTS[tensor.datatype]).extend(plain)
    return message


def write_metadata(found: ModelMetadata) -> Any:
    """The message that describes a model."""
    message = CLASSES["ModelMetadataResponse"](
        name=found.name, versions=found.versions, platform=found.platform
    )
    for shapes, told in ((found.inputs, message.inputs), (found.outputs, message.outputs)):
        for each in shapes:
            told.add(name=each.name, datatype=each.datatype, shape=each.shape)
    return message


def _parameters(told: Any) -> dict[str, Any]:
    """Parameters as plain values; one without a value is left out."""
    chosen = ((name, each, each.WhichOneof("parameter_choice")) for name, each in told.items())
    return {name: getattr(each, kind) for name, each, kind in chosen if kind is not None}


def repository_request(message: Any) -> tuple[str, dict[str, Any]]:
    """The model and the parameters that a repository call names; KServe's has the model's name first."""
    return message.model_name or message.repository_name, _parameters(message.parameters)
