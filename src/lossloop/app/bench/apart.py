"""A process that prepares, says that it is ready, and does its work on the word.

in    a line with a job as JSON; once "ready" came out, a line that says go
out   "ready", then a line with what happened, as JSON
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import TypeVar

import msgspec

from lossloop.core.errors import LossloopError

T = TypeVar("T")
J = TypeVar("J")


class ApartError(LossloopError):
    """The process came to no end."""


class Apart:
    """The process, from the outside; made, it is ready.

    Args:
        name: The module that it runs: ``load`` or ``writing``.
        job: What it is given.

    Raises:
        ApartError: It ended before it was ready.
    """

    def __init__(self, name: str, job: msgspec.Struct) -> None:
        self._name = name
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"lossloop.app.bench.{name}"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        self._say(msgspec.json.encode(job))
        self._heard(b"ready")

    def go(self) -> None:
        """Say the word."""
        self._say(b"go")

    def report(self, kind: type[T]) -> T:
        """Wait until it is done; what it tells.

        Raises:
            ApartError: It ended without telling.
        """
        line = self._heard(b"{")
        self.close()
        return msgspec.json.decode(line, type=kind)

    def close(self) -> None:
        """End the process; closing twice is harmless."""
        self._process.kill()
        self._process.communicate()

    def _say(self, line: bytes) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + b"\n")
        self._process.stdin.flush()

    def _heard(self, begin: bytes) -> bytes:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if line.startswith(begin):
            return line
        self._process.kill()
        _, errors = self._process.communicate()
        last = errors.decode(errors="replace").strip().splitlines()[-1:]
        raise ApartError(f"the process {self._name!r} ended: {' '.join(last) or 'without a word'}")


def serve(kind: type[J], prepare: Callable[[J], Callable[[], msgspec.Struct]]) -> None:
    """The inside of such a process.

    Args:
        kind: Of the job.
        prepare: Makes ready for a job; returns what does the work and tells how it went.
    """
    work = prepare(msgspec.json.decode(sys.stdin.readline(), type=kind))
    print("ready", flush=True)
    if sys.stdin.readline():
        print(msgspec.json.encode(work()).decode(), flush=True)
