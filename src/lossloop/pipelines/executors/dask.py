"""Dask: the workers of a cluster, or threads of this process where there is none."""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Callable, Mapping
from typing import Any

from lossloop.core.errors import MissingExtra
from lossloop.pipelines.executors.base import Executor, ExecutorError, Pending, Result, Work, cores

PATIENCE = 30.0
"""Seconds that a scheduler is waited for."""
_QUIET: Mapping[str, Any] = {
    # No status pages. Pieces are large on purpose: they are sent once, to the worker that does them.
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
    "distributed.admin.large-graph-warning-threshold": "1 TB",
}


class DaskExecutor(Executor):
    """Work on a Dask cluster.

    Without an address a cluster is made of threads of this process, which nobody else can send work to: a
    scheduler on a port of its own would run whatever any user of the machine sends it.

    Args:
        address: Of a scheduler, such as ``tcp://scheduler:8786``. Its workers need this release of Lossloop.
        patience: Seconds that it is waited for.
    """

    def __init__(self, address: str | None = None, *, patience: float = PATIENCE) -> None:
        try:
            import dask
            import distributed
        except ImportError:
            raise MissingExtra("Dask", "dask") from None
        self._held = contextlib.ExitStack()
        self._settings: Callable[[], Any] = lambda: dask.config.set(_QUIET)
        try:
            with self._settings():
                self._client = self._connected(distributed, address, patience)
        except (OSError, ValueError, RuntimeError) as error:
            self._held.close()
            raise ExecutorError(
                f"no Dask scheduler answers at {address} ({error})"
                if address
                else f"Dask did not start ({error})"
            ) from error
        self.workers = max(1, sum(self._client.nthreads().values()))

    def _connected(self, distributed: Any, address: str | None, patience: float) -> Any:
        place: Any = address
        if address is None:
            scratch = self._held.enter_context(tempfile.TemporaryDirectory(prefix="lossloop-dask-"))
            place = self._held.enter_context(
                distributed.LocalCluster(
                    n_workers=1, threads_per_worker=cores(), processes=False, memory_limit=0,
                    dashboard_address="127.0.0.1:0", worker_dashboard_address="127.0.0.1:0",
                    local_directory=scratch, silence_logs=logging.ERROR,
                )
            )  # fmt: skip
        return self._held.enter_context(distributed.Client(place, set_as_default=False, timeout=patience))

    def _submit(self, function: Callable[[Work], Result], work: Work) -> Pending[Result]:
        with self._settings():
            pending: Pending[Result] = self._client.submit(function, work, pure=False)
        return pending

    def _close(self) -> None:
        self._held.close()
