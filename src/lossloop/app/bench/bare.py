"""The floor under HTTP: a server in the same configuration whose handler reads the body and answers {}."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import urllib3
from granian import Granian
from granian.constants import HTTPModes, Interfaces
from granian.log import LogLevels

from lossloop.app.system import free_port, watch_parent
from lossloop.core.errors import StateError

HOST = "127.0.0.1"
READY_WITHIN = 30.0
_HEADERS = [(b"content-type", b"application/json"), (b"content-length", b"2")]


async def app(
    scope: dict[str, Any],
    receive: Callable[[], Awaitable[dict[str, Any]]],
    send: Callable[[dict[str, Any]], Awaitable[None]],
) -> None:
    """Read the body, and answer."""
    if scope["type"] != "http":
        return
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
    await send({"type": "http.response.body", "body": b"{}"})


@dataclass(frozen=True, kw_only=True)
class Serving:
    """A bare server that runs."""

    url: str
    pid: int


@contextlib.contextmanager
def serving(module: str = __name__, *arguments: str) -> Iterator[Serving]:
    """A bare server, for as long as the block lasts: a module that serves on the port that it is given."""
    port = free_port(HOST)
    process = subprocess.Popen(
        [sys.executable, "-m", module, str(port), *arguments], stdin=subprocess.DEVNULL, stdout=2
    )
    try:
        _await(f"http://{HOST}:{port}", process)
        yield Serving(url=f"http://{HOST}:{port}", pid=process.pid)
    finally:
        process.terminate()
        process.wait()


def _await(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + READY_WITHIN
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(urllib3.exceptions.HTTPError):
            urllib3.request("GET", url, retries=False, timeout=1.0)
            return
        time.sleep(0.02)
    raise StateError(
        "the bare server did not answer; run it by itself: python -m lossloop.app.bench.bare 8765"
    )


def main(port: int) -> None:
    """Serve."""
    watch_parent()
    Granian(
        "lossloop.app.bench.bare:app", interface=Interfaces.ASGI, address=HOST, port=port,
        workers=1, http=HTTPModes.http1, websockets=False, log_level=LogLevels.warning,
    ).serve()  # fmt: skip


if __name__ == "__main__":
    main(int(sys.argv[1]))
