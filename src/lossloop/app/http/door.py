"""One endpoint as a bare ASGI application: token, body, handler, answer, and nothing else between."""

from __future__ import annotations

import re
import traceback
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qs

import msgspec

from lossloop.access import ANYONE, Caller, Right
from lossloop.app.http.bodies import Bodies, Receive, decoded, unpacked
from lossloop.app.http.endpoints import ARROW, Call, Endpoint
from lossloop.app.http.problems import Unsupported, details, problem, status_of
from lossloop.app.running import Running
from lossloop.core.clock import SECOND, parse_duration
from lossloop.core.errors import InputError, LossloopError
from lossloop.serve.counters import Labels, key_of, reason_of
from lossloop.serve.wishes import USUAL, Wish

LONGEST_WAIT = 60.0
_WAIT = re.compile(rb"(?:^|[,;\s])wait=(\d+(?:\.\d+)?)")
_ARROW = ARROW.encode()
_LATER = ((b"retry-after", b"1"),)
_HOW = ((b"www-authenticate", b'Bearer realm="lossloop"'),)
_PASSES = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)

Scope = Mapping[str, Any]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Headers = Mapping[bytes, bytes]


class Door:
    """Answers the requests of one endpoint.

    Args:
        endpoint: Which one.
        running: What the server holds; asked for at each request, since routes are made before it is.
        bodies: Reads the bodies of all endpoints.
    """

    def __init__(self, endpoint: Endpoint, running: Callable[[], Running], bodies: Bodies) -> None:
        self._endpoint = endpoint
        self._running = running
        self._bodies = bodies
        self._counters: dict[int, tuple[str, Labels]] = {}
        self._names_model = "model" in getattr(endpoint.body, "__struct_fields__", ())
        self._reader = None if endpoint.body is None else msgspec.json.Decoder(endpoint.body)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, as an ASGI application."""
        await self.answer(scope.get("path_params") or {}, scope, receive, send)

    async def answer(self, path: dict[str, str], scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request whose path has these names."""
        running = self._running()
        counters = running.service.counters
        try:
            status, reply = await self._answer(running, path, scope, receive)
        except LossloopError as error:
            status, reply = int(status_of(error)), problem(error)
            counters.add("refusals", reason=reason_of(error))
        except Exception as error:  # noqa: BLE001 - the fault of one request is not the end of the others
            traceback.print_exc()
            status, reply = 500, _fault(error)
        counters.count(self._counter(status))
        await respond(send, status, reply)

    def _counter(self, status: int) -> tuple[str, Labels]:
        """Under what a request with this status is counted."""
        found = self._counters.get(status)
        if found is None:
            method, template = self._endpoint.method, self._endpoint.path
            found = key_of("requests", method=method, path=template, status=str(status))
            self._counters[status] = found
        return found

    async def _answer(
        self, running: Running, path: dict[str, str], scope: Scope, receive: Receive
    ) -> tuple[int, Any]:
        headers = dict(scope["headers"])
        # Who may not ask is told so before the body is read.
        caller = self._caller(running, headers, path)
        wish = _wish(headers, caller)
        body = None if self._reader is None else await self._body(scope, headers, receive)
        if (model := getattr(body, "model", None)) is not None:
            caller.require_model(model)
        prefer = headers.get(b"prefer")
        call = Call(
            running=running,
            path=path,
            body=body,
            wait=0.0 if prefer is None else _patience(prefer),
            caller=caller,
            wish=wish,
        )
        return await self._endpoint.handler(call)

    def _caller(self, running: Running, headers: Headers, path: Mapping[str, str]) -> Caller:
        """Who asks; raise AccessError or Forbidden where that may not be."""
        endpoint = self._endpoint
        if endpoint.open:
            return ANYONE
        caller = running.tokens.caller(headers.get(b"authorization", b"").decode("latin-1"))
        caller.require(endpoint.right)
        if "model" in path:
            caller.require_model(path["model"])
        elif not self._names_model and not endpoint.by_model:
            caller.require_all_models()
        return caller

    async def _body(self, scope: Scope, headers: Headers, receive: Receive) -> Any:
        length = headers.get(b"content-length", b"")
        raw = await self._bodies.read(receive, length=int(length) if length.isdigit() else -1)
        encoding = headers.get(b"content-encoding")
        if encoding is not None:
            raw = unpacked(raw, encoding)
        kind = headers.get(b"content-type", b"")
        if kind.partition(b";")[0].strip().lower() != _ARROW:
            assert self._reader is not None
            return decoded(self._reader, raw)
        if self._endpoint.stream is None:
            raise Unsupported("this endpoint takes JSON")
        return self._endpoint.stream.read(raw, _model(scope))


def _model(scope: Scope) -> str | None:
    """The model that the query names."""
    query: bytes = scope.get("query_string", b"")
    found = parse_qs(query.decode("latin-1")).get("model", [])
    if len(found) > 1:
        raise InputError("name one model", field="model")
    return found[0] if found else None


def _patience(prefer: bytes) -> float:
    """How long the caller asks to wait for the fold: ``Prefer: wait=10`` (RFC 7240)."""
    match = _WAIT.search(prefer)
    return min(float(match[1]), LONGEST_WAIT) if match else 0.0


def _wish(headers: Headers, caller: Caller) -> Wish:
    """How the caller wants to be answered; who names a version must be allowed to operate."""
    deadline, version = headers.get(b"lossloop-deadline"), headers.get(b"lossloop-version")
    if deadline is None and version is None:
        return USUAL
    if version is not None:
        caller.require(Right.OPERATE)
    return Wish(
        deadline=None if deadline is None else _deadline(deadline),
        version=None if version is None else _version(version),
    )


def _version(header: bytes) -> int:
    """The version that is to answer: ``Lossloop-Version: 7``."""
    text = header.strip()
    if not (text.isdigit() and len(text) <= 9):
        raise InputError(
            f"{header.decode('latin-1')!r} is not the number of a version; write one such as 7",
            field="Lossloop-Version",
        )
    return int(text)


def _deadline(header: bytes) -> float:
    """How long the caller waits for a version, in seconds: ``Lossloop-Deadline: 50ms``."""
    try:
        found = parse_duration(header.decode("latin-1").strip()) / SECOND
    except InputError as error:
        raise InputError(str(error), field="Lossloop-Deadline") from None
    if found <= 0:
        raise InputError("a deadline must last longer than nothing", field="Lossloop-Deadline")
    return found


def _fault(error: Exception) -> dict[str, Any]:
    words = f"the server failed at this request ({type(error).__name__}); its log says more"
    return details(HTTPStatus.INTERNAL_SERVER_ERROR, words)


async def respond(send: Send, status: int, reply: dict[str, Any] | str) -> None:
    """Send an answer: JSON, or plain text."""
    if isinstance(reply, str):
        body, kind = reply.encode(), b"text/plain; version=0.0.4; charset=utf-8"
    else:
        body = msgspec.json.encode(reply)
        kind = b"application/problem+json" if status >= 400 else b"application/json"
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
    if status in _PASSES:
        headers += _LATER
    if status == HTTPStatus.UNAUTHORIZED:
        headers += _HOW
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
