"""The messages of `inference.GRPCInferenceService`, as classes of protobuf.

Names and field numbers are those of the public specification; the classes are made when the module is loaded,
in a pool of their own: a client's library in the same process has messages of the same names.

The repository calls come in two forms: Triton's, and that of KServe, where the model's name is the first
field. Here both are read: a model's name that came as the first field stands in `repository_name`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

PACKAGE = "inference"
SERVICE = f"{PACKAGE}.GRPCInferenceService"

_Fields = Mapping[str, tuple[int, str]]
_PARAMETERS = "map InferParameter"
_REPOSITORY: _Fields = {
    "repository_name": (1, "string"), "model_name": (2, "string"),
    "parameters": (3, "map ModelRepositoryParameter"),
}  # fmt: skip
_TENSOR: _Fields = {
    "name": (1, "string"), "datatype": (2, "string"), "shape": (3, "repeated int64"),
    "parameters": (4, _PARAMETERS), "contents": (5, "InferTensorContents"),
}  # fmt: skip
MESSAGES: Mapping[str, _Fields] = {
    "ServerLiveRequest": {},
    "ServerLiveResponse": {"live": (1, "bool")},
    "ServerReadyRequest": {},
    "ServerReadyResponse": {"ready": (1, "bool")},
    "ModelReadyRequest": {"name": (1, "string"), "version": (2, "string")},
    "ModelReadyResponse": {"ready": (1, "bool")},
    "ServerMetadataRequest": {},
    "ServerMetadataResponse": {
        "name": (1, "string"), "version": (2, "string"), "extensions": (3, "repeated string"),
    },
    "ModelMetadataRequest": {"name": (1, "string"), "version": (2, "string")},
    "ModelMetadataResponse": {
        "name": (1, "string"), "versions": (2, "repeated string"), "platform": (3, "string"),
        "inputs": (4, "repeated ModelMetadataResponse.TensorMetadata"),
        "outputs": (5, "repeated ModelMetadataResponse.TensorMetadata"),
    },
    "ModelMetadataResponse.TensorMetadata": {
        "name": (1, "string"), "datatype": (2, "string"), "shape": (3, "repeated int64"),
    },
    "InferParameter": {
        "bool_param": (1, "one bool"), "int64_param": (2, "one int64"), "string_param": (3, "one string"),
        "double_param": (4, "one double"), "uint64_param": (5, "one uint64"),
    },
    "InferTensorContents": {
        "bool_contents": (1, "repeated bool"), "int_contents": (2, "repeated int32"),
        "int64_contents": (3, "repeated int64"), "uint_contents": (4, "repeated uint32"),
        "uint64_contents": (5, "repeated uint64"), "fp32_contents": (6, "repeated float"),
        "fp64_contents": (7, "repeated double"), "bytes_contents": (8, "repeated bytes"),
    },
    "ModelInferRequest": {
        "model_name": (1, "string"), "model_version": (2, "string"), "id": (3, "string"),
        "parameters": (4, _PARAMETERS), "inputs": (5, "repeated ModelInferRequest.InferInputTensor"),
        "outputs": (6, "repeated ModelInferRequest.InferRequestedOutputTensor"),
        "raw_input_contents": (7, "repeated bytes"),
    },
    "ModelInferRequest.InferInputTensor": _TENSOR,
    "ModelInferRequest.InferRequestedOutputTensor": {"name": (1, "string"), "parameters": (2, _PARAMETERS)},
    "ModelInferResponse": {
        "model_name": (1, "string"), "model_version": (2, "string"), "id": (3, "string"),
        "parameters": (4, _PARAMETERS), "outputs": (5, "repeated ModelInferResponse.InferOutputTensor"),
        "raw_output_contents": (6, "repeated bytes"),
    },
    "ModelInferResponse.InferOutputTensor": _TENSOR,
    "ModelRepositoryParameter": {
        "bool_param": (1, "one bool"), "int64_param": (2, "one int64"), "string_param": (3, "one string"),
        "bytes_param": (4, "one bytes"),
    },
    "RepositoryIndexRequest": {"repository_name": (1, "string"), "ready": (2, "bool")},
    "RepositoryIndexResponse": {"models": (1, "repeated RepositoryIndexResponse.ModelIndex")},
    "RepositoryIndexResponse.ModelIndex": {
        "name": (1, "string"), "version": (2, "string"), "state": (3, "string"), "reason": (4, "string"),
    },
    "RepositoryModelLoadRequest": _REPOSITORY,
    "RepositoryModelLoadResponse": {"model_name": (1, "string"), "isLoaded": (2, "bool")},
    "RepositoryModelUnloadRequest": _REPOSITORY,
    "RepositoryModelUnloadResponse": {"model_name": (1, "string"), "isUnloaded": (2, "bool")},
}  # fmt: skip
"""By message (of another, behind a point) each field's number and kind; of those marked `one` one is set."""

_Field = descriptor_pb2.FieldDescriptorProto
_SCALARS = ("bool", "bytes", "double", "float", "int32", "int64", "string", "uint32", "uint64")


def _build() -> Mapping[str, Any]:
    """The classes, by name."""
    file = descriptor_pb2.FileDescriptorProto(
        name="lossloop/inference.proto", package=PACKAGE, syntax="proto3"
    )
    made: dict[str, descriptor_pb2.DescriptorProto] = {}
    for name, fields in MESSAGES.items():
        outer, _, own = name.rpartition(".")
        message = made[name] = (made[outer].nested_type if outer else file.message_type).add(name=own or name)
        for field, (number, kind) in fields.items():
            _add(message, name, field, number, kind)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return {
        name: message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{PACKAGE}.{name}"))
        for name in MESSAGES
    }


def _add(message: Any, owner: str, name: str, number: int, kind: str) -> None:
    *how, held = kind.split()
    field = message.field.add(name=name, number=number, label=_Field.LABEL_OPTIONAL)
    if how == ["one"]:
        if not message.oneof_decl:
            message.oneof_decl.add(name="parameter_choice")
        field.oneof_index = 0
    if how == ["repeated"]:
        field.label = _Field.LABEL_REPEATED
    if how == ["map"]:
        entry = message.nested_type.add(name=f"{name.title()}Entry")
        entry.options.map_entry = True
        _add(entry, "", "key", 1, "string")
        _add(entry, "", "value", 2, held)
        field.label, held = _Field.LABEL_REPEATED, f"{owner}.{entry.name}"
    if held in _SCALARS:
        field.type = getattr(_Field, f"TYPE_{held.upper()}")
    else:
        field.type, field.type_name = _Field.TYPE_MESSAGE, f".{PACKAGE}.{held}"


CLASSES = _build()
