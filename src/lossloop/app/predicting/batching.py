"""A batch from its order to its report."""

from __future__ import annotations

import contextlib

from lossloop.app.home import Home
from lossloop.app.predicting.asking import Order, begun
from lossloop.app.predicting.progress import Batch, Folder
from lossloop.app.predicting.running import Report, Running, Tell
from lossloop.app.predicting.scoring import release
from lossloop.core.clock import Clock, SystemClock
from lossloop.ledger.base import LogWriter
from lossloop.pipelines.executors import Executor


def predict_batch(
    home: Home,
    order: Order,
    writer: LogWriter,
    executor: Executor,
    *,
    clock: Clock | None = None,
    tell: Tell = lambda rows, place, share: None,
) -> Report:
    """Answer the rows of files; the same order again goes on where it was, and does nothing once it is done.

    Raises:
        InputError: An input cannot be read or the output not be written.
        Conflict: Nobody can answer.
        InUse: Another process works at the same batch.
        StorageFull: The disk takes no more.
    """
    clock = clock or SystemClock()
    order.output.check()
    fresh, asked = begun(home, order, now=clock.now())
    with contextlib.closing(Folder(home, fresh.id)) as folder:
        batch = folder.read()
        if batch is not None and batch.finished:
            if order.output.is_there():
                return Report(batch=batch, before=batch.rows)
            batch = None
        if batch is None:
            folder.clear()
            batch = fresh
            folder.write(batch)
        try:
            return Running(home, folder, asked, batch, writer, clock=clock, tell=tell).run(
                order.inputs, order.output, executor
            )
        finally:
            release()


__all__ = ["Batch", "predict_batch"]
