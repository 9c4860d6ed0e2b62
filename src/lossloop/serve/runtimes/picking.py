"""One column of a model's answers, where the manifest chooses one."""

from __future__ import annotations

from lossloop.core.errors import InputError
from lossloop.serve.runtimes.base import Columns, Floats, Runtime


class Picked:
    """A runtime of which one column counts."""

    def __init__(self, runtime: Runtime, column: int) -> None:
        self.native = runtime.native
        self._runtime = runtime
        self._column = column

    def predict(self, columns: Columns) -> Floats:
        found = self._runtime.predict(columns)
        count = found.shape[1] if found.ndim == 2 else 1
        if self._column >= count:
            raise InputError(
                f"the model answers with {count} columns; there is no column {self._column}",
                field="options.column",
            )
        return found[:, self._column] if found.ndim == 2 else found


def picked(runtime: Runtime, column: int | None) -> Runtime:
    """The runtime itself, or one column of what it answers."""
    return runtime if column is None else Picked(runtime, column)
