"""Recording: predictions that another system made, and what happened, from a batch to columns of the log."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from lossloop.core.errors import InputError
from lossloop.core.tasks import Mask, Task
from lossloop.serve import columns
from lossloop.serve.batch import ABSENT, Batch, Columns, Rows
from lossloop.serve.columns import Checked, Column
from lossloop.serve.ids import new_ids
from lossloop.serve.reading import check_first, twice
from lossloop.serve.rowwise import Terms, encoded, read_happened, read_recorded

FEW = 16
"""Rows up to which a batch is read row by row: looking at columns costs as much as so many rows."""

Reader = Callable[[Any, int, Terms], dict[str, Any]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Taken:
    """What is to be logged of a batch, and what could not be taken.

    `ids` has the id of each row, None for one that was not taken; it is None where the sender knows them all.
    """

    count: int
    facts: Mapping[str, list[Any] | pa.Array]
    """Columns of the log, each of `count` values."""
    problems: list[InputError]
    ids: list[str | None] | None = None


def take_predictions(batch: Batch, terms: Terms) -> Taken:
    """Check predictions that another system made."""
    if isinstance(batch, Rows):
        if batch.count <= FEW:
            return _few(batch, terms, read_recorded, makes_ids=True)
        batch = batch.by_column()
    sent = batch.columns
    ids, made = _ids(sent.get("id"), batch.count)
    errors = columns.texts(sent["error"]) if "error" in sent else None
    checked = {
        "id": ids,
        "version": columns.versions(sent["version"], terms.known),
        "y_pred": _answers(sent["y_pred"], terms.traffic.task, errors),
        "time": _times(sent.get("time"), batch.count, terms),
        **{name: check(sent[name]) for name, check in _OPTIONAL.items() if name in sent},
    }
    if errors is not None:
        checked["error"] = errors
    fit, problems = _judge(batch, terms, checked, read_recorded)
    shown = None
    if made:
        shown = [
            id if taken else None for id, taken in zip(ids.values.to_pylist(), fit.tolist(), strict=True)
        ]
    return _taken(checked, fit, problems, shown)


def take_outcomes(batch: Batch, terms: Terms) -> Taken:
    """Check what happened."""
    if isinstance(batch, Rows):
        if batch.count <= FEW:
            return _few(batch, terms, read_happened, makes_ids=False)
        batch = batch.by_column()
    sent = batch.columns
    ids = columns.texts(sent["id"])
    labels = columns.labels(sent["y_true"], terms.traffic.task)
    checked = {
        "id": Checked(ids.values, ids.fit & columns.filled(ids.values)),
        "y_true": labels,
        "time": _times(sent.get("time"), batch.count, terms),
    }
    if "reason" in sent:
        reasons = columns.texts(sent["reason"])
        alone = ~(columns.filled(reasons.values) & columns.filled(labels.values))
        checked["reason"] = Checked(reasons.values, reasons.fit & alone)
    return _taken(checked, *_judge(batch, terms, checked, read_happened), None)


# Row by row.


def _few(batch: Rows, terms: Terms, read: Reader, *, makes_ids: bool) -> Taken:
    rows: list[dict[str, Any]] = []
    problems: list[InputError] = []
    ids: list[str | None] = []
    seen: set[str] = set()
    for place, row in enumerate(batch.rows):
        try:
            check_first(row, place, seen)
            rows.append(read(row, place, terms))
            ids.append(rows[-1]["id"])
        except InputError as error:
            problems.append(error)
            ids.append(None)
    facts = {name: [row[name] for row in rows] for name in rows[0]} if rows else {}
    made = makes_ids and any(not isinstance(row, dict) or row.get("id") is None for row in batch.rows)
    return Taken(count=len(rows), facts=facts, problems=problems, ids=ids if made else None)


# By column.


def _features(column: Column) -> Checked:
    """Features as one struct, or as JSON texts; null where there are none."""
    if isinstance(column, list):
        fit = [value is None or isinstance(value, dict) for value in column]
        texts = [encoded(value).decode() if isinstance(value, dict) else None for value in column]
        return Checked(pa.array(texts, pa.string()), np.array(fit))
    if not pa.types.is_string(column.type):
        return Checked(column, columns.all_of(len(column)))
    return Checked(column, np.array([value is None or _is_object(value) for value in column.to_pylist()]))


def _answers(column: Column, task: Task, errors: Checked | None) -> Checked:
    """What was predicted, null where that failed."""
    if errors is None:
        return columns.outputs(column, task)
    if isinstance(column, list):  # a row that failed may not have the key at all
        column = [None if value is ABSENT else value for value in column]
    return columns.answers(column, task, errors.values)


_OBJECT = msgspec.json.Decoder(dict[str, Any])
_OPTIONAL: Mapping[str, Callable[[Column], Checked]] = {
    "unit": columns.texts,
    "role": columns.roles,
    "propensity": columns.propensities,
    "features": _features,
    "latency_ms": columns.latencies,
}


def _is_object(value: str) -> bool:
    try:
        _OBJECT.decode(value)
    except (msgspec.MsgspecError, RecursionError):
        return False
    return True


def _ids(column: Column | None, count: int) -> tuple[Checked, bool]:
    """Ids, made where there is none, and whether any was made."""
    if column is None:
        return Checked(pa.array(new_ids(count), pa.string()), columns.all_of(count)), True
    found = columns.texts(column)
    if not found.values.null_count:
        return found, False
    made = iter(new_ids(found.values.null_count))
    filled = [next(made) if id is None else id for id in found.values.to_pylist()]
    return Checked(pa.array(filled, pa.string()), found.fit), True


def _times(column: Column | None, count: int, terms: Terms) -> Checked:
    if column is None:
        return Checked(columns.at(np.full(count, terms.now, np.int64)), columns.all_of(count))
    return columns.moments(column, now=terms.now, replays=terms.replays)


def _judge(
    batch: Columns, terms: Terms, checked: Mapping[str, Checked], read: Reader
) -> tuple[Mask, list[InputError]]:
    """Which rows are taken, and what is wrong with the others."""
    ids = checked["id"].values
    again = columns.repeated(ids)
    fit = batch.shaped & ~again
    for each in checked.values():
        fit = fit & each.fit
    if fit.all():
        return fit, []
    problems = []
    for row in np.flatnonzero(~fit).tolist():
        repeats = batch.shaped[row] and again[row]
        problems.append(
            twice(ids[row].as_py(), row) if repeats else _worded(batch.row(row), row, terms, read)
        )
    return fit, problems


def _worded(row: Any, place: int, terms: Terms, read: Reader) -> InputError:
    try:
        read(row, place, terms)
    except InputError as error:
        return error
    return InputError("this row cannot be taken", row=place)  # the rules for columns and for rows differ here


def _taken(
    checked: Mapping[str, Checked], fit: Mask, problems: list[InputError], ids: list[str | None] | None
) -> Taken:
    values = {name: each.values for name, each in checked.items()}
    if problems:
        kept = pa.array(fit)
        values = {name: column.filter(kept) for name, column in values.items()}
    return Taken(count=len(fit) - len(problems), facts=values, problems=problems, ids=ids)
