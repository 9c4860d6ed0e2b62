"""Messages on their way in and out, and those of other people's specifications."""

from __future__ import annotations

import contextlib
import json
import subprocess
from typing import Any

import numpy as np
import pytest
from google.protobuf import descriptor_pool
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from lossloop.app.grpc.calls import CALLS
from lossloop.app.grpc.converting import (
    read_request,
    repository_request,
    write_metadata,
    write_reply,
)
from lossloop.app.grpc.messages import CLASSES, MESSAGES
from lossloop.core.errors import InputError
from lossloop.serve.inference import ModelMetadata, Reply, Tensor, Wanted
from lossloop.serve.inference.describing import TensorShape
from tests.serving_clients.place import program

TELL = """
import importlib, json, sys
file = importlib.import_module(sys.argv[1]).DESCRIPTOR
def fields(message):
    inner = {f"{message.name}.{name}": value for each in message.nested_types
             if not each.GetOptions().map_entry for name, value in [(each.name, numbers(each))]}
    return {message.name: numbers(message), **inner}
def numbers(message):
    return {field.name: [field.number, field.type] for field in message.fields}
print(json.dumps({k: v for m in file.message_types_by_name.values() for k, v in fields(m).items()}))
"""


def asked(**more: Any) -> Any:
    return CLASSES["ModelInferRequest"](model_name="m", **more)


def typed(name: str, datatype: str, shape: list[int], **contents: Any) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape, "contents": contents}


def raw(name: str, datatype: str, shape: list[int]) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape}


@pytest.mark.parametrize(
    "module", ["tritonclient.grpc.service_pb2", "kserve.protocol.grpc.grpc_predict_v2_pb2"]
)
def test_fields_are_those_of_the_specification(module: str) -> None:
    """KServe's repository calls have other numbers than Triton's; ours are Triton's, and read both."""
    told = subprocess.run([program("python"), "-c", TELL, module], capture_output=True, text=True, check=True)
    theirs = json.loads(told.stdout.splitlines()[-1])
    differing = {
        name
        for name, fields in theirs.items()
        if name in MESSAGES and not fields.items() <= _numbers(CLASSES[name]).items()
    }
    forms = {"RepositoryModelLoadRequest", "RepositoryModelUnloadRequest"}
    assert differing == (set() if module.startswith("triton") else forms)


def _numbers(message: Any) -> dict[str, list[int]]:
    return {field.name: [field.number, field.type] for field in message.DESCRIPTOR.fields}


def test_every_call_has_its_messages_and_none_meets_another_library() -> None:
    for name in CALLS:
        assert {f"{name}Request", f"{name}Response"} <= set(CLASSES)
    with pytest.raises(KeyError):
        descriptor_pool.Default().FindMessageTypeByName("inference.ModelInferRequest")


def test_a_request_with_typed_contents() -> None:
    message = asked(
        model_version="3", id="r",
        inputs=[
            typed("a", "INT8", [2], int_contents=[1, -2]),
            typed("b", "BYTES", [1], bytes_contents=["é".encode()]),
            typed("c", "FP32", [1, 1], fp32_contents=[0.5]),
            typed("d", "BOOL", [1], bool_contents=[True]),
        ],
        outputs=[{"name": "role"}],
        parameters={"unit": {"string_param": "ada"}, "n": {"int64_param": 3}, "none": {}},
    )  # fmt: skip
    found = read_request(message)
    assert (found.model, found.version, found.id) == ("m", "3", "r")
    assert found.parameters == {"unit": "ada", "n": 3}
    assert found.outputs == [Wanted(name="role")]
    a, b, c, d = found.inputs
    assert (np.asarray(a.values).tolist(), a.shape) == ([1, -2], (2,))
    assert b.values == ["é"]
    assert np.asarray(c.values).dtype == np.float32
    assert c.shape == (1, 1)
    assert np.asarray(d.values).tolist() == [True]


def test_a_request_with_raw_contents() -> None:
    message = asked(
        inputs=[raw("a", "FP64", [2]), raw("b", "BYTES", [1])],
        raw_input_contents=[np.array([1.0, 2.0]).tobytes(), b"\x01\x00\x00\x00x"],
    )
    first, second = read_request(message).inputs
    assert np.asarray(first.values).tolist() == [1.0, 2.0]
    assert second.values == ["x"]


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"inputs": [raw("a", "FP64", [2])], "raw_input_contents": [b"x"]}, "16 bytes, not 1"),
        (
            {"inputs": [raw("a", "FP64", [1])], "raw_input_contents": [b"", b""]},
            "2 raw_input_contents for 1 inputs",
        ),
        (
            {"inputs": [typed("a", "FP64", [1], fp64_contents=[1])], "raw_input_contents": [b"x" * 8]},
            "send one of them",
        ),
        ({"inputs": [typed("a", "FP64", [2], fp64_contents=[1])]}, "says 2 values, there are 1"),
        ({"inputs": [raw("a", "FP64", [1])]}, "says 1 values, there are 0"),
        (
            {"inputs": [typed("a", "FP64", [1], fp32_contents=[1])]},
            "lie in fp64_contents, not in fp32_contents",
        ),
        ({"inputs": [typed("a", "UINT8", [1], uint_contents=[256])]}, "beyond UINT8"),
        ({"inputs": [typed("a", "FP16", [1], fp32_contents=[1])]}, "FP16 has no typed contents"),
        ({"inputs": [typed("a", "BYTES", [1], bytes_contents=[b"\xff"])]}, "not UTF-8"),
        ({"inputs": [typed("a", "DECIMAL", [1])]}, "datatype 'DECIMAL'"),
        ({"inputs": [raw("a", "FP64", [])]}, "lengths from 0"),
        ({"inputs": [raw("a", "FP64", [1])] * 4097}, "at most 4096 tensors"),
    ],
)
def test_requests_that_do_not_add_up(more: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        read_request(asked(**more))


@given(st.binary(max_size=80))
def test_any_bytes_are_a_message_and_a_request_or_a_clear_error(data: bytes) -> None:
    with contextlib.suppress(DecodeError, InputError):
        assert read_request(CLASSES["ModelInferRequest"].FromString(data)).outputs is not None


REPLY = Reply(
    model="m", version="1", id="r", parameters={"prediction_id": "r", "version": "1"},
    outputs=[
        Tensor(name="y_pred", datatype="FP64", shape=(2,), values=np.array([0.5, 1.0])),
        Tensor(name="role", datatype="BYTES", shape=(2,), values=["champion", None]),
        Tensor(name="version", datatype="INT64", shape=(2,), values=np.array([1, 2])),
    ],
)  # fmt: skip


def test_a_reply_is_typed_or_raw() -> None:
    message = write_reply(REPLY, raw=False)
    assert (message.model_name, message.model_version, message.id) == ("m", "1", "r")
    assert message.parameters["prediction_id"].string_param == "r"
    assert [each.name for each in message.outputs] == ["y_pred", "role", "version"]
    assert list(message.outputs[0].contents.fp64_contents) == [0.5, 1.0]
    assert list(message.outputs[1].contents.bytes_contents) == [b"champion", b""]
    assert list(message.outputs[2].contents.int64_contents) == [1, 2]
    assert not message.raw_output_contents
    packed = write_reply(REPLY, raw=True)
    assert [len(each) for each in packed.raw_output_contents] == [16, 16, 16]
    assert not any(each.HasField("contents") for each in packed.outputs)


def test_a_model_is_described() -> None:
    shape = TensorShape(name="x", datatype="FP64", shape=(-1,))
    told = ModelMetadata(name="m", versions=("1", "2"), platform="p", inputs=(shape,), outputs=(shape, shape))
    message = write_metadata(told)
    assert (message.name, list(message.versions), message.platform) == ("m", ["1", "2"], "p")
    assert [list(each.shape) for each in message.outputs] == [[-1], [-1]]
    assert message.inputs[0].datatype == "FP64"


def test_a_repository_call_names_its_model_in_either_form() -> None:
    kind = CLASSES["RepositoryModelLoadRequest"]
    assert repository_request(kind(model_name="m", repository_name="r")) == ("m", {})
    assert repository_request(kind(repository_name="m")) == ("m", {})
    told = kind(model_name="m", parameters={"version": {"string_param": "2"}})
    assert repository_request(told) == ("m", {"version": "2"})
