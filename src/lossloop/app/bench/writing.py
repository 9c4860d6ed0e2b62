"""A writer apart: it appends prepared frames to a log, each by itself, as a server does for a request."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from lossloop.app.bench import rows
from lossloop.app.bench.apart import serve
from lossloop.app.home import Home
from lossloop.core.clock import SystemClock
from lossloop.core.records import Record
from lossloop.ledger.frames import Frame, Kind


class Job(Record, frozen=True):
    """Predictions to append: `batches` times `size`, numbered from `first`."""

    state: str
    first: int
    size: int
    batches: int


class Report(Record, frozen=True):
    """How long that took."""

    seconds: float


def prepare(job: Job) -> Callable[[], Report]:
    """Make the frames and open the log."""
    now = SystemClock().now()
    starts = range(job.first, job.first + job.batches * job.size, job.size)
    batches = [rows.predicted(np.arange(start, start + job.size), now) for start in starts]
    writer = Home(path=Path(job.state)).log.writer()
    writer.append([])

    def work() -> Report:
        begin = time.perf_counter()
        for batch in batches:
            writer.append([Frame(kind=Kind.PREDICTION, time=SystemClock().now(), batch=batch)])
        seconds = time.perf_counter() - begin
        writer.close()
        return Report(seconds=seconds)

    return work


if __name__ == "__main__":
    serve(Job, prepare)
