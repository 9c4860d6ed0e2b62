"""The middleware for ASGI: chosen routes are recorded, and every answer is what it was."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import urllib3
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.middleware.gzip import GZipMiddleware

import lossloop as ll
from lossloop.client import Client
from lossloop.client.exchange import MOST_BYTES
from tests.client.answering import nobody
from tests.client.service import row
from tests.client.taking import PATIENCE, Taking, client_of
from tests.house.repository import ROOT

ORDER = {"card": "c-1", "amount": 12.5}


class Heard:
    """What a caller hears."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.parts: list[bytes] = []

    @property
    def body(self) -> bytes:
        return b"".join(self.parts)

    async def send(self, message: Mapping[str, Any]) -> None:
        if message["type"] == "http.response.start":
            assert not self.status
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        elif message["type"] == "http.response.body":
            assert self.status
            self.parts.append(message.get("body", b""))


async def ask(
    app: Any, path: str, body: Any = ORDER, *, method: str = "POST", parts: int = 1, **scope: Any
) -> Heard:
    """One request to an application, its body in parts."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    size = len(raw) // parts + 1
    messages = [
        {"type": "http.request", "body": raw[at : at + size], "more_body": True}
        for at in range(0, len(raw), size)
    ]
    messages.append({"type": "http.request", "body": b"", "more_body": False})
    found = Heard()
    over = asyncio.Event()

    async def receive() -> Mapping[str, Any]:
        if messages:
            return messages.pop(0)
        await over.wait()
        return {"type": "http.disconnect"}

    headers = [(b"content-type", b"application/json"), (b"accept-encoding", b"gzip")]
    await app(
        {"type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "path": path,
         "raw_path": path.encode(), "query_string": b"", "headers": headers, "root_path": "", **scope},
        receive, found.send,
    )  # fmt: skip
    return found


def application() -> FastAPI:
    app = FastAPI()

    @app.post("/score")
    async def score(request: Request) -> dict[str, Any]:
        order = await request.json()
        return {"chance": 0.25, "card": order["card"]}

    @app.post("/models/{name}/score")
    async def score_by(name: str, order: dict[str, Any]) -> dict[str, Any]:
        return {"chance": 0.5}

    @app.post("/many")
    async def many(orders: list[dict[str, Any]]) -> list[float]:
        return [0.25] * len(orders)

    async def refuse(request: Request) -> Response:
        return JSONResponse({"chance": 1}, status_code={"/down": 503}.get(request.url.path, 422))

    app.add_route("/refuse", refuse, methods=["POST"])
    app.add_route("/down", refuse, methods=["POST"])

    @app.post("/text")
    async def text() -> Response:
        return PlainTextResponse('{"chance": 1}')

    @app.post("/large")
    async def large() -> dict[str, str]:
        return {"chance": "x" * MOST_BYTES}

    @app.post("/stream")
    async def stream() -> Response:
        return StreamingResponse(iter([b'{"cha', b"", b'nce":0.75}']), media_type="application/json")

    @app.post("/fail")
    async def fail() -> None:
        raise RuntimeError("a fault of the service's")

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    return app


def watched(client: Client | ll.AsyncClient, **terms: Any) -> ll.RecordASGI:
    routes = dict.fromkeys(
        ["/score", "/models/{name}/score", "/refuse", "/text", "/large", "/stream", "/fail", "/down"], row
    )
    return ll.RecordASGI(
        application(), client=client, **{"model": "fraud", "version": 3, "routes": routes, **terms}
    )


@pytest.mark.parametrize("parts", [1, 3])
def test_an_answer_carries_the_id_of_what_was_recorded(server: Taking, client: Client, parts: int) -> None:
    heard = asyncio.run(ask(watched(client), "/score", parts=parts))
    assert (heard.status, json.loads(heard.body)) == (200, {"chance": 0.25, "card": "c-1"})
    assert heard.headers["content-length"] == str(len(heard.body))
    assert client.flush(PATIENCE) == 0
    ((kind, model, recorded),) = server.taken
    assert (kind, model) == ("predictions", "fraud")
    assert recorded.pop("latency_ms") >= 0
    assert {**recorded, "time": 0} == {
        "id": heard.headers["lossloop-id"], "version": 3, "y_pred": 0.25, "features": ORDER, "unit": "c-1",
        "time": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("path", "scope"),
    [("/models/a/score", {}), ("/models/b%2Fc/score", {}), ("/api/score", {"root_path": "/api"})],
)
def test_a_route_may_have_parts_that_change_and_be_mounted_anywhere(
    server: Taking, client: Client, path: str, scope: Any
) -> None:
    heard = asyncio.run(ask(watched(client), path, **scope))
    assert heard.status == 200
    assert "lossloop-id" in heard.headers


@pytest.mark.parametrize(
    "path", ["/score/", "/models/a/b/score", "/models//score", "/xscore", "/health", "/many"]
)
def test_other_routes_pass_untouched(client: Client, path: str) -> None:
    app = application()
    plain, seen = (
        asyncio.run(ask(each, path))
        for each in (
            app,
            ll.RecordASGI(app, client=client, model="m", routes={"/score": row, "/models/{name}/score": row}),
        )
    )
    assert (plain.status, plain.headers, plain.body) == (seen.status, seen.headers, seen.body)
    assert client.backlog().rows == 0


@pytest.mark.parametrize(
    ("path", "status", "lost"), [("/refuse", 422, 0), ("/text", 200, 0), ("/large", 200, 1)]
)
def test_what_is_no_prediction_passes_untouched(client: Client, path: str, status: int, lost: int) -> None:
    plain, seen = (asyncio.run(ask(each, path)) for each in (application(), watched(client)))
    assert (plain.status, plain.headers, plain.body) == (seen.status, seen.headers, seen.body)
    assert seen.status == status
    assert (client.backlog().rows, client.backlog().lost) == (0, lost)


def test_an_answer_that_comes_in_parts_is_recorded_as_a_whole(server: Taking, client: Client) -> None:
    heard = asyncio.run(ask(watched(client), "/stream"))
    assert heard.body == b'{"chance":0.75}'
    assert client.flush(PATIENCE) == 0
    assert [(recorded["id"], recorded["y_pred"]) for _, _, recorded in server.taken] == [
        (heard.headers["lossloop-id"], 0.75)
    ]


def test_an_error_of_the_application_is_the_applications(server: Taking, client: Client) -> None:
    with pytest.raises(RuntimeError, match="a fault of the service's"):
        asyncio.run(ask(watched(client), "/fail"))
    assert asyncio.run(ask(watched(client), "/down")).status == 503
    assert client.flush(PATIENCE) == 0
    assert [(row["version"], row["y_pred"], row["error"]) for _, _, row in server.taken] == [
        (3, None, "HTTP 500"), (3, None, "HTTP 503")
    ]  # fmt: skip
    assert all(row["latency_ms"] >= 0 and "features" not in row for _, _, row in server.taken)
    assert client.backlog().lost == 0


def test_an_application_that_raises_before_it_answers_has_failed(server: Taking, client: Client) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        raise ConnectionResetError

    recorded = ll.RecordASGI(app, client=client, model="m", version=1, routes={"/score": row})
    with pytest.raises(ConnectionResetError):
        asyncio.run(ask(recorded, "/score"))
    assert client.flush(PATIENCE) == 0
    assert [row["error"] for _, _, row in server.taken] == ["ConnectionResetError"]


def test_a_failure_of_no_known_version_is_not_recorded(client: Client) -> None:
    with pytest.raises(RuntimeError, match="a fault of the service's"):
        asyncio.run(ask(watched(client, version=None), "/fail"))
    assert (client.backlog().rows, client.backlog().lost) == (0, 0)


def test_a_version_that_cannot_be_told_hides_no_error(client: Client) -> None:
    with pytest.raises(RuntimeError, match="a fault of the service's"):
        asyncio.run(ask(watched(client, version=lambda: 1 // 0), "/fail"))
    assert (client.backlog().rows, client.backlog().lost) == (0, 1)


@pytest.mark.parametrize(
    "extract",
    [
        lambda asked, answered: 1 / 0,
        lambda asked, answered: {"features": asked},
        lambda asked, answered: {"y_pred": object()},
        lambda asked, answered: [7],
    ],
)
def test_a_failure_to_record_never_reaches_the_caller(client: Client, extract: Callable[..., Any]) -> None:
    plain, seen = (
        asyncio.run(ask(each, "/score"))
        for each in (application(), watched(client, routes={"/score": extract}))
    )
    assert (plain.status, plain.headers, plain.body) == (seen.status, seen.headers, seen.body)
    assert (client.backlog().rows, client.backlog().lost) == (0, 1)


def test_nothing_to_record_is_no_failure(client: Client) -> None:
    heard = asyncio.run(ask(watched(client, routes={"/score": lambda asked, answered: None}), "/score"))
    assert (heard.status, "lossloop-id" in heard.headers, client.backlog().lost) == (200, False, 0)


@pytest.mark.parametrize(("count", "shown"), [(3, True), (21, False)])
def test_an_exchange_may_be_many_predictions(server: Taking, client: Client, count: int, shown: bool) -> None:
    def rows(asked: Any, answered: Any) -> list[dict[str, Any]]:
        return [
            {"id": order["id"], "version": 5, "y_pred": chance}
            for order, chance in zip(asked, answered, strict=True)
        ]

    ids = [f"o-{n}" for n in range(count)]
    heard = asyncio.run(ask(watched(client, routes={"/many": rows}), "/many", [{"id": id} for id in ids]))
    assert heard.headers.get("lossloop-id") == (", ".join(ids) if shown else None)
    assert client.flush(PATIENCE) == 0
    assert [(recorded["id"], recorded["version"]) for _, _, recorded in server.taken] == [
        (id, 5) for id in ids
    ]


@pytest.mark.parametrize("id", ["naïve", "a\r\nSet-Cookie: x=1", "tab\t"])
def test_an_id_cannot_break_into_the_headers(client: Client, id: str) -> None:
    heard = asyncio.run(
        ask(watched(client, routes={"/score": lambda asked, answered: {"id": id, "y_pred": 1}}), "/score")
    )
    assert (heard.status, "lossloop-id" in heard.headers, client.backlog().lost) == (200, False, 0)


def test_a_version_may_change_while_the_service_runs(server: Taking, client: Client) -> None:
    versions = iter([3, 4])
    app = watched(client, version=lambda: next(versions))
    for _ in range(2):
        asyncio.run(ask(app, "/score"))
    assert client.flush(PATIENCE) == 0
    assert [recorded["version"] for _, _, recorded in server.taken] == [3, 4]


def test_compression_belongs_outside(client: Client) -> None:
    outside = asyncio.run(ask(GZipMiddleware(watched(client), minimum_size=1), "/score"))
    assert outside.headers["content-encoding"] == "gzip"
    assert "lossloop-id" in outside.headers
    inside = ll.RecordASGI(
        GZipMiddleware(application(), minimum_size=1),
        client=client,
        model="m",
        version=1,
        routes={"/score": row},
    )
    heard = asyncio.run(ask(inside, "/score"))
    assert (heard.headers["content-encoding"], "lossloop-id" in heard.headers) == ("gzip", False)


def test_what_is_no_http_passes(client: Client) -> None:
    seen = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope["type"])

    asyncio.run(ll.RecordASGI(app, client=client, model="m", routes={})({"type": "lifespan"}, None, None))  # type: ignore[arg-type]
    assert seen == ["lifespan"]


def test_messages_of_other_kinds_keep_their_place(client: Client) -> None:
    sent: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [(b"content-type", b"application/json")],
            }
        )
        await send({"type": "http.response.body", "body": b"{", "more_body": True})
        await send({"type": "http.response.pathsend", "path": "x"})

    async def send(message: Any) -> None:
        sent.append(message["type"])

    scope = {"type": "http", "path": "/score"}
    asyncio.run(ll.RecordASGI(app, client=client, model="m", routes={"/score": row})(scope, None, send))  # type: ignore[arg-type]
    assert sent == ["http.response.start", "http.response.body", "http.response.pathsend"]


def test_an_async_client_with_a_slow_spool_and_a_server_that_is_away(tmp_path: Path) -> None:
    async def work() -> tuple[Heard, int]:
        client = ll.AsyncClient(nobody(), token="t", spool=ll.Spool(tmp_path, sync=True))
        heard = await ask(watched(client), "/score")
        return heard, await client.close(timeout=0)

    heard, left = asyncio.run(work())
    assert ("lossloop-id" in heard.headers, left) == (True, 1)


def test_a_middleware_without_a_spool_is_told_when_the_service_starts(server: Taking) -> None:
    with Client(server.url, token="t") as client, pytest.raises(ll.InputError, match="lossloop-spool"):
        watched(client)


def test_a_service_under_a_real_server_records_also_when_it_is_killed(server: Taking, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "granian", "--interface", "asgi", "--port", str(port), "--workers", "2",
               "--factory", "--log-level", "error", "tests.client.service:create"]  # fmt: skip
    environment = {**os.environ, "URL": server.url, "SPOOL": str(tmp_path)}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True)
    pool = urllib3.PoolManager(
        retries=urllib3.Retry(total=300, backoff_factor=0.05, backoff_max=0.2), timeout=30
    )
    try:
        ids = []
        for number in range(60):
            answer = pool.request(
                "POST", f"http://127.0.0.1:{port}/score", json={"card": "c", "amount": number}
            )
            assert answer.status == 200
            ids.append(answer.headers["Lossloop-Id"])
    finally:
        pool.clear()
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(PATIENCE)
    deadline = time.monotonic() + PATIENCE
    while set(ids) - set(server.ids):
        assert time.monotonic() < deadline
        with client_of(server.url, tmp_path) as heir:
            heir.flush(PATIENCE)
    assert set(server.ids) == set(ids)
