"""Where work is done: in this process, on Dask or on Ray, behind one small contract."""

from __future__ import annotations

from lossloop.core.errors import InputError, UnknownName
from lossloop.pipelines.executors.base import Executor, ExecutorError, Pending, Piece, PieceFailed
from lossloop.pipelines.executors.dask import DaskExecutor
from lossloop.pipelines.executors.embedded import EmbeddedExecutor
from lossloop.pipelines.executors.ray import RayExecutor

EXECUTORS = ("embedded", "dask", "ray")


def open_executor(name: str = "embedded", *, address: str | None = None) -> Executor:
    """Start, or connect to, what does the work; close it when done.

    Args:
        name: One of EXECUTORS.
        address: Of a cluster that runs already; without one, Dask and Ray start on this machine.

    Raises:
        UnknownName: There is no such executor.
        InputError: The embedded one has no address.
        MissingExtra: Its library is not installed.
        ExecutorError: There is no cluster at that address, or none could be started.
    """
    if name == "embedded":
        if address is not None:
            raise InputError("the embedded executor has no address; use dask or ray", field="address")
        return EmbeddedExecutor()
    if name == "dask":
        return DaskExecutor(address)
    if name == "ray":
        return RayExecutor(address)
    raise UnknownName("executor", name, EXECUTORS, field="on")


__all__ = [
    "EXECUTORS",
    "DaskExecutor",
    "EmbeddedExecutor",
    "Executor",
    "ExecutorError",
    "Pending",
    "Piece",
    "PieceFailed",
    "RayExecutor",
    "open_executor",
]
