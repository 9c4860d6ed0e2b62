"""What KServe's own clients see, over REST and gRPC. Run by the Python of the environment apart.

Argument: where the server is, as JSON. Output: what each case said, as JSON; nothing where it passed.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import logging
import sys
import traceback
from typing import Any

import numpy as np

kserve: Any = importlib.import_module("kserve")
clients: Any = importlib.import_module("kserve.inference_client")
messages: Any = importlib.import_module("kserve.protocol.grpc.grpc_predict_v2_pb2")

WHERE = json.loads(sys.argv[1])
HEADERS = {"Authorization": f"Bearer {WHERE['token']}"}
METADATA = (("authorization", f"Bearer {WHERE['token']}"),)


def request(model: str, values: dict[str, Any], *, binary: bool = False, **more: Any) -> Any:
    """A request with an input for each feature."""
    inputs = []
    for name, (datatype, data) in values.items():
        array = np.array(data, dtype=object if datatype == "BYTES" else None)
        tensor = kserve.InferInput(name, list(array.shape), datatype)
        tensor.set_data_from_numpy(array, binary_data=binary)
        inputs.append(tensor)
    return kserve.InferRequest(model_name=model, infer_inputs=inputs, **more)


TABLE = {"a": ("FP64", [1.0, 2.0]), "b": ("FP64", [3.0, 4.0])}
MIXED = {"x": ("FP64", [1.0]), "y": ("FP64", [1.0]), "colour": ("BYTES", ["red"])}


def predicted(answer: Any) -> list[float]:
    """The predictions in an answer."""
    found: list[float] = next(each for each in answer.outputs if each.name == "y_pred").as_numpy().tolist()
    return found


async def said_by(call: Any) -> str:
    """What a call says that fails."""
    try:
        await call
    except Exception as error:  # noqa: BLE001 - each client raises what its library does
        return str(error)
    return "it did not fail"


async def case_rest_live_and_ready(rest: Any, rpc: Any) -> None:
    assert await rest.is_server_live(WHERE["rest"])
    assert await rest.is_server_ready(WHERE["rest"])


async def case_rest_model_is_ready(rest: Any, rpc: Any) -> None:
    assert await rest.is_model_ready(WHERE["rest"], "table", headers=HEADERS)


async def case_rest_infer_json(rest: Any, rpc: Any) -> None:
    answer = await rest.infer(
        WHERE["rest"], request("table", TABLE, request_id="kserve"), "table", headers=HEADERS
    )
    assert predicted(answer) == [31.0, 42.0]
    assert (answer.id, answer.parameters["prediction_id"]) == ("kserve", "kserve")


async def case_rest_infer_binary(rest: Any, rpc: Any) -> None:
    asked = request("table", TABLE, binary=True, parameters={"binary_data_output": True})
    answer = await rest.infer(WHERE["rest"], asked, "table", headers=dict(HEADERS))
    assert predicted(answer) == [31.0, 42.0]


async def case_rest_texts(rest: Any, rpc: Any) -> None:
    for binary in (True, False):
        asked = request("mixed", MIXED, binary=binary)
        assert predicted(await rest.infer(WHERE["rest"], asked, "mixed", headers=dict(HEADERS))) == [12.0]


async def case_rest_named_outputs(rest: Any, rpc: Any) -> None:
    asked = request("table", TABLE, request_id="outputs")
    asked.request_outputs = (
        [clients.RequestedOutput("prediction_id")] if hasattr(clients, "RequestedOutput") else []
    )
    told = {**asked.to_rest()[0], "outputs": [{"name": "prediction_id"}]}
    answer = await rest.infer(WHERE["rest"], told, "table", headers=HEADERS)
    assert answer.outputs[0].data == ["outputs/0", "outputs/1"]


async def case_rest_failures(rest: Any, rpc: Any) -> None:
    for model, values, status in (("nobody", TABLE, 404), ("table", MIXED, 400)):
        told = await said_by(rest.infer(WHERE["rest"], request(model, values), model, headers=HEADERS))
        assert str(status) in told, told


async def case_grpc_live_and_ready(rest: Any, rpc: Any) -> None:
    assert await rpc.is_server_live(headers=METADATA)
    assert await rpc.is_server_ready(headers=METADATA)
    assert await rpc.is_model_ready("table", headers=METADATA)


async def case_grpc_infer_typed(rest: Any, rpc: Any) -> None:
    answer = await rpc.infer(request("table", TABLE, request_id="typed"), headers=METADATA)
    assert predicted(answer) == [31.0, 42.0]
    assert answer.id == "typed"


async def case_grpc_infer_raw(rest: Any, rpc: Any) -> None:
    answer = await rpc.infer(request("table", TABLE, binary=True), headers=METADATA)
    assert predicted(answer) == [31.0, 42.0]


async def case_grpc_every_typed_datatype(rest: Any, rpc: Any) -> None:
    kinds = ("BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP32", "FP64")
    for datatype in kinds:
        dtype = {"BOOL": "bool", "FP32": "float32", "FP64": "float64"}.get(datatype, datatype.lower())
        values = {name: (datatype, np.array([one], dtype)) for name, one in (("a", 1), ("b", 0))}
        assert predicted(await rpc.infer(request("table", values), headers=METADATA)) == [1.0], datatype


async def case_grpc_texts_typed_and_raw(rest: Any, rpc: Any) -> None:
    for binary in (True, False):
        assert predicted(await rpc.infer(request("mixed", MIXED, binary=binary), headers=METADATA)) == [12.0]


async def case_grpc_failures(rest: Any, rpc: Any) -> None:
    for model, values, metadata, code in (
        ("nobody", TABLE, METADATA, "NOT_FOUND"),
        ("table", MIXED, METADATA, "INVALID_ARGUMENT"),
        ("table", TABLE, (), "UNAUTHENTICATED"),
    ):
        told = await said_by(rpc.infer(request(model, values), headers=metadata))
        assert code in told, told


async def case_grpc_load_in_the_form_of_kserve(rest: Any, rpc: Any) -> None:
    call = rpc._client_stub.RepositoryModelLoad  # the client has no method for it
    answer = await call(messages.RepositoryModelLoadRequest(model_name="table"), metadata=METADATA)
    assert (answer.model_name, answer.isLoaded) == ("table", True)


async def said(case: Any, rest: Any, rpc: Any) -> str:
    """What a case said, nothing where it passed."""
    try:
        await case(rest, rpc)
    except Exception:  # noqa: BLE001 - whatever a case raises is told
        return traceback.format_exc()
    return ""


async def main() -> None:
    logging.disable(logging.CRITICAL)
    config = clients.RESTConfig(protocol="v2")
    async with clients.InferenceRESTClient(config) as rest, clients.InferenceGRPCClient(WHERE["grpc"]) as rpc:
        found = {
            name: await said(case, rest, rpc)
            for name, case in list(globals().items())
            if name.startswith("case_")
        }
    print(json.dumps(found))


if __name__ == "__main__":
    asyncio.run(main())
