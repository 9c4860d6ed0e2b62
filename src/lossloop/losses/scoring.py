"""Costs of a batch in NumPy: of the rows that have one, or of all of them or an error."""

from __future__ import annotations

import numpy as np

from lossloop.core.errors import InputError
from lossloop.losses.arrays import pick, prepare
from lossloop.losses.declare import Array, Features
from lossloop.losses.definition import Body
from lossloop.losses.rows import Examined, RowProblem, beyond_bounds, examine, raise_first


def score(body: Body, y_true: Array, y_pred: Array, features: Features | None) -> Array:
    """Costs (n,) of a clean batch; InputError names the first row that is not."""
    batch, columns = read_batch(body, y_true, y_pred, features)
    raise_first(batch.problems)
    costs = body.costs(*prepare(body.declared, batch.y_true, batch.y_pred), columns)
    raise_first(beyond_bounds(costs, body.declared.bounds, np.arange(len(costs))))
    return costs


def score_rows(
    body: Body, y_true: Array, y_pred: Array, features: Features | None
) -> tuple[Array, list[RowProblem]]:
    """Costs float64 (n,), NaN where a row has none, and the problems in the order of the rows."""
    batch, columns = read_batch(body, y_true, y_pred, features)
    if not batch.problems:
        return _of_clean(body, batch, columns)
    index = np.flatnonzero(batch.good)
    costs = np.full(len(batch.y_pred), np.nan)
    if not len(index):
        return costs, batch.problems
    true = None if batch.y_true is None else batch.y_true[index]
    inputs = prepare(body.declared, true, batch.y_pred[index])
    costs[index] = body.costs(*inputs, None if columns is None else pick(columns, index))
    beyond = beyond_bounds(costs[index], body.declared.bounds, index)
    costs[[problem.row for problem in beyond]] = np.nan
    return costs, sorted([*batch.problems, *beyond], key=lambda problem: problem.row)


def _of_clean(body: Body, batch: Examined, columns: Features | None) -> tuple[Array, list[RowProblem]]:
    """The same of a batch without a bad row: most are."""
    inputs = prepare(body.declared, batch.y_true, batch.y_pred)
    costs = np.array(body.costs(*inputs, columns), dtype=np.float64)
    beyond = beyond_bounds(costs, body.declared.bounds, np.arange(len(costs)))
    costs[[problem.row for problem in beyond]] = np.nan
    return costs, beyond


def read_batch(
    body: Body, y_true: Array, y_pred: Array, features: Features | None
) -> tuple[Examined, Features | None]:
    """The batch examined, and its feature columns in NumPy; InputError where it does not hang together."""
    batch = examine(body.declared, y_true, y_pred)
    check_features(body, features)
    columns = None if features is None else {name: _column(name, each) for name, each in features.items()}
    rows = len(batch.y_pred)
    for name, column in (columns or {}).items():
        if column.shape[:1] != (rows,):
            raise InputError(f"feature {name} must have {rows} rows, as y_pred has", field=f"features.{name}")
    return batch, columns


def _column(name: str, column: Array) -> Array:
    try:
        return np.asarray(column)
    except (ValueError, OverflowError):
        raise InputError(f"feature {name} must be a list of plain values", field=f"features.{name}") from None


def check_features(body: Body, features: Features | None) -> None:
    """Raise InputError where features are needed and not given."""
    if body.declared.needs_features and features is None:
        raise InputError(f"{body.text} needs features: columns by name", field="features")
