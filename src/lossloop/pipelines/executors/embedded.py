"""Threads of this process: nothing is copied, and NumPy computes on all cores at once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from lossloop.pipelines.executors.base import Executor, Pending, Result, Work, cores


class EmbeddedExecutor(Executor):
    """Work in threads.

    Args:
        workers: How many; one per core if left out.
    """

    def __init__(self, workers: int | None = None) -> None:
        self.workers = workers or cores()
        self._pool = ThreadPoolExecutor(self.workers, thread_name_prefix="lossloop-work")

    def _submit(self, function: Callable[[Work], Result], work: Work) -> Pending[Result]:
        return self._pool.submit(function, work)

    def _close(self) -> None:
        self._pool.shutdown(cancel_futures=True)
