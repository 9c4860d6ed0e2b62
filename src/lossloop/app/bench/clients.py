"""Starts the clients, and waits for what they have to tell."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import numpy as np

from lossloop.app.bench.load import Job, Report, Stream
from lossloop.core.errors import LossloopError
from lossloop.ledger.keys import Int64


class LoadError(LossloopError):
    """The clients came to no end."""


class Clients:
    """A process that has its requests ready.

    Args:
        url: Of the server.
        token: It is let in with.
        streams: What to send: each with the numbers of its rows.
        directory: For the rows' numbers, until the process has read them.
    """

    def __init__(
        self, url: str, token: str, streams: Sequence[tuple[Stream, Int64]], directory: Path
    ) -> None:
        with tempfile.TemporaryDirectory(dir=directory) as folder:
            saved = []
            for place, (stream, numbers) in enumerate(streams):
                file = os.path.join(folder, f"{place}.npy")
                np.save(file, numbers)
                saved.append(msgspec.structs.replace(stream, numbers=file))
            parts = urlsplit(url)
            job = Job(host=parts.hostname or "", port=parts.port or 0, token=token, streams=tuple(saved))
            self._process = subprocess.Popen(
                [sys.executable, "-m", "lossloop.app.bench", "load"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            )  # fmt: skip
            self._say(msgspec.json.encode(job))
            self._heard(b"ready")

    def go(self) -> Report:
        """Send everything.

        Raises:
            LoadError: The clients could not go on to the end.
        """
        self._say(b"go")
        report = msgspec.json.decode(self._heard(b"{"), type=Report)
        self.close()
        return report

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
        if not line.startswith(begin):
            self._process.kill()
            _, errors = self._process.communicate()
            last = errors.decode(errors="replace").strip().splitlines()[-1:]
            raise LoadError(f"the clients ended: {' '.join(last) or 'without a word'}")
        return line


def send(url: str, token: str, streams: Sequence[tuple[Stream, Int64]], directory: Path) -> Report:
    """Prepare and send; what was refused is an error, told in the server's words.

    Raises:
        LoadError: The server refused requests, or the clients could not go on.
    """
    report = Clients(url, token, streams, directory).go()
    check(report)
    return report


def check(report: Report) -> None:
    """Raise LoadError where nothing at all was acknowledged of a stream, or where the server failed."""
    for told in report.streams:
        failed = sum(count for status, count in told.refused.items() if status != 429)
        if failed or not told.acknowledged:
            raise LoadError(f"{failed} of {told.sent} requests were refused; the first with {told.problem}")
