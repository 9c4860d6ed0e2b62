"""Middleware for Flask, Django and anything else that speaks WSGI."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from time import perf_counter
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment


class RecordWSGI:
    """Records what chosen routes of a WSGI application answer; the arguments are those of RecordASGI.

    app.wsgi_app = ll.RecordWSGI(
        app.wsgi_app, client=client, model="fraud", version=3, routes={"/score": row}
    )
    """

    def __init__(
        self,
        app: WSGIApplication,
        *,
        client: Client | AsyncClient,
        model: str,
        routes: Mapping[str, Extract],
        version: Version | None = None,
    ) -> None:
        self._app = app
        self._exchange = Exchange(client, model, routes, version)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = str(environ.get("PATH_INFO", "")).encode("latin-1").decode(errors="replace")
        extract = self._exchange.extract(path)
        if extract is None:
            return self._app(environ, start_response)
        asked, began = _Tee(environ["wsgi.input"]), perf_counter()
        held = _Held(start_response)
        try:
            answer = self._app({**environ, "wsgi.input": asked}, held.start)
            try:
                parts = self._parts(extract, asked, held, iter(answer), began)
            except BaseException:
                _close(answer)
                raise
        except Exception as error:
            self._exchange.fail(type(error).__name__, began)
            raise
        return _Answer(parts, answer)

    def _parts(
        self, extract: Extract, asked: _Tee, held: _Held, answer: Iterator[bytes], began: float
    ) -> Iterator[bytes]:
        """What is sent on: all at once if it was recorded, else as it comes."""
        held.hold(answer, 1)  # an application has begun its answer once there is something of it
        if why := why_failed(held.status):
            self._exchange.fail(why, began)
        if not held.is_recorded():
            held.go_on()
            return chain(held.parts, answer)
        held.hold(answer, MOST_BYTES + 1)
        body = b"".join(held.parts)
        if max(len(asked.copy), len(body)) > MOST_BYTES:
            self._exchange.lose(f"a request or an answer has more than {MOST_BYTES} bytes")
            held.go_on()
            return chain([body], answer)
        held.go_on(self._exchange.record(extract, bytes(asked.copy), body, began))
        return iter([body])


class _Held:
    """The beginning of an answer, kept until it is known whether there is an id to add."""

    def __init__(self, start_response: StartResponse) -> None:
        self._start_response = start_response
        self._status = ""
        self._headers: list[tuple[str, str]] = []
        self._error: Any = None
        self.parts: list[bytes] = []
        """Of the body, also those written by the function that WSGI has for applications of old."""

    def start(
        self, status: str, headers: list[tuple[str, str]], error: Any = None, /
    ) -> Callable[[bytes], object]:
        self._status, self._headers, self._error = status, headers, error
        return self.parts.append

    def hold(self, answer: Iterator[bytes], size: int) -> None:
        """Take parts of the body until there are `size` bytes of it, or no more."""
        held = sum(map(len, self.parts))
        while held < size and (part := next(answer, None)) is not None:
            self.parts.append(part)
            held += len(part)

    @property
    def status(self) -> int:
        """The answer's; 0 where it has none."""
        return int(self._status[:3]) if self._status[:3].isdigit() else 0

    def is_recorded(self) -> bool:
        found = {name.lower(): value for name, value in self._headers}
        return is_recorded(self.status, found.get("content-type", ""), found.get("content-encoding", ""))

    def go_on(self, ids: str | None = None) -> None:
        headers = [*self._headers, *([(HEADER, ids)] if ids is not None else [])]
        if self._error is not None:
            self._start_response(self._status, headers, self._error)
        else:
            self._start_response(self._status, headers)


class _Tee:
    """A request's body, of which what the application reads is kept too."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.copy = bytearray()

    def _kept(self, data: bytes) -> bytes:
        if len(self.copy) <= MOST_BYTES:
            self.copy += data
        return data

    def read(self, *size: Any) -> bytes:
        return self._kept(self._stream.read(*size))

    def readline(self, *size: Any) -> bytes:
        return self._kept(self._stream.readline(*size))

    def readlines(self, *hint: Any) -> list[bytes]:
        return [self._kept(line) for line in self._stream.readlines(*hint)]

    def __iter__(self) -> Iterator[bytes]:
        return map(self._kept, self._stream)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


class _Answer:
    """An answer's parts; closing it closes the application's."""

    def __init__(self, parts: Iterator[bytes], answer: Iterable[bytes]) -> None:
        self._parts, self._answer = parts, answer

    def __iter__(self) -> Iterator[bytes]:
        return self._parts

    def close(self) -> None:
        _close(self._answer)


def _close(answer: Iterable[bytes]) -> None:
    close = getattr(answer, "close", None)
    if close is not None:
        close()
