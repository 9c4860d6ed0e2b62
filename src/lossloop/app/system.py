"""What a process asks of the system: a port of its own, and an end when the one that started it is gone.

It imports next to nothing: the smallest of our processes do this too.
"""

from __future__ import annotations

import contextlib
import os
import random
import socket
import threading
import time

from lossloop.core.errors import InputError, InUse

PARENT = "LOSSLOOP_PARENT"
"""Who started this process: it may be gone before this one can look."""
GRPC = "LOSSLOOP_GRPC"
"""Where a server listens for gRPC too, as host:port; nowhere if it is empty."""
MOST_PORT = 65_535
_PORTS = range(10_000, 32_768)
"""Below those that systems give to outgoing connections."""


def watch_parent() -> None:
    """End this process when the one that started it is gone, however it went and however early."""
    parent = int(os.environ.get(PARENT) or os.getppid())

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.2)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def check_port(host: str, port: int, option: str = "--port") -> None:
    """Raise InUse where a port is taken, InputError where it is none; `option` chooses another."""
    if not 0 < port <= MOST_PORT:
        raise InputError(f"a port lies between 0 and {MOST_PORT}, not at {port}", field="port")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise InUse(
                f"cannot listen on {host}:{port} ({error.strerror}); choose another with {option}"
            ) from None


def free_port(host: str) -> int:
    """A port that is free now, and that no outgoing connection is given before it is listened on."""
    for port in random.sample(_PORTS, len(_PORTS)):
        with contextlib.suppress(InUse):
            check_port(host, port)
            return port
    raise InUse(f"no port of {host} is free; close some connections, or choose one with --port")
