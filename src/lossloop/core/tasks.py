"""What a model's task says about its labels and its predictions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import numpy as np

from lossloop.core.errors import InputError

Floats = np.ndarray[Any, np.dtype[np.float64]]
Counts = np.ndarray[Any, np.dtype[np.int64]]
Mask = np.ndarray[Any, np.dtype[np.bool_]]


class Task(StrEnum):
    """The kinds of question that a model answers."""

    BINARY = "binary"
    """y_true is 0 or 1 (or false, true); y_pred the probability of 1."""
    REGRESSION = "regression"
    """y_true and y_pred are finite numbers."""
    MULTICLASS = "multiclass"
    """y_true is a class index from 0; y_pred a list of probabilities that sum to 1."""
    VECTOR = "vector"
    """y_true and y_pred are lists of as many finite numbers."""
    RANKING = "ranking"
    """y_pred is a list of scores, one per item; y_true how relevant each of them was."""
    DISTRIBUTION = "distribution"
    """y_true is a number; y_pred a list of numbers: quantiles, an interval's ends, members of an ensemble."""
    SURVIVAL = "survival"
    """y_true is a list of two numbers: how long it was watched, from 0, and 1 where that ended with the event
    or 0 where it was censored; y_pred a list of probabilities of no event up to each of some horizons."""


MOST_CLASSES = 1000
"""Of one prediction. Rows are judged together, in a table as wide as the widest of them."""
SUM_TOLERANCE = 1e-3
"""How far the probabilities of a prediction may sum to something else than 1."""

LISTED_LABELS = frozenset({Task.VECTOR, Task.RANKING, Task.SURVIVAL})
"""Tasks whose labels are lists of numbers."""
LISTED = frozenset({Task.MULTICLASS, Task.DISTRIBUTION, *LISTED_LABELS})
"""Tasks whose predictions are lists of numbers, at most MOST_CLASSES."""

Label = float | list[float] | None


def read_label(task: Task, value: object, *, row: int | None = None) -> Label:
    """The label as a float or a list of them, None for null; raise InputError where it is of another kind."""
    if value is None:
        return None
    if task is Task.BINARY:
        if isinstance(value, bool) or (isinstance(value, (int, float)) and value in (0, 1)):
            return float(value)
        raise InputError(f"the label of a binary task is 0 or 1, not {value!r}", field="y_true", row=row)
    if task in LISTED_LABELS:
        numbers = _list(task, value, "y_true", row)
        if task is Task.SURVIVAL and not (len(numbers) == 2 and numbers[0] >= 0 and numbers[1] in (0, 1)):
            raise InputError(
                "the label of a survival task is [time, event]: a time of at least 0, and 1 for the event or "
                f"0 for none by then, not {value!r}",
                field="y_true",
                row=row,
            )
        return numbers
    number = _finite(value, "y_true", row)
    if task is Task.MULTICLASS and (number < 0 or number != int(number)):
        raise InputError(
            f"the label of a multiclass task is a class index from 0, not {value!r}", field="y_true", row=row
        )
    return number


def read_prediction(task: Task, value: object, *, row: int | None = None) -> float | list[float]:
    """The prediction as a float, or a list of them; raise InputError where it is of the wrong kind."""
    if task is Task.MULTICLASS:
        if not isinstance(value, list) or not 2 <= len(value) <= MOST_CLASSES:
            raise InputError(
                f"y_pred of a multiclass task is a list of 2 to {MOST_CLASSES} probabilities",
                field="y_pred",
                row=row,
            )
        shares = [_probability(share, row) for share in value]
        if not math.isclose(sum(shares), 1.0, abs_tol=SUM_TOLERANCE):
            raise InputError(f"the probabilities sum to {sum(shares):g}, not to 1", field="y_pred", row=row)
        return shares
    if task in LISTED:
        numbers = _list(task, value, "y_pred", row)
        return [_probability(share, row) for share in numbers] if task is Task.SURVIVAL else numbers
    return _probability(value, row) if task is Task.BINARY else _finite(value, "y_pred", row)


def labels_fit(task: Task, values: Floats) -> Mask:
    """Which labels of one number a task has, by the rules of `read_label`. Shapes (n,), (n,)."""
    fit: Mask = np.isfinite(values)
    if task is Task.BINARY:
        fit = (values == 0) | (values == 1)
    if task is Task.MULTICLASS:
        fit &= (values >= 0) & (values == np.trunc(values))
    return fit


def predictions_fit(task: Task, values: Floats) -> Mask:
    """Which predictions of one number a task has, by the rules of `read_prediction`. Shapes (n,), (n,)."""
    fit: Mask = _in_unit(values) if task is Task.BINARY else np.isfinite(values)
    return fit


def lists_fit(task: Task, numbers: Floats, lengths: Counts) -> Mask:
    """Which lists a task has as predictions, by the rules of `read_prediction`. Shape (n,).

    Args:
        task: One whose predictions are lists.
        numbers: What is in them, one list behind the other.
        lengths: How long they are. Shape (n,).
    """
    shares = task is Task.MULTICLASS
    inside = _in_unit(numbers) if shares or task is Task.SURVIVAL else np.isfinite(numbers)
    fit = _filled_lists(inside, lengths, least=2 if shares else 1, most=MOST_CLASSES)
    starts = _starts(lengths)
    if shares and len(starts):
        sums = np.add.reduceat(np.where(inside, numbers, 0.0), starts)
        fit[lengths > 0] &= np.abs(sums - 1.0) <= SUM_TOLERANCE
    return fit


def label_lists_fit(task: Task, numbers: Floats, lengths: Counts) -> Mask:
    """Which lists a task has as labels, by the rules of `read_label`; arguments as in `lists_fit`."""
    if task is not Task.SURVIVAL:
        return _filled_lists(np.isfinite(numbers), lengths, least=1, most=MOST_CLASSES)
    fit = _filled_lists(np.isfinite(numbers), lengths, least=2, most=2)
    first = (np.cumsum(lengths) - lengths)[fit]
    time, event = numbers[first], numbers[first + 1]
    fit[fit] = (time >= 0) & ((event == 0) | (event == 1))
    return fit


def _filled_lists(good: Mask, lengths: Counts, *, least: int, most: int) -> Mask:
    """Lists of an allowed length of which every number is good. Shape (n,)."""
    fit: Mask = (lengths >= least) & (lengths <= most)
    starts = _starts(lengths)
    if len(starts):
        fit[lengths > 0] &= np.logical_and.reduceat(good, starts)
    return fit


def _starts(lengths: Counts) -> Counts:
    """Where each list that is not empty begins."""
    found: Counts = (np.cumsum(lengths) - lengths)[lengths > 0]
    return found


def _in_unit(values: Floats) -> Mask:
    return (values >= 0) & (values <= 1)


def _probability(value: object, row: int | None) -> float:
    number = _finite(value, "y_pred", row)
    if not 0 <= number <= 1:
        raise InputError(f"a probability lies in [0, 1]; got {number:g}", field="y_pred", row=row)
    return number


def _list(task: Task, value: object, field: str, row: int | None) -> list[float]:
    if not isinstance(value, list) or not 1 <= len(value) <= MOST_CLASSES:
        raise InputError(
            f"{field} of a {task} task is a list of 1 to {MOST_CLASSES} numbers", field=field, row=row
        )
    return [_finite(item, field, row) for item in value]


def _finite(value: object, field: str, row: int | None) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InputError(
            f"{field} must be a number, not {_KINDS.get(type(value), type(value).__name__)}",
            field=field,
            row=row,
        )
    try:
        number = float(value)
    except OverflowError:
        number = math.inf  # a whole number beyond any float
    if not math.isfinite(number):
        raise InputError(f"{field} must be finite, not {number}", field=field, row=row)
    return number


_KINDS: Mapping[type, str] = {
    str: "text",
    bool: "true or false",
    list: "a list",
    dict: "an object",
    type(None): "null",
}
