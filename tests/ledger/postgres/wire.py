"""A wire to the server that breaks or stalls when it is told to, in the middle of what is said."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from urllib.parse import quote

from tests.ledger.postgres.server import PASSWORD, Server


class Wire:
    """Passes bytes on between clients and the server's port."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._marker: bytes | None = None
        self._stall: bytes | None = None
        self._flows = threading.Event()
        self._flows.set()
        self.broken = 0
        self.opened = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def url(self) -> str:
        """The server's address by way of this wire."""
        port = self._listener.getsockname()[1]
        return f"postgresql://postgres:{quote(PASSWORD, safe='')}@127.0.0.1:{port}/postgres"

    def lose_the_answer_to(self, marker: bytes) -> None:
        """Break the connection once the server has answered the next message with these bytes in it."""
        self._marker = marker

    def stall_within(self, marker: bytes) -> None:
        """Pass on only half of the next piece with these bytes in it, and nothing behind it, until `flow`."""
        self._stall = marker
        self._flows.clear()

    def stalls(self) -> bool:
        """Whether that piece has come."""
        return self._stall is None and not self._flows.is_set()

    def flow(self) -> None:
        """Pass on what was held back."""
        self._flows.set()

    def close(self) -> None:
        """Take no more connections."""
        self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self.opened += 1
                server = socket.create_connection(("127.0.0.1", self._server.port))
                threading.Thread(target=self._forward, args=(client, server), daemon=True).start()

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        """Client to server here, server to client on a thread of its own."""
        cut = threading.Event()
        threading.Thread(target=self._back, args=(server, client, cut), daemon=True).start()
        with contextlib.suppress(OSError):
            while data := client.recv(1 << 16):
                if self._marker is not None and self._marker in data:
                    self._marker = None
                    cut.set()
                if self._stall is not None and self._stall in data:
                    server.sendall(data[: len(data) // 2])
                    data = data[len(data) // 2 :]
                    self._stall = None
                if self._stall is None:
                    self._flows.wait(60)
                server.sendall(data)
        with contextlib.suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)
        server.close()

    def _back(self, server: socket.socket, client: socket.socket, cut: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(1 << 16):
                if cut.is_set():
                    self.broken += 1
                    break
                client.sendall(data)
        with contextlib.suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)
        client.close()


@contextlib.contextmanager
def wired(server: Server) -> Iterator[Wire]:
    """A wire for as long as the block lasts."""
    wire = Wire(server)
    try:
        yield wire
    finally:
        wire.close()
