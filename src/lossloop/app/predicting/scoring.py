"""A version's answers to a piece of rows: the work that is done once per piece, wherever it is done.

The same rows get the same answers on every executor: pieces are cut by the input alone. Where the rows of a
piece are asked at once and one of them makes the model raise, halves are asked until it stands alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from threading import Lock, get_ident
from typing import Any

import numpy as np
import pyarrow as pa

from lossloop.core.errors import InputError, MissingExtra
from lossloop.core.tasks import Task, read_prediction
from lossloop.registry import Manifest
from lossloop.serve import columns as rules
from lossloop.serve.runtimes import Columns, Permit, Runtime
from lossloop.serve.runtimes.base import Floats
from lossloop.serve.transforms import load_version

MOST_ALONE = 32
"""Rows that are asked alone and all fail, before it is the model and not the rows."""


@dataclass(frozen=True, kw_only=True)
class Packed:
    """A version with all that it takes to run it somewhere else."""

    name: str
    digest: str
    task: Task
    manifest: Manifest
    artifacts: Mapping[str, bytes]
    """By their digests."""
    permit: Permit | None = None
    """Shows that somebody answers for the code that it brings."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scored:
    """What a version said to the rows of a piece.

    y_pred: Shape (n,) or (n, k); what is no answer is NaN.
    bad: Why rows have no answer, by their place.
    """

    y_pred: Floats
    bad: dict[int, str] = field(default_factory=dict)


def score(columns: Columns, *, packed: Packed) -> Scored:
    """The answers to rows.

    Args:
        columns: One array of n values per feature, as runtimes take them.
        packed: The version.

    Raises:
        InputError: The version cannot be loaded, gives another number of answers, or raises whatever it is
            asked.
    """
    runtime = _RUNTIMES.get(packed)
    count = len(next(iter(columns.values())))
    asking = Asking(runtime, packed.name)
    asking.ask(columns, 0, count)
    return checked(asking.answers(count), asking.bad, packed.task)


def opened(packed: Packed) -> Runtime:
    """A version's runtime, made of what was sent along."""
    return load_version(packed.manifest, packed.artifacts.__getitem__, packed.permit)


def release() -> None:
    """Give back what was loaded in this process."""
    _RUNTIMES.release()


class Asking:
    """Asks a version for all rows at once, and for halves of them where it raises.

    `bad` says why rows have no answer, by their place.
    """

    def __init__(self, runtime: Runtime, name: str) -> None:
        self._runtime = runtime
        self._name = name
        self._parts: dict[int, Floats] = {}
        self.bad: dict[int, str] = {}

    def ask(self, columns: Columns, start: int, count: int) -> None:
        try:
            found = np.asarray(self._runtime.predict(columns), np.float64)
        except MissingExtra:
            raise
        except Exception as error:  # a model's code may raise anything; the rows that it can answer count
            if count == 1:
                self.bad[start] = f"the model raised {type(error).__name__}: {_line(error)}"
                if not self._parts and len(self.bad) >= MOST_ALONE:
                    raise InputError(f"{self._name} fails: {_line(error)}", field="model") from error
                return
            half = count // 2
            self.ask({name: values[:half] for name, values in columns.items()}, start, half)
            self.ask({name: values[half:] for name, values in columns.items()}, start + half, count - half)
            return
        if len(found) != count:
            raise InputError(f"{self._name} gave {len(found)} answers to {count} rows", field="model")
        self._parts[start] = found

    def answers(self, count: int) -> Floats:
        """All answers; NaN where there is none."""
        if len(self._parts) == 1 and not self.bad:
            return self._parts[0]
        shape = next(iter(self._parts.values())).shape[1:] if self._parts else ()
        found: Floats = np.full((count, *shape), np.nan)
        for start, part in self._parts.items():
            found[start : start + len(part)] = part
        return found


def arrow_of(y_pred: Floats) -> pa.Array:
    """Answers as the log has them: numbers, or lists of numbers."""
    if y_pred.ndim == 1:
        return pa.array(y_pred)
    offsets = np.arange(len(y_pred) + 1, dtype=np.int32) * y_pred.shape[1]
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(np.ascontiguousarray(y_pred).ravel()))


def checked(y_pred: Floats, bad: dict[int, str], task: Task) -> Scored:
    """Answers held against what the task has; what fits nothing there is bad."""
    fit = rules.outputs(arrow_of(y_pred), task).fit
    for place in np.flatnonzero(~fit).tolist():
        if place not in bad:
            bad[place] = f"the model gave no valid answer: {_problem(task, y_pred[place])}"
    return Scored(y_pred=y_pred, bad=bad)


def _problem(task: Task, value: Any) -> str:
    try:
        read_prediction(task, value.tolist())
    except InputError as error:
        return str(error)
    return "it is none"


def _line(error: Exception) -> str:
    return str(error).partition("\n")[0]


class _Runtimes:
    """What this process has loaded: by thread the last version that it was asked for.

    A runtime is asked from one thread at a time.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._held: dict[int, tuple[str, Runtime]] = {}

    def get(self, packed: Packed) -> Runtime:
        thread = get_ident()
        found = self._held.get(thread)
        if found is None or found[0] != packed.digest:
            made = opened(packed)
            with self._lock:
                self._drop(thread)
                self._held[thread] = found = (packed.digest, made)
        return found[1]

    def release(self) -> None:
        with self._lock:
            for thread in list(self._held):
                self._drop(thread)

    def _drop(self, thread: int) -> None:
        _, runtime = self._held.pop(thread, ("", None))
        close = getattr(runtime, "close", None)
        if close is not None:
            close()


_RUNTIMES = _Runtimes()
