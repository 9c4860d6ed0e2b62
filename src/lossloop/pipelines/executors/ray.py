"""Ray: the workers of a cluster, or processes on this machine where there is none."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable
from typing import Any, Generic

from lossloop.core.errors import MissingExtra
from lossloop.pipelines.executors.base import Executor, ExecutorError, Pending, Result, Work, cores

_SHORT = "/tmp"
"""Ray's sockets lie below it, and the path of a socket has at most some hundred characters."""


class RayExecutor(Executor):
    """Work on a Ray cluster.

    A cluster that this starts listens on loopback only, and takes work from whoever has its token: this
    process. Ray reads both from the environment once, so they stay there. Where this process is connected
    to a cluster already, that one is used, and left running.

    Args:
        address: Of a cluster, such as ``ray-head:6379`` or ``auto``. Its workers need this release of
            Lossloop and this version of Python.
    """

    def __init__(self, address: str | None = None) -> None:
        _set(RAY_USAGE_STATS_ENABLED="0")
        if address is None:
            token = secrets.token_hex(32)
            _set(RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0", RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=token)
        try:
            import ray
        except ImportError:
            raise MissingExtra("Ray", "ray") from None
        self._ray: Any = ray
        self._place: str | None = None
        self._ours = not ray.is_initialized()
        if self._ours:
            self._connect(address)
        self._call = self._ray.remote(_call)
        self.workers = max(1, int(self._ray.cluster_resources().get("CPU", 1)))

    def _connect(self, address: str | None) -> None:
        quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
        try:
            if address is not None:
                self._ray.init(address=address, **quiet)
                return
            self._place = tempfile.mkdtemp(prefix="ll-ray-", dir=_SHORT if os.path.isdir(_SHORT) else None)
            self._ray.init(
                address="local", num_cpus=cores(), include_dashboard=False, _temp_dir=self._place, **quiet
            )
        except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
            self._remove()
            raise ExecutorError(
                f"no Ray cluster answers at {address} ({error})"
                if address
                else f"Ray did not start ({error})"
            ) from error

    def _submit(self, function: Callable[[Work], Result], work: Work) -> Pending[Result]:
        return _Pending(self._ray, self._call.remote(function, work))

    def _close(self) -> None:
        if self._ours:
            self._ray.shutdown()
        self._remove()

    def _remove(self) -> None:
        if self._place is not None:
            shutil.rmtree(self._place, ignore_errors=True)


class _Pending(Generic[Result]):
    """A reference to a result, asked like a future."""

    def __init__(self, ray: Any, reference: Any) -> None:
        self._ray = ray
        self._reference = reference

    def result(self) -> Result:
        try:
            found: Result = self._ray.get(self._reference)
        except self._ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, Exception):
                raise error.cause from error
            raise
        return found

    def cancel(self) -> None:
        self._ray.cancel(self._reference)


def _call(function: Callable[[Work], Result], work: Work) -> Result:
    return function(work)


def _set(**variables: str) -> None:
    for name, value in variables.items():
        os.environ.setdefault(name, value)
