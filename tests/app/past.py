"""History in a state directory as the applier leaves it, cut anywhere; and an independent recount of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from lossloop.app.books import PolicyText
from lossloop.app.home import Home, init
from lossloop.core.clock import DAY
from lossloop.ledger.joined.columns import batch_of
from lossloop.ledger.joined.table import history_of
from tests.app.desk import MODEL, START, policy_text

Array = np.ndarray[Any, Any]
Columns = Mapping[str, Array]


def rows(
    y_pred: Any,
    *,
    version: Any = 1,
    role: Any = 0,
    day: Any = 0,
    time: Any = None,
) -> Columns:
    """Predictions, one after the other; a day may be given for each."""
    pred = np.asarray(y_pred, dtype=np.float64)
    count = len(pred)
    at = START + np.broadcast_to(np.asarray(day, np.int64), count) * DAY
    return {
        "key_high": np.arange(count, dtype=np.uint64),
        "key_low": np.arange(count, dtype=np.uint64),
        "version": np.broadcast_to(np.asarray(version, np.int32), count).copy(),
        "role": np.broadcast_to(np.asarray(role, np.int8), count).copy(),
        "time": at + np.arange(count) if time is None else np.asarray(time, np.int64),
        "block": at // DAY * DAY,
        "y_pred": pred,
    }


def labels(seq: Any, y_true: Any) -> Columns:
    """Outcomes as they came, by the number of their prediction, from 1."""
    true = np.asarray(y_true, dtype=np.float64)
    return {
        "seq": np.asarray(seq, np.int64),
        "y_true": true,
        "judged": true,
        "labelled_at": np.full(len(true), START, np.int64),
    }


@dataclass
class Past:
    """A state directory with a policy, to which history is written as streams."""

    home: Home
    _written: dict[str, int] = field(default_factory=dict)

    @classmethod
    def at(cls, path: Path, *, policy_watches: Any = None, **policy: Any) -> Past:
        past = cls(init(path))
        state = past.home.writable_state()
        with state.transaction():
            text = policy_text(watches=policy_watches, **policy)
            state.put("policy", MODEL, PolicyText(text=text, at=START))
            state.put("clock", "now", START + 100 * DAY)
        state.close()
        return past

    def write(self, stream: str, columns: Columns, cuts: Sequence[int] = ()) -> Past:
        """Add columns to a stream, in chunks that end at the cuts."""
        state = self.home.writable_state()
        count = len(next(iter(columns.values())))
        borders = [0, *sorted({cut for cut in cuts if 0 < cut < count}), count]
        first = self._written.get(stream, 0)
        with state.transaction():
            for start, end in pairwise(borders):
                part = {name: values[start:end] for name, values in columns.items()}
                if end > start:
                    state.put_chunk(stream, first + start, batch_of(part))
        state.close()
        self._written[stream] = first + count
        return self

    def predicted(self, columns: Columns, cuts: Sequence[int] = ()) -> Past:
        return self.write(f"rows/{MODEL}", columns, cuts)

    def told(self, columns: Columns, cuts: Sequence[int] = ()) -> Past:
        return self.write(f"labels/{MODEL}", columns, cuts)

    def imported(self, predicted: Columns, told: Columns) -> Past:
        self.write(f"rows/{history_of(MODEL)}", predicted)
        return self.write(f"labels/{history_of(MODEL)}", told)

    def clear(self) -> Past:
        """Forget all history."""
        state = self.home.writable_state()
        with state.transaction():
            for stream in self._written:
                state.drop_stream(stream)
        state.close()
        self._written.clear()
        return self


@dataclass
class Count:
    """What was counted of a group, one row at a time."""

    rows: int = 0
    costs: list[float] = field(default_factory=list)

    @property
    def mean(self) -> float | None:
        return math.fsum(self.costs) / len(self.costs) if self.costs else None


def recount(
    predicted: Columns, told: Columns, *, since: int | None = None, until: int | None = None
) -> dict[tuple[int, int], Count]:
    """The Brier score by version and role, counted anew without any of the code that is tested."""
    outcome = dict(zip(told["seq"].tolist(), told["y_true"].tolist(), strict=True))
    found: dict[tuple[int, int], Count] = {}
    for place, (version, role, time, p) in enumerate(
        zip(*(predicted[name].tolist() for name in ("version", "role", "time", "y_pred")), strict=True)
    ):
        if (since is not None and time < since) or (until is not None and time >= until):
            continue
        count = found.setdefault((version, role), Count())
        count.rows += 1
        y = outcome.get(place + 1, math.nan)
        if not math.isnan(y):
            count.costs.append((p - y) ** 2)
    return found
