"""What Triton's own clients see, over HTTP and gRPC. Run by the Python of the environment apart.

Argument: where the server is, as JSON. Output: what each case said, as JSON; nothing where it passed.
"""

from __future__ import annotations

import gzip
import importlib
import json
import sys
import traceback
import urllib.error
import urllib.request
from typing import Any

import numpy as np

http: Any = importlib.import_module("tritonclient.http")
grpc: Any = importlib.import_module("tritonclient.grpc")
failure: Any = importlib.import_module("tritonclient.utils").InferenceServerException
Array = Any

WHERE = json.loads(sys.argv[1])
HEADERS = {"Authorization": f"Bearer {WHERE['token']}"}
METADATA = {"authorization": f"Bearer {WHERE['token']}"}
rest = http.InferenceServerClient(WHERE["rest"].removeprefix("http://"))
rpc = grpc.InferenceServerClient(WHERE["grpc"])


def given(kind: Any, name: str, values: Any, datatype: str, **how: Any) -> Any:
    """An input of either client."""
    array = np.asarray(values, dtype=object if datatype == "BYTES" else None)
    found = kind.InferInput(name, list(array.shape), datatype)
    found.set_data_from_numpy(array, **how)
    return found


def numbers(kind: Any, a: Any, b: Any, dtype: Any = np.float64, name: str = "FP64", **how: Any) -> list[Any]:
    """The two features of the model `table`."""
    dtype = importlib.import_module("ml_dtypes").bfloat16 if name == "BF16" else dtype
    return [given(kind, key, np.asarray(each, dtype), name, **how) for key, each in (("a", a), ("b", b))]


def over_rest(inputs: Any, model: str = "table", **more: Any) -> Any:
    """An answer over HTTP."""
    return rest.infer(model, inputs, headers=dict(HEADERS), **more)  # the client adds to them


def over_grpc(inputs: Any, model: str = "table", **more: Any) -> Any:
    """An answer over gRPC."""
    return rpc.infer(model, inputs, headers=METADATA, **more)


def same(found: Array, wanted: Any) -> None:
    """Held: an array is what it should be."""
    assert found is not None, "no such output"
    assert np.allclose(found, wanted), (found, wanted)


def fails(wanted: str, ask: Any, words: str = "") -> None:
    """Held: a call fails with this status."""
    told = None
    try:
        ask()
    except failure as error:
        told = error
    assert told is not None, "it did not fail"
    assert wanted in str(told.status()), told
    assert words in str(told), told


def raw(path: str, body: bytes, **headers: str) -> tuple[int, Any, Any]:
    """A request as one would write it by hand: status, body and headers."""
    sent = {**HEADERS, **{name.replace("_", "-"): value for name, value in headers.items()}}
    request = urllib.request.Request(WHERE["rest"] + path, data=body, headers=sent, method="POST")
    if "Content-Type" not in sent:
        request.add_header("Content-Type", "")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.loads(answer.read()), answer.headers
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read()), error.headers


def case_http_server_is_live_and_ready_without_a_token() -> None:
    assert rest.is_server_live()
    assert rest.is_server_ready()


def case_http_server_metadata() -> None:
    found = rest.get_server_metadata(headers=HEADERS)
    assert found["name"] == "lossloop"
    assert "binary_tensor_data" in found["extensions"]


def case_http_model_metadata_and_of_a_version() -> None:
    found = rest.get_model_metadata("mixed", headers=HEADERS)
    assert [each["datatype"] for each in found["inputs"]] == ["FP64", "FP64", "BYTES"]
    assert found["outputs"][0] == {"name": "y_pred", "datatype": "FP64", "shape": [-1]}
    assert rest.get_model_metadata("mixed", "1", headers=HEADERS) == found


def case_http_model_is_ready_and_of_a_version() -> None:
    assert rest.is_model_ready("table", headers=HEADERS)
    assert rest.is_model_ready("table", "1", headers=HEADERS)
    assert not rest.is_model_ready("table", "9", headers=HEADERS)
    assert not rest.is_model_ready("nobody", headers=HEADERS)


def case_http_binary_in_and_out() -> None:
    found = over_rest(numbers(http, [1.0, 2.0], [3.0, 4.0]))
    same(found.as_numpy("y_pred"), [31, 42])
    assert "binary_data_size" in found.get_output("y_pred")["parameters"]


def case_http_json_in_and_out() -> None:
    outputs = [http.InferRequestedOutput("y_pred", binary_data=False)]
    found = over_rest(numbers(http, [1.0, 2.0], [3.0, 4.0], binary_data=False), outputs=outputs)
    same(found.as_numpy("y_pred"), [31, 42])
    assert found.get_output("y_pred")["data"] == [31.0, 42.0]


def case_http_binary_in_json_out_and_the_other_way() -> None:
    outputs = [http.InferRequestedOutput("y_pred", binary_data=False)]
    same(over_rest(numbers(http, [1.0], [3.0]), outputs=outputs).as_numpy("y_pred"), [31])
    outputs = [http.InferRequestedOutput("y_pred", binary_data=True)]
    found = over_rest(numbers(http, [1.0], [3.0], binary_data=False), outputs=outputs)
    same(found.as_numpy("y_pred"), [31])


def case_http_one_tensor_of_all_features_under_any_name() -> None:
    table = given(http, "whatever", np.array([[1.0, 3.0], [2.0, 4.0]], np.float32), "FP32")
    same(over_rest([table]).as_numpy("y_pred"), [31, 42])


def case_http_features_of_shape_n_1() -> None:
    same(over_rest(numbers(http, [[1.0], [2.0]], [[3.0], [4.0]])).as_numpy("y_pred"), [31, 42])


def case_http_every_datatype_of_numbers() -> None:
    kinds = {
        "BOOL": np.bool_, "UINT8": np.uint8, "UINT16": np.uint16, "UINT32": np.uint32, "UINT64": np.uint64,
        "INT8": np.int8, "INT16": np.int16, "INT32": np.int32, "INT64": np.int64,
        "FP16": np.float16, "FP32": np.float32, "FP64": np.float64,
    }  # fmt: skip
    for name, dtype in kinds.items():
        same(over_rest(numbers(http, [1], [0], dtype, name)).as_numpy("y_pred"), [1])
        if name != "FP16":  # the client refuses it as JSON
            found = over_rest(numbers(http, [1], [0], dtype, name, binary_data=False))
            same(found.as_numpy("y_pred"), [1])


def case_http_bf16() -> None:
    same(over_rest(numbers(http, [1.5], [0], np.float32, "BF16")).as_numpy("y_pred"), [1.5])


def case_http_texts_and_missing_values() -> None:
    x = given(http, "x", np.array([1.0, 1.0]), "FP64")
    y = given(http, "y", np.array([2.0, np.nan]), "FP64")
    for how in (True, False):
        colour = given(http, "colour", ["red", "grün"], "BYTES", binary_data=how)
        same(over_rest([x, y, colour], "mixed").as_numpy("y_pred"), [13, 2])
    same(over_rest([x], "mixed").as_numpy("y_pred"), [2.5, 2.5])


def case_http_named_outputs() -> None:
    names = ("prediction_id", "version", "role", "action")
    for binary in (True, False):
        outputs = [http.InferRequestedOutput(name, binary_data=binary) for name in names]
        found = over_rest(
            numbers(http, [1.0, 2.0], [3.0, 4.0]), outputs=outputs, request_id=f"named-{binary}"
        )
        ids = [str(each, "utf-8") if binary else each for each in found.as_numpy("prediction_id").tolist()]
        assert ids == [f"named-{binary}/0", f"named-{binary}/1"], ids
        assert found.as_numpy("version").tolist() == [1, 1]
        assert found.as_numpy("y_pred") is None


def case_http_a_request_id_is_echoed_and_names_the_prediction() -> None:
    found = over_rest(numbers(http, [1.0], [3.0]), request_id="once")
    response = found.get_response()
    assert response["id"] == "once"
    assert response["parameters"] == {"prediction_id": "once", "version": "1", "role": "champion"}
    again = over_rest(numbers(http, [1.0], [3.0]), request_id="once")
    same(again.as_numpy("y_pred"), [31])
    fails("409", lambda: over_rest(numbers(http, [2.0], [3.0]), request_id="once"), "once")


def case_http_parameters_carry_unit_and_time() -> None:
    told = {"unit": "ada", "time": "2024-01-01T00:00:00Z", "prediction_id": "parameters"}
    found = over_rest(numbers(http, [1.0], [3.0]), parameters=told)
    assert found.get_response()["parameters"]["prediction_id"] == "parameters"


def case_http_tensors_carry_units_of_many_rows() -> None:
    units = given(http, "unit", ["ada", "bob"], "BYTES")
    ids = given(http, "prediction_id", ["of-ada", "of-bob"], "BYTES")
    outputs = [http.InferRequestedOutput("prediction_id", binary_data=False)]
    found = over_rest([*numbers(http, [1.0, 2.0], [3.0, 4.0]), units, ids], outputs=outputs)
    assert found.as_numpy("prediction_id").tolist() == ["of-ada", "of-bob"]


def case_http_class_probabilities_are_a_table() -> None:
    x, y = (given(http, name, np.array([1.0, 2.0, 3.0]), "FP64") for name in "xy")
    found = over_rest([x, y], "classes").as_numpy("y_pred")
    assert found.shape == (3, 3)
    same(found.sum(axis=1), [1, 1, 1])


def case_http_compressed_requests() -> None:
    for how in ("gzip", "deflate"):
        found = over_rest(numbers(http, [1.0], [3.0]), request_compression_algorithm=how)
        same(found.as_numpy("y_pred"), [31])


def case_http_compressed_answers() -> None:
    many = np.arange(500, dtype=np.float64)
    for how in ("gzip", "deflate"):
        found = over_rest(numbers(http, many, many), response_compression_algorithm=how)
        same(found.as_numpy("y_pred"), many * 11)


def case_http_a_version_in_the_path() -> None:
    same(over_rest(numbers(http, [1.0], [3.0]), model_version="1").as_numpy("y_pred"), [31])
    fails("404", lambda: over_rest(numbers(http, [1.0], [3.0]), model_version="9"), "version")


def case_http_unknown_model() -> None:
    fails("404", lambda: over_rest(numbers(http, [1.0], [3.0]), "nobody"), "unknown model")


def case_http_what_cannot_be_taken() -> None:
    good = numbers(http, [1.0], [3.0])
    fails("400", lambda: over_rest(good[:1]), "'b' is missing")
    fails("400", lambda: over_rest([*good, given(http, "c", np.array([1.0]), "FP64")]), "unknown input")
    fails("400", lambda: over_rest(numbers(http, [1.0, 2.0], [3.0])[:2]), "different numbers of rows")
    fails("400", lambda: over_rest([good[0], given(http, "b", ["one"], "BYTES")]), "FP64, not BYTES")
    fails("400", lambda: over_rest(numbers(http, [1.0], [np.inf])), "finite")
    fails("400", lambda: over_rest(good, outputs=[http.InferRequestedOutput("scores")]), "unknown output")


def case_http_no_token() -> None:
    fails("401", lambda: rest.infer("table", numbers(http, [1.0], [3.0])), "token")


def case_http_by_hand_nested_without_content_type() -> None:
    nested = {"inputs": [{"name": "all", "shape": [2, 2], "datatype": "INT64", "data": [[1, 3], [2, 4]]}]}
    status, body, headers = raw("/v2/models/table/infer", json.dumps(nested).encode())
    assert (status, body["outputs"][0]["data"]) == (200, [31.0, 42.0]), body
    assert "id" not in body
    base = body["parameters"]["prediction_id"]
    assert (headers["Lossloop-Prediction-Id"], headers["Lossloop-Version"]) == (base, "1")
    assert headers["Lossloop-Role"] == "champion"


def case_http_by_hand_gzip_with_the_length_of_the_plain_json() -> None:
    inputs = [
        {"name": "a", "shape": [1], "datatype": "FP64", "parameters": {"binary_data_size": 8}},
        {"name": "b", "shape": [1], "datatype": "FP64", "data": [3.0]},
    ]
    told = json.dumps({"inputs": inputs}).encode()
    body = gzip.compress(told + np.array([1.0]).tobytes())
    status, answer, _ = raw(
        "/v2/models/table/infer",
        body,
        Content_Encoding="gzip",
        Inference_Header_Content_Length=str(len(told)),
    )
    assert (status, answer["outputs"][0]["data"]) == (200, [31.0]), answer


def case_http_by_hand_every_failure_is_an_error_in_json() -> None:
    for path, body, status in (
        ("/v2/models/table/infer", b"{", 400),
        ("/v2/models/table/infer", b'{"inputs": 1}', 400),
        (
            "/v2/models/table/infer",
            b'{"inputs": [{"name": "a", "shape": [1], "datatype": "X", "data": [1]}]}',
            400,
        ),
        ("/v2/models/nobody/infer", b'{"inputs": []}', 404),
        ("/v2/models/table/versions/one/infer", b'{"inputs": []}', 404),
        ("/v2/nothing", b"", 404),
        ("/v2/models/table", b"", 405),
    ):
        found, answer, _ = raw(path, body)
        assert found == status, (path, found, answer)
        assert list(answer) == ["error"], answer


def case_http_repository() -> None:
    index = rest.get_model_repository_index(headers=HEADERS)
    states = {(each["name"], each["version"]): each["state"] for each in index}
    assert states["table", "1"] == "READY"
    assert states["mixed", "1"] == "READY"
    rest.load_model("mixed", headers=HEADERS)
    fails("409", lambda: rest.unload_model("mixed", headers=HEADERS), "traffic")
    fails("404", lambda: rest.load_model("nobody", headers=HEADERS), "unknown model")
    fails("400", lambda: rest.load_model("mixed", headers=HEADERS, config="{}"), "lossloop register")


def case_http_a_version_is_loaded_aside_and_unloaded() -> None:
    def state() -> str:
        index = rest.get_model_repository_index(headers=HEADERS)
        return next(str(each["state"]) for each in index if (each["name"], each["version"]) == ("table", "2"))

    told = json.dumps({"parameters": {"version": "2"}}).encode()
    assert state() == "UNAVAILABLE"
    assert raw("/v2/repository/models/table/load", told)[0] == 200
    assert state() == "READY"
    assert rest.is_model_ready("table", "2", headers=HEADERS)
    for found in (
        over_rest(numbers(http, [1.0], [3.0]), model_version="2"),
        over_grpc(numbers(grpc, [1.0], [3.0]), model_version="2"),
    ):
        same(found.as_numpy("y_pred"), [1031])
    assert over_rest(numbers(http, [1.0], [3.0])).get_response()["model_version"] == "1"
    assert raw("/v2/repository/models/table/unload", told)[0] == 200
    assert state() == "UNAVAILABLE"


def case_grpc_server_is_live_and_ready_without_a_token() -> None:
    assert rpc.is_server_live()
    assert rpc.is_server_ready()


def case_grpc_server_metadata() -> None:
    found = rpc.get_server_metadata(headers=METADATA)
    assert (found.name, next(iter(found.extensions))) == ("lossloop", "binary_tensor_data")


def case_grpc_model_metadata() -> None:
    found = rpc.get_model_metadata("mixed", headers=METADATA)
    assert [each.datatype for each in found.inputs] == ["FP64", "FP64", "BYTES"]
    assert [each.name for each in found.outputs][:2] == ["y_pred", "version"]
    assert list(found.versions) == ["1"]


def case_grpc_model_is_ready() -> None:
    assert rpc.is_model_ready("table", headers=METADATA)
    assert rpc.is_model_ready("table", "1", headers=METADATA)
    fails("NOT_FOUND", lambda: rpc.is_model_ready("nobody", headers=METADATA))


def case_grpc_infer_raw() -> None:
    found = over_grpc(numbers(grpc, [1.0, 2.0], [3.0, 4.0]), request_id="rpc")
    same(found.as_numpy("y_pred"), [31, 42])
    response = found.get_response()
    assert response.id == "rpc"
    assert response.raw_output_contents
    assert response.parameters["prediction_id"].string_param == "rpc"
    assert response.parameters["role"].string_param == "champion"


def case_grpc_every_datatype_of_numbers() -> None:
    for name, dtype in (
        ("BOOL", np.bool_), ("UINT8", np.uint8), ("UINT64", np.uint64), ("INT8", np.int8),
        ("INT32", np.int32), ("INT64", np.int64), ("FP16", np.float16), ("FP32", np.float32),
        ("FP64", np.float64), ("BF16", np.float32),
    ):  # fmt: skip
        same(over_grpc(numbers(grpc, [1], [0], dtype, name)).as_numpy("y_pred"), [1])


def case_grpc_texts_and_named_outputs() -> None:
    x, y = (given(grpc, name, np.array([1.0, 1.0]), "FP64") for name in "xy")
    inputs = [x, y, given(grpc, "colour", ["red", "blue"], "BYTES")]
    outputs = [grpc.InferRequestedOutput(name) for name in ("y_pred", "role", "prediction_id")]
    found = over_grpc(inputs, "mixed", outputs=outputs, request_id="texts")
    same(found.as_numpy("y_pred"), [12, 2])
    assert found.as_numpy("prediction_id").tolist() == [b"texts/0", b"texts/1"]
    assert found.as_numpy("role").tolist() == [b"champion", b"champion"]


def case_grpc_a_version_is_asked_for() -> None:
    same(over_grpc(numbers(grpc, [1.0], [3.0]), model_version="1").as_numpy("y_pred"), [31])
    fails("NOT_FOUND", lambda: over_grpc(numbers(grpc, [1.0], [3.0]), model_version="9"))


def case_grpc_what_cannot_be_taken() -> None:
    good = numbers(grpc, [1.0], [3.0])
    fails("NOT_FOUND", lambda: over_grpc(good, "nobody"))
    fails("INVALID_ARGUMENT", lambda: over_grpc(good[:1]), "'b' is missing")
    fails("INVALID_ARGUMENT", lambda: over_grpc([good[0], given(grpc, "b", ["one"], "BYTES")]))
    fails("INVALID_ARGUMENT", lambda: over_grpc(good, outputs=[grpc.InferRequestedOutput("scores")]))
    fails(
        "FAILED_PRECONDITION",
        lambda: [over_grpc(numbers(grpc, [n], [0.0]), request_id="two") for n in (1.0, 2.0)],
    )


def case_grpc_no_token() -> None:
    fails("UNAUTHENTICATED", lambda: rpc.infer("table", numbers(grpc, [1.0], [3.0])), "token")


def case_grpc_compressed() -> None:
    for how in ("gzip", "deflate"):
        same(over_grpc(numbers(grpc, [1.0], [3.0]), compression_algorithm=how).as_numpy("y_pred"), [31])


def case_grpc_repository() -> None:
    index = rpc.get_model_repository_index(headers=METADATA)
    assert ("mixed", "1", "READY") in [(each.name, each.version, each.state) for each in index.models]
    rpc.load_model("mixed", headers=METADATA)
    fails("FAILED_PRECONDITION", lambda: rpc.unload_model("mixed", headers=METADATA), "traffic")


def said(case: Any) -> str:
    """What a case said, nothing where it passed."""
    try:
        case()
    except Exception:  # noqa: BLE001 - whatever a case raises is told
        return traceback.format_exc()
    return ""


if __name__ == "__main__":
    print(
        json.dumps({name: said(case) for name, case in list(globals().items()) if name.startswith("case_")})
    )
