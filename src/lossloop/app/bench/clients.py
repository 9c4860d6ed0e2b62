"""Starts the clients, and waits for what they have to tell."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import numpy as np

from lossloop.app.bench.apart import Apart
from lossloop.app.bench.load import Job, Report, Stream
from lossloop.core.errors import LossloopError
from lossloop.ledger.joined.keys import Int64


class Refused(LossloopError):
    """The server did not take what it should have taken."""


def clients(url: str, token: str, streams: Sequence[tuple[Stream, Int64]], directory: Path) -> Apart:
    """A process that has its requests ready.

    Args:
        url: Of the server.
        token: It is let in with.
        streams: What to send: each with the numbers of its rows.
        directory: For the rows' numbers, until the process has read them.
    """
    with tempfile.TemporaryDirectory(dir=directory) as folder:
        saved = []
        for place, (stream, numbers) in enumerate(streams):
            file = os.path.join(folder, f"{place}.npy")
            np.save(file, numbers)
            saved.append(msgspec.structs.replace(stream, numbers=file))
        return Apart("load", job(url, token, saved))


def job(url: str, token: str, streams: Sequence[Stream]) -> Job:
    """What the clients are given."""
    parts = urlsplit(url)
    return Job(host=parts.hostname or "", port=parts.port or 0, token=token, streams=tuple(streams))


def sent(ready: Apart) -> Report:
    """Let them send everything.

    Raises:
        ApartError: The clients could not go on to the end.
        Refused: The server refused requests, not only for now.
    """
    ready.go()
    report = ready.report(Report)
    for told in report.streams:
        failed = sum(count for status, count in told.refused.items() if status != 429)
        if failed or not told.acknowledged:
            raise Refused(f"{failed} of {told.sent} requests were refused; the first with {told.problem}")
    return report
