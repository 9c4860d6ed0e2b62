"""Middleware for FastAPI, Starlette and anything else that speaks ASGI."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from time import perf_counter
from typing import Any

from lossloop.client.asynchronous import AsyncClient
from lossloop.client.client import Client
from lossloop.client.exchange import (
    HEADER,
    MOST_BYTES,
    Exchange,
    Extract,
    Version,
    is_recorded,
    why_failed,
)

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


class RecordASGI:
    """Records what chosen routes of an ASGI application answer.

        app.add_middleware(ll.RecordASGI, client=client, model="fraud", version=3, routes={"/score": row})

    A successful answer in JSON is held until it is whole and its rows are in the spool; then it is sent on
    unchanged, with their ids in the header `Lossloop-Id`. All else passes through. What cannot be recorded is
    logged and counted (`backlog().lost`), and answered all the same.

    What an answer took is recorded with it. Where the application raises, or answers with a status from 500
    on, a failure is recorded: the version and the reason, and nothing of the request. It needs `version`.

    Args:
        app: The application.
        client: Made with a spool.
        model: The model's name.
        routes: By path, such as ``/score`` or ``/models/{name}/score``, a function that makes a row (or rows,
            or None) of the request and the answer, as read from JSON: `y_pred`, `features`, `unit`, `id`, ...
        version: The number of the version that answers, or a function that tells it; left out where each row
            has its own.
    """

    def __init__(
        self,
        app: App,
        *,
        client: Client | AsyncClient,
        model: str,
        routes: Mapping[str, Extract],
        version: Version | None = None,
    ) -> None:
        self._app = app
        self._exchange = Exchange(client, model, routes, version)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        extract = self._exchange.extract(_path(scope)) if scope["type"] == "http" else None
        if extract is None:
            await self._app(scope, receive, send)
        else:
            talk = _Talk(self._exchange, extract, receive, send)
            try:
                await self._app(scope, talk.receive, talk.send)
            except Exception as error:
                await talk.fail(type(error).__name__)
                raise


def _path(scope: Mapping[str, Any]) -> str:
    """The path as the application sees it, wherever it is mounted."""
    return str(scope["path"]).removeprefix(str(scope.get("root_path", "")))


class _Talk:
    """One request and its answer, as they pass."""

    def __init__(self, exchange: Exchange, extract: Extract, receive: Receive, send: Send) -> None:
        self._exchange, self._extract = exchange, extract
        self._receive, self._send = receive, send
        self._began, self._told = perf_counter(), False
        self._asked, self._answered = bytearray(), bytearray()
        self._start: Message | None = None
        """The beginning of an answer that is held."""

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request" and len(self._asked) <= MOST_BYTES:
            self._asked += message.get("body", b"")
        return message

    async def fail(self, why: str) -> None:
        """Record that there is no answer, once."""
        if not self._told:
            self._told = True
            await self._exchange.fail_soon(why, self._began)

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start" and (why := why_failed(message["status"])):
            await self.fail(why)
        if message["type"] == "http.response.start" and _is_recorded(message):
            self._start = message
        elif self._start is not None and message["type"] == "http.response.body":
            await self._hold(self._start, message)
        else:
            await self._let_go()
            await self._send(message)

    async def _hold(self, start: Message, message: Message) -> None:
        self._answered += message.get("body", b"")
        more = message.get("more_body", False)
        if max(len(self._asked), len(self._answered)) > MOST_BYTES:
            self._exchange.lose(f"a request or an answer has more than {MOST_BYTES} bytes")
        elif more:
            return
        else:
            self._told = True
            ids = await self._exchange.record_soon(
                self._extract, bytes(self._asked), bytes(self._answered), self._began
            )
            if ids is not None:
                headers = [*start.get("headers", ()), (HEADER.lower().encode(), ids.encode())]
                self._start = {**start, "headers": headers}
        await self._let_go(more=more)

    async def _let_go(self, *, more: bool = True) -> None:
        """Send on what is held."""
        if self._start is not None:
            start, self._start = self._start, None
            await self._send(start)
            if self._answered or not more:
                body = {"type": "http.response.body", "body": bytes(self._answered), "more_body": more}
                await self._send(body)


def _is_recorded(start: Message) -> bool:
    headers = {
        bytes(name).lower(): bytes(value).decode("latin-1") for name, value in start.get("headers", ())
    }
    return is_recorded(
        start["status"], headers.get(b"content-type", ""), headers.get(b"content-encoding", "")
    )
