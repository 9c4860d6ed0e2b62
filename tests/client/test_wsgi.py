"""The middleware for WSGI, held to its letter: chosen routes are recorded, every answer is what it was."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Iterable, Iterator
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server
from wsgiref.validate import validator

import pytest
import urllib3
from flask import Flask, Response, request

import lossloop as ll
from lossloop.client import Client
from lossloop.client.exchange import MOST_BYTES
from tests.client.service import row
from tests.client.taking import PATIENCE, Taking

ORDER = {"card": "c-1", "amount": 12.5}
ROUTES = dict.fromkeys(["/score", "/models/{name}/score", "/refuse", "/text", "/large", "/stream", "/é"], row)


def application() -> Flask:
    app = Flask(__name__)
    app.testing = True

    @app.post("/score")
    @app.post("/models/<name>/score")
    @app.post("/é")
    def score(name: str = "") -> dict[str, Any]:
        return {"chance": 0.25, "card": request.get_json()["card"]}

    @app.post("/refuse")
    def refuse() -> tuple[dict[str, int], int]:
        return {"chance": 1}, 422

    @app.post("/text")
    def text() -> Response:
        return Response('{"chance": 1}', mimetype="text/plain")

    @app.post("/large")
    def large() -> dict[str, str]:
        return {"chance": "x" * MOST_BYTES}

    @app.post("/stream")
    def stream() -> Response:
        order = request.get_json()
        return Response((part for part in ['{"cha', "", 'nce":0.75}'] if order), mimetype="application/json")

    @app.post("/fail")
    def fail() -> str:
        raise RuntimeError("a fault of the service's")

    return app


def watched(client: Client, **terms: Any) -> Flask:
    app = application()
    recorded = ll.RecordWSGI(
        validator(app.wsgi_app), client=client, **{"model": "fraud", "version": 3, "routes": ROUTES, **terms}
    )
    app.wsgi_app = validator(recorded)  # type: ignore[method-assign,assignment]
    return app


def ask(app: Flask, path: str, order: Any = ORDER) -> Any:
    with app.test_client() as caller:
        return caller.post(path, json=order, buffered=True)


@pytest.mark.parametrize("path", ["/score", "/models/a/score", "/é"])
def test_an_answer_carries_the_id_of_what_was_recorded(server: Taking, client: Client, path: str) -> None:
    heard = ask(watched(client), path)
    assert (heard.status_code, heard.json) == (200, {"chance": 0.25, "card": "c-1"})
    assert client.flush(PATIENCE) == 0
    ((kind, model, recorded),) = server.taken
    assert (kind, model) == ("predictions", "fraud")
    assert recorded.pop("latency_ms") >= 0
    assert {**recorded, "time": 0} == {
        "id": heard.headers["Lossloop-Id"], "version": 3, "y_pred": 0.25, "features": ORDER, "unit": "c-1",
        "time": 0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("path", "status", "lost"),
    [("/refuse", 422, 0), ("/text", 200, 0), ("/large", 200, 1), ("/nowhere", 404, 0), ("/score/", 404, 0)],
)
def test_what_is_no_prediction_passes_untouched(client: Client, path: str, status: int, lost: int) -> None:
    plain, seen = (ask(each, path) for each in (application(), watched(client)))
    assert (plain.status_code, list(plain.headers), plain.data) == (
        seen.status_code,
        list(seen.headers),
        seen.data,
    )
    assert seen.status_code == status
    assert (client.backlog().rows, client.backlog().lost) == (0, lost)


def test_an_answer_that_comes_in_parts_is_recorded_as_a_whole(server: Taking, client: Client) -> None:
    heard = ask(watched(client), "/stream")
    assert heard.data == b'{"chance":0.75}'
    assert client.flush(PATIENCE) == 0
    assert server.ids == [heard.headers["Lossloop-Id"]]


def test_an_error_of_the_application_is_the_applications(server: Taking, client: Client) -> None:
    app = watched(client, routes={"/fail": row})
    with pytest.raises(RuntimeError, match="a fault of the service's"):
        ask(app, "/fail")
    app.config["PROPAGATE_EXCEPTIONS"] = False
    assert ask(app, "/fail").status_code == 500
    assert client.flush(PATIENCE) == 0
    assert [(row["version"], row["y_pred"], row["error"]) for _, _, row in server.taken] == [
        (3, None, "RuntimeError"), (3, None, "HTTP 500")
    ]  # fmt: skip
    assert client.backlog().lost == 0


def test_a_failure_to_record_never_reaches_the_caller(client: Client) -> None:
    plain = ask(application(), "/score")
    seen = ask(watched(client, routes={"/score": lambda asked, answered: 1 / 0}), "/score")
    assert (plain.status_code, list(plain.headers), plain.data) == (
        seen.status_code,
        list(seen.headers),
        seen.data,
    )
    assert client.backlog().lost == 1


def gateway(app: Any, environ: dict[str, Any] | None = None) -> tuple[list[Any], list[bytes]]:
    """What a server is told, and the body, of an application without Flask."""
    told: list[Any] = []
    given = {"PATH_INFO": "/score", "wsgi.input": iter(())}
    parts = app({**given, **(environ or {})}, lambda *start: told.append(start))
    body = list(parts)
    if hasattr(parts, "close"):
        parts.close()
    return told, body


JSON = [("Content-Type", "application/json; charset=utf-8")]


def test_applications_of_old_write_and_restart_their_answers(server: Taking, client: Client) -> None:
    def app(environ: Any, start_response: Any) -> list[bytes]:
        start_response("200 OK", [("Content-Type", "text/plain")])
        try:
            raise ValueError("again")
        except ValueError as error:
            write = start_response("200 OK", JSON, (ValueError, error, None))
        write(b'{"y_')
        return [b'pred":1}']

    extract = lambda asked, answered: {"id": "a", **answered}  # noqa: E731
    recorded = ll.RecordWSGI(app, client=client, model="m", version=1, routes={"/score": extract})
    ((status, headers, error),), body = gateway(recorded)
    assert (status, headers, body) == ("200 OK", [*JSON, ("Lossloop-Id", "a")], [b'{"y_pred":1}'])
    assert error[0] is ValueError


def test_a_stream_without_end_flows(client: Client) -> None:
    closed = []

    class Endless:
        def __iter__(self) -> Iterator[bytes]:
            while True:
                yield b"x" * 1000

        def close(self) -> None:
            closed.append(True)

    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", [("Content-Type", environ["kind"])])
        return Endless()

    recorded = ll.RecordWSGI(app, client=client, model="m", version=1, routes={"/score": row})
    for kind, lost in (("text/plain", 0), ("application/json", 1)):
        answer: Any = recorded(
            {"PATH_INFO": "/score", "wsgi.input": None, "kind": kind}, lambda *start: lambda part: part
        )
        flow = iter(answer)
        assert sum(len(next(flow)) for _ in range(2000)) >= 2_000_000
        answer.close()
        assert client.backlog().lost == lost
    assert closed == [True, True]


def test_an_application_that_breaks_off_is_closed(client: Client) -> None:
    closed = []

    class Broken:
        def __iter__(self) -> Iterator[bytes]:
            yield b"{"
            raise OSError("the disk")

        def close(self) -> None:
            closed.append(True)

    def app(environ: Any, start_response: Any) -> Iterable[bytes]:
        start_response("200 OK", JSON)
        return Broken()

    with pytest.raises(OSError, match="the disk"):
        gateway(ll.RecordWSGI(app, client=client, model="m", version=1, routes={"/score": row}))
    assert closed == [True]


@pytest.mark.parametrize("how", ["read", "readline", "readlines", "iter"])
def test_a_request_may_be_read_in_any_way(server: Taking, client: Client, how: str) -> None:
    ways = {"read": lambda body: body.read(7) + body.read(),
            "readline": lambda body: body.readline() + body.readline(),
            "readlines": lambda body: b"".join(body.readlines()), "iter": b"".join}  # fmt: skip

    def app(environ: Any, start_response: Any) -> list[bytes]:
        order = json.loads(ways[how](environ["wsgi.input"]))
        start_response("200 OK", JSON)
        return [json.dumps({"chance": order["amount"]}).encode()]

    recorded = ll.RecordWSGI(app, client=client, model="m", version=1, routes={"/score": row})
    stream = io.BytesIO(b'{"card":"c",\n"amount":0.5}')
    _, body = gateway(recorded, {"wsgi.input": stream})
    assert body == [b'{"chance": 0.5}']
    assert client.flush(PATIENCE) == 0
    assert [sent["features"] for _, _, sent in server.taken] == [{"card": "c", "amount": 0.5}]


class Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def test_a_service_under_a_real_server(server: Taking, client: Client) -> None:
    with make_server("127.0.0.1", 0, watched(client), handler_class=Quiet) as service:
        thread = threading.Thread(target=service.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        with urllib3.PoolManager(retries=False, timeout=30) as pool:
            answers = [
                pool.request("POST", f"http://127.0.0.1:{service.server_port}/score", json=ORDER)
                for _ in range(5)
            ]
        service.shutdown()
        thread.join()
    assert client.flush(PATIENCE) == 0
    assert server.ids == [answer.headers["Lossloop-Id"] for answer in answers]
