"""The Open Inference Protocol's bodies: JSON and raw bytes behind it, in and out, packed and not."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.app.http import bodies
from lossloop.app.http.bodies import unpacked
from lossloop.app.http.inference.door import failure
from lossloop.app.http.inference.reading import read_request
from lossloop.app.http.inference.writing import packed, write_reply
from lossloop.app.http.problems import Malformed
from lossloop.core.errors import (
    AccessError,
    Away,
    Conflict,
    InputError,
    LossloopError,
    Overloaded,
    TooLarge,
    UnknownName,
)
from lossloop.serve.inference import Reply, Request, Tensor, Wanted

NAMES = {"model": "m"}


def body(*inputs: dict[str, Any], raw: bytes = b"", **more: Any) -> tuple[dict[bytes, bytes], bytes]:
    """A request's headers and body; where there are raw bytes, the headers say where the JSON ends."""
    told = json.dumps({"inputs": list(inputs), **more}).encode()
    return ({b"inference-header-content-length": b"%d" % len(told)} if raw else {}), told + raw


def tensor(name: str = "a", **more: Any) -> dict[str, Any]:
    return {"name": name, "datatype": "FP64", "shape": [2], **more}


def test_json_becomes_a_request() -> None:
    headers, raw = body(
        tensor(data=[1, None]), tensor("b", shape=[2, 1], data=[[3], [4]]), id="r",
        parameters={"unit": "ada"}, outputs=[{"name": "role", "parameters": {"binary_data": True}}],
        model_name="passed over",
    )  # fmt: skip
    found = read_request({"model": "m", "version": "3"}, headers, raw)
    assert (found.model, found.version, found.id, found.parameters) == ("m", "3", "r", {"unit": "ada"})
    assert found.outputs == [Wanted(name="role", parameters={"binary_data": True})]
    assert [np.asarray(each.values).tolist()[0] for each in found.inputs] == [1.0, 3.0]
    assert found.inputs[1].shape == (2, 1)
    assert np.isnan(np.asarray(found.inputs[0].values)[1])


def test_raw_bytes_lie_behind_the_json_in_the_order_of_the_inputs() -> None:
    size: dict[str, Any] = {"parameters": {"binary_data_size": 16}}
    first, second = np.array([1.0, 2.0]), np.array([3.0, 4.0])
    headers, raw = body(
        tensor(**size), tensor("b", data=[5, 6]), tensor("c", **size), raw=first.tobytes() + second.tobytes()
    )
    found = read_request(NAMES, headers, raw)
    assert [np.asarray(each.values).tolist() for each in found.inputs] == [[1, 2], [5, 6], [3, 4]]


@pytest.mark.parametrize(
    ("inputs", "more", "words"),
    [
        ([tensor()], {}, "data is a list, not NoneType"),
        ([tensor(data=[1])], {}, "does not have the shape"),
        ([tensor(data=[1, 2], datatype="FLOAT")], {}, "datatype 'FLOAT'"),
        ([tensor(data=[1, 2], shape=[-1])], {}, "lengths from 0"),
        ([tensor(parameters={"binary_data_size": 16})], {}, "0 bytes are left"),
        ([tensor(parameters={"binary_data_size": -1})], {}, "binary_data_size is -1"),
        ([tensor(parameters={"binary_data_size": "16"})], {}, "binary_data_size is '16'"),
        ([tensor(parameters={"binary_data_size": 16})], {"raw": b"x" * 17}, "1 bytes behind the last tensor"),
        ([tensor(parameters={"binary_data_size": 8})], {"raw": b"x" * 8}, "16 bytes, not 8"),
        ([tensor(parameters={"binary_data_size": 16}, data=[1, 2])], {"raw": b"x" * 16}, "send one of them"),
        ([tensor(data=[1, 2])] * 4097, {}, "at most 4096 tensors"),
    ],
)
def test_bodies_that_do_not_add_up(inputs: list[dict[str, Any]], more: dict[str, Any], words: str) -> None:
    headers, raw = body(*inputs, **more)
    with pytest.raises(InputError, match=words):
        read_request(NAMES, headers, raw)


@pytest.mark.parametrize("length", [b"0", b"-1", b"x", b"", b"1000", b"9" * 40])
def test_the_length_of_the_json_lies_within_the_body(length: bytes) -> None:
    with pytest.raises(Malformed, match="must lie between 1 and"):
        read_request(NAMES, {b"inference-header-content-length": length}, b"{}")


@pytest.mark.parametrize(
    "raw", [b"", b"{", b"[]", b'{"inputs": {}}', b'{"inputs": [{}]}', b"\xff", b"[" * 5000]
)
def test_what_is_no_request_is_malformed(raw: bytes) -> None:
    with pytest.raises(Malformed):
        read_request(NAMES, {}, raw)


@given(st.binary(max_size=60), st.integers(0, 70))
def test_any_bytes_are_a_request_or_a_clear_error(raw: bytes, length: int) -> None:
    for headers in ({}, {b"inference-header-content-length": b"%d" % length}):
        with pytest.raises(InputError):
            read_request(NAMES, headers, raw)


def reply(*outputs: Tensor, id: str = "", **parameters: str) -> Reply:
    told = {"prediction_id": "r", "version": "1", "role": "champion", **parameters}
    return Reply(model="m", version="1", id=id, parameters=told, outputs=outputs)


def output(binary: bool | None = None) -> Tensor:
    parameters = {} if binary is None else {"binary_data": binary}
    return Tensor(
        name="y_pred", datatype="FP64", shape=(2,), values=np.array([0.5, 2.0]), parameters=parameters
    )


@pytest.mark.parametrize(
    ("own", "for_all", "binary"),
    [(None, None, False), (True, None, True), (None, True, True), (False, True, False), (True, False, True)],
)
def test_outputs_are_raw_where_that_is_asked_for(
    own: bool | None, for_all: bool | None, binary: bool
) -> None:
    request = Request(model="m", parameters={} if for_all is None else {"binary_data_output": for_all})
    made, headers = write_reply(request, reply(output(own)))
    told = dict(headers)
    length = told.get(b"inference-header-content-length")
    assert (length is not None) is binary
    answer = json.loads(made[: int(length)] if length else made)
    assert "id" not in answer
    assert (answer["model_name"], answer["model_version"]) == ("m", "1")
    (found,) = answer["outputs"]
    if binary:
        assert told[b"content-type"] == b"application/octet-stream"
        assert found["parameters"] == {"binary_data_size": 16}
        assert np.frombuffer(made[int(length or 0) :]).tolist() == [0.5, 2.0]
    else:
        assert told[b"content-type"] == b"application/json"
        assert found["data"] == [0.5, 2.0]


def test_ids_go_into_headers_as_headers_can_hold_them() -> None:
    _, headers = write_reply(Request(model="m"), reply(output(), prediction_id="a/0 é\r\nx: y"))
    assert dict(headers)[b"lossloop-prediction-id"] == b"a/0%20%C3%A9%0D%0Ax:%20y"
    assert dict(headers)[b"lossloop-role"] == b"champion"


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [
        (b"gzip", b"gzip"),
        (b"deflate", b"deflate"),
        (b"deflate, gzip;q=0.5", b"gzip"),
        (b"GZIP", b"gzip"),
        (b"gzip;q=0, deflate;q=0.1", b"deflate"),
        (b"gzip; q=0.0", None),
        (b"br", None),
        (b"", None),
        (b"\xff", None),
    ],
)
def test_answers_are_packed_as_their_receiver_takes_them(accepted: bytes, encoding: bytes | None) -> None:
    plain = b"lossloop" * 1000
    made, headers = packed(plain, accepted)
    assert dict(headers).get(b"content-encoding") == encoding
    read: dict[bytes | None, Callable[[bytes], bytes]] = {
        b"gzip": gzip.decompress,
        b"deflate": zlib.decompress,
    }
    assert read.get(encoding, bytes)(made) == plain
    assert packed(b"short", accepted) == (b"short", [])


def test_deflate_comes_in_zlibs_format_or_bare(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = b'{"inputs": []}' * 50
    for level in (0, 1, 6, 9):
        bare = zlib.compressobj(level, wbits=-zlib.MAX_WBITS)
        for raw in (zlib.compress(plain, level), bare.compress(plain) + bare.flush()):
            assert unpacked(raw, b"deflate") == plain
    for raw in (b"", b"{}", zlib.compress(plain)[:-5]):
        with pytest.raises(Malformed, match="not deflate"):
            unpacked(raw, b"deflate")
    monkeypatch.setattr(bodies, "MOST_BYTES", 100)
    with pytest.raises(TooLarge):
        unpacked(zlib.compress(plain), b"deflate")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (InputError("x"), 400),
        (InputError("x", row=3), 400),
        (Malformed("x"), 400),
        (UnknownName("model", "x", []), 404),
        (Conflict("x"), 409),
        (TooLarge("x"), 413),
        (AccessError("x"), 401),
        (Overloaded("x"), 429),
        (Away("x"), 503),
        (LossloopError("x"), 400),
    ],
)
def test_every_failure_has_its_status_and_says_error(error: LossloopError, status: int) -> None:
    told = failure(error)
    assert told.status == status
    assert list(json.loads(told.body)) == ["error"]
    assert (b"retry-after" in dict(told.headers)) is (status in (429, 503))


def test_the_row_is_said() -> None:
    assert json.loads(failure(InputError("bad", row=3)).body) == {"error": "row 3: bad"}
