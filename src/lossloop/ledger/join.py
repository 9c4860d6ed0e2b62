"""The join: predictions and outcomes meet by (model, id), in either order, any number of times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from lossloop.core.calendar import Block, Calendar, Int64
from lossloop.core.clock import Micros
from lossloop.ledger.facts import micros
from lossloop.ledger.state import Row, State

Floats = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Rows:
    """Predictions by column, in prediction order. Arrays of n; `y_pred` (n,) or (n, classes)."""

    seq: Int64
    version: Int64
    role: Sequence[str]
    propensity: Floats
    at: Int64
    block: Int64
    unit: Sequence[str | None]
    y_pred: Floats
    shadow_version: Int64
    """0 where there was no shadow."""
    shadow_y_pred: Floats
    """NaN where there was no shadow."""
    y_true: Floats
    """NaN where there is no outcome."""
    labelled_at: Int64

    def __len__(self) -> int:
        return len(self.seq)

    def labels_by(self, age: Micros) -> Floats:
        """y_true as it was known when each prediction had this age; NaN where it was not."""
        return np.where(self.labelled_at <= self.at + age, self.y_true, np.nan)


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """A prediction whose outcome came or was corrected; None for no outcome."""

    version: int
    role: str
    block: Block
    y_pred: float | list[float]
    before: float | None
    after: float | None


@dataclass(kw_only=True, slots=True)
class Taken:
    """What a batch of facts did to the state."""

    predictions: int = 0
    outcomes: int = 0
    waiting: int = 0
    repeats: int = 0
    conflicts: list[str] = field(default_factory=list)
    """Ids that came again with other content; the first one stands."""
    arrived: list[tuple[int, str, Block]] = field(default_factory=list)
    """(version, role, block) of each new prediction."""
    changes: list[Change] = field(default_factory=list)


def take_predictions(
    state: State, batch: pa.RecordBatch, *, model: str, at: Int64, calendar: Calendar
) -> Taken:
    """Insert new predictions and join the outcomes that waited for them."""
    taken = Taken()
    blocks = calendar.blocks(at)
    for row in _insertable(batch, model, at, blocks):
        if state.run("insert_prediction", *row):
            taken.predictions += 1
            taken.arrived.append((row[2], row[3], row[7]))
            _join_waiting(state, model, row[1], taken)
        else:
            _repeat(state, row, taken)
    return taken


def _insertable(batch: pa.RecordBatch, model: str, at: Int64, blocks: Int64) -> list[Row]:
    column = {name: batch.column(name).to_pylist() for name in _PLAIN}
    times = micros(batch.column("time")).tolist()
    versions, shadows = _storable(column["y_pred"]), _storable(column["shadow_y_pred"])
    rows = zip(column["id"], column["version"], column["role"], column["propensity"], times, at.tolist(),
               blocks.tolist(), column["unit"], versions, column["shadow_version"], shadows,
               column["content"], strict=True)  # fmt: skip
    return [(model, *row) for row in rows]


_PLAIN = (
    "id",
    "version",
    "role",
    "propensity",
    "unit",
    "y_pred",
    "shadow_version",
    "shadow_y_pred",
    "content",
)


def _storable(values: list[Any]) -> list[Any]:
    return [msgspec.json.encode(value).decode() if isinstance(value, list) else value for value in values]


def _join_waiting(state: State, model: str, id: str, taken: Taken) -> None:
    waited = state.row("find_waiting", model, id)
    if waited is not None:
        state.run("stop_waiting", model, id)
        _join(state, model, id, waited[0], waited[1], taken)


def _repeat(state: State, row: Row, taken: Taken) -> None:
    found = state.row("find_prediction", row[0], row[1])
    if found is not None and found[8] != row[12]:
        taken.conflicts.append(row[1])
    else:
        taken.repeats += 1


def take_outcomes(state: State, batch: pa.RecordBatch, *, model: str, at: Int64) -> Taken:
    """Join outcomes; those whose prediction is not there yet wait for it."""
    taken = Taken()
    ids, labels = batch.column("id").to_pylist(), batch.column("y_true").to_pylist()
    for id, y_true, moment in zip(ids, labels, at.tolist(), strict=True):
        if _join(state, model, id, y_true, moment, taken):
            continue
        if state.run("keep_waiting", model, id, y_true, moment):
            taken.waiting += 1
        else:
            taken.repeats += 1
    return taken


def _join(state: State, model: str, id: str, y_true: float | None, moment: Micros, taken: Taken) -> bool:
    found = state.row("find_prediction", model, id)
    if found is None:
        return False
    seq, version, role, y_pred, before, labelled_at, block = (found[i] for i in (0, 1, 2, 7, 9, 10, 11))
    if labelled_at is not None and before == y_true:
        taken.repeats += 1
        return True
    # A correction keeps the time of the first outcome: the prediction was labelled since then.
    state.run("set_outcome", seq, y_true, moment if labelled_at is None else labelled_at)
    taken.outcomes += 1
    taken.changes.append(
        Change(version=version, role=role, block=block, y_pred=_number(y_pred), before=before, after=y_true)
    )
    return True


def matured(
    state: State, *, model: str, after: int, since: Micros, until: Micros, most: int = 100_000
) -> Rows:
    """Rows behind seq `after` that came from `since` to `until`, in prediction order."""
    return columns(state.rows("rows_matured", model, after, since, until, most))


def block_rows(state: State, *, model: str, block: Block) -> Rows:
    """All rows of a block, in prediction order."""
    return columns(state.rows("rows_of_block", model, block))


def columns(rows: Sequence[Row]) -> Rows:
    """Turn rows of the queries rows_matured and rows_of_block into columns."""
    by_name = list(zip(*rows, strict=True)) if rows else [()] * 12
    seq, version, role, propensity, at, block, unit, y_pred, shadow, shadow_pred, y_true, labelled = by_name
    return Rows(
        seq=np.array(seq, np.int64),
        version=np.array(version, np.int64),
        role=role,
        propensity=np.array(propensity, np.float64),
        at=np.array(at, np.int64),
        block=np.array(block, np.int64),
        unit=unit,
        y_pred=numbers([_number(value) for value in y_pred]),
        shadow_version=np.array([number or 0 for number in shadow], np.int64),
        shadow_y_pred=numbers([_number(value) for value in shadow_pred]),
        y_true=np.array(y_true, np.float64),
        labelled_at=np.array([_NEVER if moment is None else moment for moment in labelled], np.int64),
    )


_NEVER = np.iinfo(np.int64).max


def _number(stored: Any) -> Any:
    return msgspec.json.decode(stored, type=list[float]) if isinstance(stored, str) else stored


def numbers(values: Sequence[float | list[float] | None]) -> Floats:
    """Numbers as (n,), lists of them as (n, longest): NaN where there is none."""
    width = max((len(value) for value in values if isinstance(value, list)), default=0)
    if not width:
        return np.array(values, np.float64)
    found = np.full((len(values), width), np.nan)
    for row, value in enumerate(values):
        if isinstance(value, list):
            found[row, : len(value)] = value
    return found
