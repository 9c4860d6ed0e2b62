"""Which sums go with a task, and what of a prediction and its outcome goes into them. Pure."""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np
import numpy.typing as npt

from lossloop.core.errors import InputError
from lossloop.core.tasks import MOST_CLASSES, Task, labels_fit, predictions_fit
from lossloop.ledger.joined.columns import Floats
from lossloop.summaries import Confusion, Lifetimes, Residuals, Scores
from lossloop.summaries.residuals import MOST

Sums: TypeAlias = Scores | Confusion | Residuals | Lifetimes

_EMPTY: dict[Task, Sums] = {
    Task.MULTICLASS: Confusion(),
    Task.REGRESSION: Residuals(),
    Task.SURVIVAL: Lifetimes(),
}
_LIMITS = {"r2": (-np.inf, 1.0), "miscalibration": (-np.inf, 1.0), "bias": (-np.inf, np.inf)}
RAISED_BY_CHANCE = frozenset({"calibration_error"})
"""Metrics that lie above the truth the more the fewer rows there are: an interval would not hold it."""
_SIZES = frozenset({"mae", "rmse", "wape"})


class Measured(NamedTuple):
    """What of n rows goes into sums."""

    values: Floats
    """Shape (n, c); what stands in rows that do not fit does not matter."""
    fits: npt.NDArray[np.bool_]
    """Shape (n,): rows that can be summed up."""


def empty_sums(task: Task, threshold: float) -> Sums:
    """The sums of no rows.

    Raises:
        InputError: The task has no such metrics, or the threshold is not between 0 and 1.
    """
    if task is Task.BINARY:
        return Scores(threshold=threshold)
    if task not in _EMPTY:
        raise InputError(
            f"a {task} task has no metrics but its losses; see: lossloop loss recompute", field="model"
        )
    return _EMPTY[task]


def measured(task: Task, y_true: Floats, y_pred: Floats) -> Measured:
    """What outcomes and predictions of a task put into its sums; rows without either do not fit."""
    true, pred = _as_numbers(task, y_true, y_pred)
    if task is Task.SURVIVAL:
        time, event = true.T
        fits = (time >= 0) & np.isfinite(time) & ((event == 0) | (event == 1)) & (pred >= 0) & (pred <= 1)
        return Measured(np.column_stack((time, event, pred)), fits)
    fits = labels_fit(task, true) & ~np.isnan(pred)
    if task is Task.REGRESSION:
        fits &= (np.abs(true) <= MOST) & (np.abs(pred) <= MOST)
    elif task is Task.MULTICLASS:
        fits &= true < MOST_CLASSES
    else:
        fits &= predictions_fit(task, pred)
    return Measured(np.column_stack((true, pred)), fits)


def _as_numbers(task: Task, y_true: Floats, y_pred: Floats) -> tuple[Floats, Floats]:
    """Outcomes as (n,), of survival as (n, 2); predictions as (n,): a class, a risk, or as they are."""
    true: Any = y_true
    if task is Task.SURVIVAL and true.ndim == 1:
        true = np.full((len(true), 2), np.nan)
    if y_pred.ndim == 1:
        return true, y_pred if task in (Task.BINARY, Task.REGRESSION) else np.full(len(y_pred), np.nan)
    there = ~np.isnan(y_pred)
    none = ~there.any(axis=1)
    if task is Task.MULTICLASS:
        found = np.where(there, y_pred, -1.0).argmax(axis=1).astype(np.float64)
    else:  # what is left at the last horizon is the chance of no event, so the rest of it is the risk
        found = 1.0 - y_pred[np.arange(len(y_pred)), np.maximum(there.sum(axis=1) - 1, 0)]
    return true, np.where(none, np.nan, found)


def limits(name: str) -> tuple[float, float]:
    """Between which values a metric lies."""
    return _LIMITS.get(name, (0.0, np.inf) if name in _SIZES else (0.0, 1.0))
