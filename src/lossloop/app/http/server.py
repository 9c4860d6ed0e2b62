"""The ASGI application: limits, token, JSON, and one table of endpoints."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
from collections.abc import AsyncIterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from lossloop.app.fold import watch_parent
from lossloop.app.home import Home
from lossloop.app.http.endpoints import ROUTES, Call, Endpoint
from lossloop.app.http.openapi import document
from lossloop.app.http.problems import Malformed, details, problem, status_of
from lossloop.app.running import Running, open_home
from lossloop.core.errors import LossloopError, TooLarge

MOST_BYTES = 16 * 1024 * 1024
MOST_DROPPED = 8 * MOST_BYTES
LONGEST_WAIT = 60.0
_WAIT = re.compile(r"(?:^|[,;\s])wait=(\d+(?:\.\d+)?)")
_BEYOND_FLOATS = re.compile(rb"\d{18}|[eE]\+?\d{3}|NaN|Infinity")
"""Where this is found, a number may be none that a float holds."""


def create() -> Starlette:
    """The application over the directory that the environment variable LOSSLOOP_STATE names."""
    watch_parent()
    return application(Home(path=Path(os.environ["LOSSLOOP_STATE"])))


def application(home: Home) -> Starlette:
    """The application over a state directory."""

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        running = open_home(home)
        app.state.running = running
        following = asyncio.create_task(running.follower.run())
        following.add_done_callback(_die_with)
        try:
            yield
        finally:
            following.cancel()
            running.recorder.close()
            running.state.close()

    routes = [Route(endpoint.path, _asgi(endpoint), methods=[endpoint.method]) for endpoint in ROUTES]
    routes.append(Route("/openapi.json", _openapi, methods=["GET"]))
    handlers = {HTTPException: _nowhere, Exception: _unexpected}
    app = Starlette(routes=routes, lifespan=lifespan, exception_handlers=handlers)
    app.router.redirect_slashes = False  # a path is there or it is not
    return app


async def _nowhere(request: Request, error: Exception) -> Response:
    """The answer where no endpoint is, in the shape of every other error."""
    status = HTTPStatus(error.status_code if isinstance(error, HTTPException) else 404)
    allowed = (error.headers or {}).get("Allow", "") if isinstance(error, HTTPException) else ""
    methods = ", ".join(sorted(allowed.split(", ")))
    hint = f"there is: {methods}" if methods else "GET /openapi.json lists what there is"
    return _json(status, details(status, f"no {request.method} {request.url.path}; {hint}"))


async def _unexpected(request: Request, error: Exception) -> Response:
    """The answer to a fault of ours; what it was stands in the server's own log."""
    words = f"the server failed at this request ({type(error).__name__}); its log says more"
    return _json(500, details(HTTPStatus.INTERNAL_SERVER_ERROR, words))


def _die_with(task: asyncio.Task[None]) -> None:
    """A server that no longer follows the state would serve yesterday's traffic for ever: end it."""
    if not task.cancelled() and task.exception() is not None:
        os._exit(1)


async def _openapi(request: Request) -> Response:
    return _json(200, document(ROUTES))


def _asgi(endpoint: Endpoint) -> Any:
    reader = None if endpoint.body is None else msgspec.json.Decoder(endpoint.body)

    async def handle(request: Request) -> Response:
        running: Running = request.app.state.running
        try:
            if not endpoint.open:
                running.token.require(request.headers.get("authorization"))
            body = None if reader is None else _decoded(reader, await _read(request))
            call = Call(running=running, path=request.path_params, body=body, wait=_patience(request))
            return _json(*await endpoint.handler(call))
        except LossloopError as error:
            return _json(int(status_of(error)), problem(error))

    return handle


async def _read(request: Request) -> bytes:
    """The body, as long as it keeps within the limit.

    A longer one is read on for a while, and dropped: who is still sending does not hear an answer.
    """
    parts: list[bytes] = []
    size = 0
    try:
        async for part in request.stream():
            size += len(part)
            if size <= MOST_BYTES:
                parts.append(part)
            elif size > MOST_DROPPED:
                break
            else:
                parts.clear()
    except ClientDisconnect:
        raise Malformed("the body was cut off; send it again") from None
    if size > MOST_BYTES:
        raise TooLarge(f"the body has more than {MOST_BYTES} bytes: send smaller batches")
    return b"".join(parts)


def _decoded(reader: msgspec.json.Decoder[Any], raw: bytes) -> Any:
    try:
        if _BEYOND_FLOATS.search(raw):
            return msgspec.convert(_with_any_number(raw), reader.type)
        return reader.decode(raw or b"{}")
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at ")
        raise _invalid(message, path.strip("`$.")) from None
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise Malformed(f"the body is not JSON: {error}") from None


def _with_any_number(raw: bytes) -> Any:
    """JSON with NaN, Infinity and numbers beyond any float: they spoil their row, not the others."""
    read = json.loads(raw.decode(), parse_int=_whole)
    json.dumps(read, ensure_ascii=False).encode()  # half a surrogate pair is no text
    return read


def _whole(text: str) -> int | float:
    number = float(text)
    return int(text) if abs(number) < 2**63 else number


def _invalid(message: str, field: str) -> Malformed:
    return Malformed(f"the body cannot be taken: {message}", field=field or None)


def _patience(request: Request) -> float:
    """How long the caller asks to wait for the fold: ``Prefer: wait=10`` (RFC 7240)."""
    match = _WAIT.search(request.headers.get("prefer", ""))
    return min(float(match[1]), LONGEST_WAIT) if match else 0.0


def _json(status: int, body: dict[str, Any]) -> Response:
    kind = "application/problem+json" if status >= 400 else "application/json"
    headers = {"Retry-After": "1"} if status == 503 else None
    return Response(msgspec.json.encode(body), status_code=status, media_type=kind, headers=headers)
