"""The protocol's door: a path to its endpoint, a body within bounds, ``{"error": ...}`` for every failure."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from lossloop.access import ANYONE
from lossloop.app.http.bodies import Bodies, Receive, unpacked
from lossloop.app.http.door import Scope, Send
from lossloop.app.http.inference.endpoints import INFERENCE_ROUTES, Ask, InferenceEndpoint, Told
from lossloop.app.http.inference.writing import Headers, encode, packed
from lossloop.app.http.problems import status_of
from lossloop.app.http.routing import Routes
from lossloop.app.running import Running
from lossloop.core.errors import LossloopError
from lossloop.serve.counters import reason_of
from lossloop.serve.inference import words_of

METHODS = ("GET", "POST")
_PASSES = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)


class InferenceDoor:
    """Answers every request under /v2.

    Args:
        running: What the server holds; asked for at each request, since routes are made before it is.
        bodies: Reads the bodies of all endpoints.
    """

    def __init__(self, running: Callable[[], Running], bodies: Bodies) -> None:
        self._running = running
        self._bodies = bodies
        self._routes = Routes((each.method, each.path, each) for each in INFERENCE_ROUTES)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        running, headers = self._running(), dict(scope["headers"])
        method, path = scope["method"], scope["path"].rstrip("/")
        found = self._routes.find(method, path)
        if found is None:
            await _respond(send, self._nowhere(method, path), headers)
            return
        endpoint, names = found
        try:
            told = await self._answer(running, endpoint, names, headers, receive)
        except LossloopError as error:
            told = failure(error)
            running.service.counters.add("refusals", reason=reason_of(error))
        except Exception as error:  # noqa: BLE001 - the fault of one request is not the end of the others
            traceback.print_exc()
            told = _error(
                500, f"the server failed at this request ({type(error).__name__}); its log says more"
            )
        running.service.counters.add(
            "requests", method=endpoint.method, path=endpoint.path, status=str(told.status)
        )
        await _respond(send, told, headers)

    async def _answer(
        self, running: Running, endpoint: InferenceEndpoint, names: Mapping[str, str],
        headers: Mapping[bytes, bytes], receive: Receive,
    ) -> Told:  # fmt: skip
        caller = ANYONE
        if not endpoint.open:
            caller = running.tokens.caller(headers.get(b"authorization", b"").decode("latin-1"))
            caller.require(endpoint.right)
            if "model" in names:
                caller.require_model(names["model"])
        raw = b""
        if endpoint.body is not None:
            length = headers.get(b"content-length", b"")
            raw = await self._bodies.read(receive, length=int(length) if length.isdigit() else -1)
            encoding = headers.get(b"content-encoding")
            if encoding is not None:
                raw = unpacked(raw, encoding)
        return await endpoint.handler(
            Ask(running=running, caller=caller, names=names, headers=headers, raw=raw)
        )

    def _nowhere(self, method: str, path: str) -> Told:
        methods = ", ".join(each for each in METHODS if self._routes.find(each, path) is not None)
        if not methods:
            return _error(404, f"no {method} {path}; GET /openapi.json lists what there is")
        told = _error(405, f"no {method} {path}; there is: {methods}")
        return Told(body=told.body, status=told.status, headers=[*told.headers, (b"allow", methods.encode())])


def failure(error: LossloopError) -> Told:
    """What is answered to a request that cannot be taken; what is wrong with a row is a bad request here."""
    status = status_of(error)
    if status == HTTPStatus.UNPROCESSABLE_ENTITY:
        status = HTTPStatus.BAD_REQUEST
    told = _error(int(status), words_of(error))
    if status in _PASSES:
        return Told(body=told.body, status=told.status, headers=[*told.headers, (b"retry-after", b"1")])
    return told


def _error(status: int, words: str) -> Told:
    return Told(body=encode({"error": words}), status=status)


async def _respond(send: Send, told: Told, asked: Mapping[bytes, bytes]) -> None:
    body, headers = told.body, list[Any](told.headers)
    accepted = asked.get(b"accept-encoding")
    if accepted is not None:
        body, more = packed(body, accepted)
        headers += more
    length: Headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": told.status, "headers": headers + length})
    await send({"type": "http.response.body", "body": body})
