"""Model runtimes by name; a version's manifest says which one runs its artifact."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from lossloop.core.errors import UnknownName
from lossloop.serve.runtimes.base import Columns, Runtime
from lossloop.serve.runtimes.onnx import OnnxRuntime

RUNTIMES: Mapping[str, Callable[[bytes], Runtime]] = {"onnx": OnnxRuntime}
EXTERNAL = "external"
"""The runtime of versions that another system serves."""


def check_name(name: str) -> None:
    """Raise UnknownName for a runtime that does not exist."""
    if name != EXTERNAL and name not in RUNTIMES:
        raise UnknownName("runtime", name, [*RUNTIMES, EXTERNAL], field="runtime")


def load(name: str, artifact: bytes) -> Runtime:
    """Load an artifact; raise UnknownName for a runtime that cannot."""
    if name not in RUNTIMES:
        raise UnknownName("runtime", name, RUNTIMES, field="runtime")
    return RUNTIMES[name](artifact)


__all__ = ["EXTERNAL", "RUNTIMES", "Columns", "Runtime", "check_name", "load"]
