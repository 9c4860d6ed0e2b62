"""What a replay of retrainings is asked, and what it answers. Times are microseconds since 1970."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from lossloop.core.clock import Micros
from lossloop.core.records import Interval, Record
from lossloop.ledger.joined.table import Rows
from lossloop.registry import Manifest

Floats = np.ndarray[Any, np.dtype[np.float64]]
Predict = Callable[[pa.Table], Floats]


@dataclass(frozen=True, kw_only=True)
class Made:
    """What a training came to."""

    manifest: Manifest
    artifact: bytes
    predict: Predict
    """Rows with the features, to predictions of shape (n,) or (n, k)."""
    cpu: float
    """CPU seconds that it took."""


Train = Callable[[pa.Table, Micros, bytes | None], Made]
"""Rows with their outcome as y_true, the moment, and the artifact to start from, to what they make."""


@dataclass(frozen=True, kw_only=True)
class Stream:
    """A model's past, in prediction order: `rows` as the ledger's columns, `asked` with the features."""

    rows: Rows
    asked: pa.Table

    def __post_init__(self) -> None:
        assert len(self.rows) == len(self.asked)

    def known_by(self, now: Micros, age: Micros) -> pa.Table:
        """What a training at that moment may see: rows of the judging age whose outcome had come."""
        wanted = (self.rows.at + age <= now) & (self.rows.labelled_at <= now) & ~_lacking(self.rows.y_true)
        labels = self.rows.y_true[wanted]
        return self.asked.filter(pa.array(wanted)).append_column("y_true", pa.array(labels.tolist()))


class Schedule(Record, frozen=True):
    """When a model is trained anew."""

    name: str
    every: int | None = None
    """Each so many blocks."""
    on_alarm: bool = False
    warm: bool = False
    """Whether a training is given the artifact of the one before."""


class Training(Record, frozen=True):
    """One training of a course."""

    at: Micros
    rows: int
    """Rows that it saw."""
    cpu: float
    why: str


class Course(Record, frozen=True):
    """What would have come of a schedule."""

    schedule: Schedule
    trainings: tuple[Training, ...]
    """Behind the first, which all schedules have."""
    loss: Interval
    """The mean over rows, its interval over blocks."""
    change: Interval
    """Less that of never, on the same rows."""
    cpu: float
    """CPU seconds of its trainings."""
    blocks: tuple[float, ...]
    """The mean loss of each block, NaN where none of its outcomes came."""
    unjudged: tuple[str, ...] = ()
    """Why watches could not judge it."""


class Replayed(Record, frozen=True):
    """Schedules side by side over the same past."""

    model: str
    loss: str
    unit: str
    since: Micros
    """When the first model took over."""
    until: Micros
    rows: int
    """Rows with an outcome that every course is charged for."""
    first: Training
    courses: tuple[Course, ...]
    notes: tuple[str, ...] = ()


def _lacking(y_true: Floats) -> np.ndarray[Any, np.dtype[np.bool_]]:
    found: np.ndarray[Any, np.dtype[np.bool_]] = np.isnan(y_true if y_true.ndim == 1 else y_true[:, 0])
    return found
