"""The ASGI application: a table of endpoints, opened over one state directory."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from lossloop.app.home import Home, here
from lossloop.app.http.bodies import MOST_BYTES, Bodies, Receive
from lossloop.app.http.door import Door, Scope, Send, respond
from lossloop.app.http.endpoints import ROUTES
from lossloop.app.http.inference import INFERENCE_ROUTES, InferenceDoor
from lossloop.app.http.openapi import document
from lossloop.app.http.problems import details
from lossloop.app.http.routing import Routes
from lossloop.app.running import Running, open_home
from lossloop.app.system import GRPC, watch_parent


def create() -> Application:
    """The application over the directory that the environment variable LOSSLOOP_STATE names."""
    watch_parent()
    return Application(here())


class Application:
    """Answers over a state directory.

    An endpoint is looked up here and answered at once; Starlette says what is not there, and starts and stops
    it all.
    """

    def __init__(self, home: Home) -> None:
        self._home = home
        self._running: Running | None = None
        bodies = Bodies()
        doors = [(each, Door(each, self._open, bodies)) for each in ROUTES]
        self._at_once = Routes((each.method, each.path, door) for each, door in doors)
        self._inference = InferenceDoor(self._open, bodies)
        routes = [Route(each.path, door, methods=[each.method]) for each, door in doors]
        routes.append(Route("/openapi.json", _openapi, methods=["GET"]))
        self._others = Starlette(
            routes=routes, lifespan=self._lifespan, exception_handlers={HTTPException: _nowhere}
        )
        self._others.router.redirect_slashes = False  # a path is there or it is not

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or follow the server's beginning and end."""
        if scope["type"] != "http":
            await self._others(scope, receive, send)  # type: ignore[arg-type]
            return
        path: str = scope["path"]
        found = self._at_once.find(scope["method"], path)
        if found is not None:
            door, names = found
            await door.answer(names, scope, receive, send)
        elif path.startswith("/v2/") or path == "/v2":
            await self._inference(scope, receive, send)
        else:
            await self._others(scope, receive, send)  # type: ignore[arg-type]

    def _open(self) -> Running:
        assert self._running is not None
        return self._running

    @contextlib.asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        running = self._running = open_home(self._home)
        running.service.recall(running.log)
        following = asyncio.create_task(running.follower.run())
        following.add_done_callback(_die_with)
        beside = await _start_grpc(running)
        try:
            yield
        finally:
            if beside is not None:
                await beside.stop()
            following.cancel()
            running.recorder.close()
            running.state.close()


async def _start_grpc(running: Running) -> Any:
    """The gRPC server in this event loop, where the environment variable LOSSLOOP_GRPC names its address."""
    host, _, port = os.environ.get(GRPC, "").rpartition(":")
    if not port:
        return None
    server = importlib.import_module("lossloop.app.grpc.server").GrpcServer(running, host, int(port))
    await server.start()
    return server


async def _nowhere(request: Request, error: Exception) -> Response:
    """The answer where no endpoint is, in the shape of every other error."""
    status = HTTPStatus(error.status_code if isinstance(error, HTTPException) else 404)
    allowed = (error.headers or {}).get("Allow", "") if isinstance(error, HTTPException) else ""
    methods = ", ".join(sorted(allowed.split(", ")))
    hint = f"there is: {methods}" if methods else "GET /openapi.json lists what there is"
    return _Answer(status, details(status, f"no {request.method} {request.url.path}; {hint}"))


class _Answer(Response):
    """An answer where Starlette wants a response."""

    def __init__(self, status: int, reply: dict[str, Any]) -> None:
        super().__init__(status_code=status)
        self._reply = reply

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await respond(send, self.status_code, self._reply)


def _die_with(task: asyncio.Task[None]) -> None:
    """A server that no longer follows the state would serve yesterday's traffic for ever: end it."""
    if not task.cancelled() and task.exception() is not None:
        os._exit(1)


async def _openapi(request: Request) -> Response:
    return _Answer(200, document(ROUTES, INFERENCE_ROUTES))


__all__ = ["MOST_BYTES", "Application", "create"]
