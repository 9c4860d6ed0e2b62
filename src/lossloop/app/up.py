"""`lossloop up`: three processes over one directory, started, watched and stopped together.

    server    answers HTTP and appends to the log
    applier   folds the log: joins, judges, decides
    worker    carries out what was decided outside: retraining, notifications

Each may be killed at any moment and is started again; each ends when this process does. What they run is in
`lossloop.app.parts`.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import urllib3

from lossloop.app.fold import folds, when_free
from lossloop.app.home import STATE, Home
from lossloop.app.system import GRPC, PARENT, check_port, free_port
from lossloop.core.errors import InUse, MissingExtra, StateError

PARTS = ("applier", "server", "worker")
READY_WITHIN = 120.0
SLOW = 10.0
"""Seconds after which whoever waits is told that the parts are still starting."""
LOOK_EVERY = 0.2
STEADY = 10.0
"""Seconds after which a part that runs is no longer taken for one that cannot."""
STDERR = 2


class Up:
    """The processes of a running Lossloop; a `grpc_port` of None answers no gRPC."""

    def __init__(self, home: Home, *, host: str, port: int, grpc_port: int | None = None) -> None:
        self._home = home
        self.host, self.port, self.grpc_port = host, port, grpc_port
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._started: dict[str, float] = {}
        self._restarts = 0

    def start(self) -> None:
        """Start all parts and wait until the server answers.

        Raises:
            InUse: The port is taken, or another process holds the directory.
        """
        try:
            check_port(self.host, self.port)
            if self.grpc_port is not None:
                check_grpc()
                check_port(self.host, self.grpc_port, "--grpc-port")
        except InUse:
            when_free(self._home).close()  # most often it is this directory's own: another port is no help
            raise
        when_free(self._home).close()
        for part in PARTS:
            self._spawn(part)
        self._await_ready()

    def pids(self) -> dict[str, int]:
        """The process of each part."""
        return {part: process.pid for part, process in self._processes.items()}

    def mend(self) -> list[str]:
        """Start again what has died; return the parts that had."""
        died = [part for part, process in self._processes.items() if process.poll() is not None]
        for part in died:
            if time.monotonic() - self._started[part] > STEADY:
                self._restarts = 0
            time.sleep(min(0.1 * 2 ** min(self._restarts, 10), 5.0))
            self._restarts += 1
            self._spawn(part)
        return died

    @contextlib.contextmanager
    def mended(self) -> Iterator[None]:
        """Look after the parts for as long as the block lasts."""
        over = threading.Event()

        def look() -> None:
            while not over.wait(LOOK_EVERY):
                for part in self.mend():
                    print(f"the {part} had ended; it was started again", file=sys.stderr, flush=True)

        watcher = threading.Thread(target=look, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            over.set()
            watcher.join()

    def stop(self) -> None:
        """Stop the server first, so that all it acknowledged can still be folded."""
        for part in ("server", "worker", "applier"):
            process = self._processes.pop(part, None)
            if process is not None and process.poll() is None:
                process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(10)
                if process.poll() is None:
                    process.kill()
                    process.wait()

    def _spawn(self, part: str) -> None:
        self._started[part] = time.monotonic()
        self._processes[part] = self._process(part)

    def _process(self, part: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", f"lossloop.app.parts.{part}"]
        if part == "server":
            command += [self.host, str(self.port)]
        state, parent = str(self._home.path.resolve()), str(os.getpid())
        environment = {**os.environ, STATE: state, PARENT: parent}
        environment[GRPC] = "" if self.grpc_port is None else f"{self.host}:{self.grpc_port}"
        # What parts say goes to standard error: standard output belongs to whoever started them.
        return subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=STDERR)

    def _await_ready(self) -> None:
        started, told = time.monotonic(), False
        while (waited := time.monotonic() - started) < READY_WITHIN:
            if waited > SLOW and not told:
                told = True
                words = "still starting; a busy machine or a large ledger takes longer"
                print(words, file=sys.stderr, flush=True)
            for part, process in self._processes.items():
                if process.poll() is not None:
                    self.stop()
                    raise StateError(
                        f"the {part} ended with exit code {process.returncode}; see its message above"
                    )
            if self._answers() and folds(self._home) == self._processes["applier"].pid:
                return
            time.sleep(0.02)
        self.stop()
        raise StateError(f"the server did not answer within {READY_WITHIN:g} s")

    def _answers(self) -> bool:
        with contextlib.suppress(urllib3.exceptions.HTTPError):
            answer = urllib3.request("GET", f"{self.url}/v1/health", retries=False, timeout=1.0)
            return answer.status == 200
        return False


@contextlib.contextmanager
def running(
    home: Home, *, host: str = "127.0.0.1", port: int = 0, grpc_port: int | None = None
) -> Iterator[Up]:
    """All parts, for as long as the block lasts; port 0 takes a free one."""
    if grpc_port == 0:
        grpc_port = free_port(host)
    up = Up(home.check(), host=host, port=port or free_port(host), grpc_port=grpc_port)
    try:
        up.start()
        with up.mended():
            yield up
    finally:
        up.stop()


def check_grpc() -> None:
    """Raise MissingExtra where what gRPC needs is not installed; nothing of it is loaded here."""
    for module, name in (("grpc", "grpcio"), ("google.protobuf", "protobuf")):
        if (
            importlib.util.find_spec(module.partition(".")[0]) is None
            or importlib.util.find_spec(module) is None
        ):
            raise MissingExtra(name, "grpc")
