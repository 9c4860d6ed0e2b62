"""A real HTTP server on this machine that answers as a test says and remembers what it was asked."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Asked:
    """One request."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, kw_only=True)
class Said:
    """One answer."""

    status: int = 200
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Answering:
    """What the server answers, until told otherwise, and what it was asked."""

    url: str
    status: int = 200
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    decide: Callable[[Asked], Said] | None = None
    """Where there is one, it makes every answer."""

    def answer(self, status: int, body: bytes = b"{}", **headers: str) -> None:
        """From now on answer this."""
        self.status, self.body, self.headers = status, body, headers


class _Quiet(ThreadingHTTPServer):
    """Says nothing of callers that hang up before they have heard all: a webhook's sender may."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


@contextmanager
def answering(port: int = 0) -> Iterator[Answering]:
    """A server for as long as it is needed; on a port of its own if none is given."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # head and body in one packet
        timeout = 5

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            asked = Asked(self.command, self.path, dict(self.headers), body)
            said.asked.append(asked)
            if said.decide is not None:
                self._say(said.decide(asked))
            else:
                self._say(Said(status=said.status, body=said.body, headers=said.headers))

        def _say(self, answer: Said) -> None:
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        def do_GET(self) -> None:
            self.do_POST()

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = _Quiet(("127.0.0.1", port), Handler)
    said = Answering(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield said
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def nobody() -> str:
    """An address on which nobody listens."""
    with answering() as server:
        return server.url
