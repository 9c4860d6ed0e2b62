"""The gRPC server in the event loop of whoever holds the service: calls, codes, tokens and metadata."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import grpc  # type: ignore[import-untyped]
import numpy as np
import pytest

from lossloop.access import AccessRole, bearer
from lossloop.app.grpc.calls import CALLS
from lossloop.app.grpc.messages import CLASSES, SERVICE
from lossloop.app.grpc.server import GrpcServer
from lossloop.app.http.bodies import MOST_BYTES
from lossloop.app.system import free_port
from lossloop.app.up import Up, check_grpc
from lossloop.core.clock import SECOND
from lossloop.core.errors import InUse
from tests.serve.models import Scripted
from tests.serve.test_service import Place

Ask = Callable[..., Awaitable[Any]]
HOST = "127.0.0.1"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    found = Place(tmp_path_factory.mktemp("grpc"))
    yield found
    found.close()


@pytest.fixture(scope="module")
def model(place: Place) -> str:
    return place.model(0.0, 1.0)


def asking(place: Place, use: Callable[[Ask], Awaitable[Any]], token: str | None = "") -> Any:
    """What a client of a server gets, which lives as long as this call; a token of None sends none."""
    place.follow()
    header = None if token is None else bearer(token or place.home.tokens.read())
    metadata = () if header is None else (("authorization", header),)

    async def run() -> Any:
        port = free_port(HOST)
        server = GrpcServer(place.running, HOST, port)
        await server.start()
        async with grpc.aio.insecure_channel(f"{HOST}:{port}") as channel:

            async def ask(name: str, /, **fields: Any) -> Any:
                call = channel.unary_unary(
                    f"/{SERVICE}/{name}",
                    request_serializer=CLASSES[f"{name}Request"].SerializeToString,
                    response_deserializer=CLASSES[f"{name}Response"].FromString,
                )(CLASSES[f"{name}Request"](**fields), metadata=metadata, timeout=60)
                answer = await call
                return answer, dict(await call.trailing_metadata())

            try:
                return await use(ask)
            finally:
                await server.stop()

    return asyncio.run(run())


def one(place: Place, name: str, token: str | None = "", /, **fields: Any) -> Any:
    return asking(place, lambda ask: ask(name, **fields), token)


def refused(place: Place, name: str, token: str | None = "", /, **fields: Any) -> tuple[str, str]:
    """The code and the words of a call that fails."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        one(place, name, token, **fields)
    return caught.value.code().name, caught.value.details()


def x(*values: float) -> list[dict[str, Any]]:
    contents = {"fp64_contents": values}
    return [{"name": "x", "datatype": "FP64", "shape": [len(values)], "contents": contents}]


def test_every_call_is_answered(place: Place, model: str) -> None:
    fields: dict[str, dict[str, Any]] = {
        "ModelReady": {"name": model},
        "ModelMetadata": {"name": model},
        "ModelInfer": {"model_name": model, "inputs": x(1.0)},
        "RepositoryModelLoad": {"model_name": model},
        "RepositoryModelUnload": {"model_name": model, "parameters": {"version": {"string_param": "2"}}},
    }

    async def use(ask: Ask) -> dict[str, Any]:
        return {name: (await ask(name, **fields.get(name, {})))[0] for name in CALLS}

    found = asking(place, use)
    assert found["ServerLive"].live
    assert found["ServerReady"].ready
    assert found["ModelReady"].ready
    assert found["ServerMetadata"].name == "lossloop"
    assert [each.name for each in found["ModelMetadata"].inputs] == ["x", "y", "colour"]
    assert list(found["ModelInfer"].outputs[0].contents.fp64_contents) == [2.5]
    assert (model, "1", "READY") in [(e.name, e.version, e.state) for e in found["RepositoryIndex"].models]
    assert found["RepositoryModelLoad"].isLoaded
    assert found["RepositoryModelUnload"].isUnloaded


def test_ids_come_back_in_parameters_and_metadata(place: Place, model: str) -> None:
    answer, metadata = one(place, "ModelInfer", model_name=model, id="é 1", inputs=x(1.0, 2.0))
    assert answer.id == "é 1"
    assert answer.parameters["prediction_id"].string_param == "é 1"
    assert metadata["lossloop-prediction-id"] == "%C3%A9%201"
    assert (metadata["lossloop-version"], metadata["lossloop-role"]) == ("1", "champion")


def test_raw_in_is_raw_out(place: Place, model: str) -> None:
    tensors = [{"name": "x", "datatype": "FP32", "shape": [2]}]
    raw = [np.array([1.0, 2.0], np.float32).tobytes()]
    answer, _ = one(place, "ModelInfer", model_name=model, inputs=tensors, raw_input_contents=raw)
    assert np.frombuffer(answer.raw_output_contents[0]).tolist() == [2.5, 3.5]


@pytest.mark.parametrize(
    ("name", "fields", "code", "words"),
    [
        ("ModelInfer", {"model_name": "nobody"}, "NOT_FOUND", "unknown model"),
        ("ModelInfer", {"model_version": "9"}, "NOT_FOUND", "unknown version"),
        ("ModelInfer", {"inputs": []}, "INVALID_ARGUMENT", "'x' is missing"),
        ("ModelInfer", {"inputs": x(float("inf"))}, "INVALID_ARGUMENT", "row 0: x must be finite"),
        ("ModelReady", {"name": "nobody"}, "NOT_FOUND", "unknown model"),
        ("ModelMetadata", {"version": "9"}, "NOT_FOUND", "unknown version"),
        ("RepositoryModelUnload", {}, "FAILED_PRECONDITION", "has traffic"),
        (
            "RepositoryModelLoad",
            {"parameters": {"config": {"string_param": ""}}},
            "INVALID_ARGUMENT",
            "config",
        ),
    ],
)
def test_failures_have_a_code_and_words(
    place: Place, model: str, name: str, fields: dict[str, Any], code: str, words: str
) -> None:
    own = "name" if name in ("ModelReady", "ModelMetadata") else "model_name"
    found = refused(place, name, **{own: model, **fields})
    assert found[0] == code
    assert words in found[1]


def test_an_id_with_other_content_is_refused(place: Place, model: str) -> None:
    one(place, "ModelInfer", model_name=model, id="once", inputs=x(1.0))
    code, words = refused(place, "ModelInfer", model_name=model, id="once", inputs=x(2.0))
    assert (code, "once" in words) == ("FAILED_PRECONDITION", True)


def test_the_token_says_what_may_be_asked(place: Place, model: str) -> None:
    sender = place.home.tokens.create("grpc-sender", AccessRole.SENDER, models=frozenset({model})).text
    place.clock.advance_to(place.clock.now() + SECOND)  # the server looks for tokens now and then
    other = place.model(0.0)
    assert one(place, "ServerReady", None)[0].ready
    for token in (None, "wrong"):
        assert refused(place, "ModelInfer", token, model_name=model)[0] == "UNAUTHENTICATED"
    infer = {"model_name": model, "inputs": x(1.0)}
    assert one(place, "ModelInfer", sender, **infer)
    assert refused(place, "ModelInfer", sender, model_version="1", **infer)[0] == "PERMISSION_DENIED"
    assert refused(place, "ModelInfer", sender, model_name=other)[0] == "PERMISSION_DENIED"
    assert refused(place, "RepositoryModelLoad", sender, model_name=model)[0] == "PERMISSION_DENIED"
    assert {each.name for each in one(place, "RepositoryIndex", sender)[0].models} == {model}


def test_what_a_version_raises_is_not_the_end_of_the_server(place: Place) -> None:
    def fail(xs: list[float]) -> list[float]:
        raise ValueError(xs)

    model = place.model(0.0)
    lane = place.lane(model)
    whole, lane._runtime = lane._runtime, Scripted(fail)
    assert refused(place, "ModelInfer", model_name=model, inputs=x(1.0))[0] == "INTERNAL"
    lane._runtime = whole
    assert one(place, "ModelInfer", model_name=model, inputs=x(1.0))


def test_calls_are_counted(place: Place, model: str) -> None:
    path = f"/{SERVICE}/ModelReady"
    before = place.counted("requests", method="GRPC", path=path, status="OK")
    one(place, "ModelReady", name=model)
    refused(place, "ModelReady", name="nobody")
    assert place.counted("requests", method="GRPC", path=path, status="OK") == before + 1
    assert place.counted("requests", method="GRPC", path=path, status="NOT_FOUND") >= 1


def test_what_it_needs_is_installed() -> None:
    check_grpc()


def test_a_port_that_is_taken_is_told_before_anything_starts(place: Place) -> None:
    with socket.create_server((HOST, 0)) as taken:
        port = taken.getsockname()[1]
        up = Up(place.home, host=HOST, port=free_port(HOST), grpc_port=port)
        with pytest.raises(InUse, match=f"{HOST}:{port} .* --grpc-port"):
            up.start()
    assert up.pids() == {}


def test_a_call_that_is_larger_than_a_body_may_be_is_refused(place: Place, model: str) -> None:
    raw = [bytes(MOST_BYTES)]
    tensors = [{"name": "x", "datatype": "FP64", "shape": [MOST_BYTES // 8]}]
    code, _ = refused(place, "ModelInfer", model_name=model, inputs=tensors, raw_input_contents=raw)
    assert code == "RESOURCE_EXHAUSTED"


def test_who_goes_away_does_not_stop_the_others(place: Place, model: str) -> None:
    async def use(ask: Ask) -> Any:
        gone = [asyncio.ensure_future(ask("ModelInfer", model_name=model, inputs=x(1.0))) for _ in range(8)]
        await asyncio.sleep(0)
        for each in gone:
            each.cancel()
        await asyncio.gather(*gone, return_exceptions=True)
        return await ask("ModelInfer", model_name=model, inputs=x(2.0))

    answer, _ = asking(place, use)
    assert list(answer.outputs[0].contents.fp64_contents) == [3.5]
