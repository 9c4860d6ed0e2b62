"""Which rows of a batch cannot be scored, and why: vectorised, so that a clean batch costs little.

A batch that does not parse as numbers (text, null, rows of different lengths) is read again value by value,
so that every bad row is named and every good one is kept.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lossloop.core.errors import InputError
from lossloop.core.records import Record
from lossloop.losses.arrays import check_outcome_shape, check_shape
from lossloop.losses.declare import TABLES, Array, Bounds, Declaration

SUM_TOLERANCE = 1e-3
"""How far class probabilities may be from a sum of 1: room for float32 and for rounding to four digits."""
BOUND_TOLERANCE = 1e-6
"""How far, relative to its size, a cost may lie beyond its bounds: room for float32."""

_MISSING = {"y_true": "the outcome is missing", "y_pred": "the prediction is missing (NaN)"}


class RowProblem(Record, frozen=True):
    """Why one row has no loss: `field` is ``y_true``, ``y_pred`` or ``loss``."""

    row: int
    field: str
    message: str


@dataclass(frozen=True)
class Examined:
    """A batch in NumPy and the problems of its rows, by row; one problem per row and field."""

    y_true: Array
    y_pred: Array
    problems: list[RowProblem]

    @property
    def good(self) -> Array:
        """A mask (n,) of the rows that can be scored."""
        mask = np.ones(len(self.y_pred), dtype=bool)
        mask[[problem.row for problem in self.problems]] = False
        return mask


def examine(declared: Declaration, y_true: Array, y_pred: Array) -> Examined:
    """Read a batch and find its bad rows.

    Raises InputError where the batch as a whole cannot be read: no rows, or numbers of rows that differ.
    """
    found = _Problems()
    table = declared.kind in TABLES
    named = declared.kind == "class" and declared.classes is None
    pred = _read(y_pred, "y_pred", table, named or declared.kind == "action", found)
    check_shape(declared, pred)
    true = None
    if y_true is not None:
        lists = declared.outcome_columns(1) is not None
        true = _read(y_true, "y_true", lists, named or declared.outcome == "any", found)
        if len(true) != len(pred):
            raise InputError(f"there are {len(true)} outcomes and {len(pred)} predictions", field="y_true")
        check_outcome_shape(declared, true, pred)
    elif declared.needs_outcome:
        raise InputError("this loss needs an outcome for every row", field="y_true")
    _check_predictions(declared, pred, found)
    if true is not None:
        _check_outcomes(declared, true, pred, found)
        _check_comparable(declared, true, pred)
    return Examined(true, pred, found.in_order())


def beyond_bounds(costs: Array, bounds: Bounds, rows: Array) -> list[RowProblem]:
    """Costs that break the loss's own promise; `rows` says which rows the costs are of."""
    low, high = bounds
    slack = BOUND_TOLERANCE * max([1.0, *(abs(bound) for bound in bounds if math.isfinite(bound))])
    wrong = ~((costs >= low - slack) & (costs <= high + slack))
    words = f"is outside the declared bounds [{low:g}, {high:g}]"
    return [
        RowProblem(row=int(rows[i]), field="loss", message=f"cost {costs[i]:g} {words}")
        for i in np.flatnonzero(wrong)
    ]


def raise_first(problems: Sequence[RowProblem]) -> None:
    """Raise InputError for the first bad row, if there is one."""
    if problems:
        first = problems[0]
        others = len({problem.row for problem in problems}) - 1
        more = f" (and {others} more bad rows)" if others else ""
        raise InputError(f"row {first.row}: {first.message}{more}", field=first.field, row=first.row)


class _Problems:
    """The first problem of each row and field."""

    def __init__(self) -> None:
        self._found: dict[tuple[int, str], str] = {}

    def add(self, row: int, field: str, message: str) -> None:
        self._found.setdefault((row, field), message)

    def add_all(self, wrong: Array, field: str, words: Iterable[str] | str) -> None:
        """Add a problem for each marked row; `words` may tell of each marked row in turn."""
        marked = np.flatnonzero(wrong)
        each = [words] * len(marked) if isinstance(words, str) else words
        for row, message in zip(marked, each, strict=False):
            self.add(int(row), field, message)

    def in_order(self) -> list[RowProblem]:
        ordered = sorted(self._found.items())
        return [RowProblem(row=row, field=field, message=message) for (row, field), message in ordered]


def _read(values: Any, field: str, table: bool, names: bool, found: _Problems) -> Array:
    """NumPy numbers of shape (n,) or (n, k); text is kept where names of classes are allowed."""
    try:
        array = np.asarray(values)
    except ValueError:  # rows of different lengths
        array = np.asarray(None)
        values = list(values)
    if array.ndim == 0 and not isinstance(values, list | tuple):
        raise InputError(f"{field} must be a list or an array, not {values!r}", field=field)
    if array.dtype.kind in "biuf" and array.ndim > 0:
        return array.reshape(0, 0) if table and array.shape == (0,) else array
    if names and array.ndim == 1 and _all_text(values):
        return np.asarray(
            ["" if value is None else str(value) for value in _noting_missing(values, field, found)]
        )
    return _read_table(values, field, found) if table else _read_column(values, field, found)


def _all_text(values: Iterable[Any]) -> bool:
    return all(value is None or isinstance(value, str) for value in values)


def _noting_missing(values: Iterable[Any], field: str, found: _Problems) -> Iterator[Any]:
    for row, value in enumerate(values):
        if value is None:
            found.add(row, field, _MISSING[field])
        yield value


def _read_column(values: Any, field: str, found: _Problems) -> Array:
    column = np.zeros(len(values))
    for row, value in enumerate(values):
        number = _number(value)
        if number is None:
            found.add(row, field, f"{_short(value)} is not a number")
        else:
            column[row] = number
    return column


def _read_table(values: Any, field: str, found: _Problems) -> Array:
    rows = [_numbers(value) for value in values]
    widths = Counter(len(row) for row in rows if row is not None)
    width = widths.most_common(1)[0][0] if widths else 0
    table = np.zeros((len(rows), width))
    for index, (row, value) in enumerate(zip(rows, values, strict=True)):
        if row is None:
            found.add(index, field, f"{_short(value)} is not a list of numbers")
        elif len(row) != width:
            found.add(index, field, f"there are {len(row)} columns where other rows have {width}")
        else:
            table[index] = row
    return table


def _number(value: object) -> float | None:
    if value is None:
        return math.nan
    return float(value) if isinstance(value, int | float | np.number | np.bool_) else None


def _numbers(value: object) -> list[float] | None:
    if not isinstance(value, list | tuple | np.ndarray):
        return None
    numbers = [_number(item) for item in value]
    return None if None in numbers else [number for number in numbers if number is not None]


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _check_predictions(declared: Declaration, pred: Array, found: _Problems) -> None:
    if pred.dtype.kind not in "biuf":
        return
    _check_finite(pred, "y_pred", found)
    if declared.kind == "probability":
        outside = _outside_unit(pred)
        words = (f"probability {value:g} is outside [0, 1]" for value in pred[outside])
        found.add_all(outside, "y_pred", words)
    elif declared.kind == "class_probabilities":
        _check_distribution(pred, found)
    elif declared.kind == "survival":
        outside = _outside_unit(pred).any(axis=1)
        found.add_all(outside, "y_pred", "a probability of surviving is outside [0, 1]")
    elif declared.kind == "class":
        _check_classes(declared.classes, pred, "y_pred", found)
    if declared.rising:
        _check_rising(pred, found)
    if declared.positive:
        found.add_all(pred <= 0, "y_pred", "the prediction must be above 0")


def _check_finite(values: Array, field: str, found: _Problems) -> None:
    """NaN and infinities; a table's row is bad if any of its columns is."""
    if np.isfinite(values).all():
        return
    columns = tuple(range(1, values.ndim))
    found.add_all(np.isnan(values).any(axis=columns), field, _MISSING[field])
    what = "outcome" if field == "y_true" else "prediction"
    found.add_all(np.isinf(values).any(axis=columns), field, f"the {what} is infinite")


def _outside_unit(values: Array) -> Array:
    return (values < 0) | (values > 1)


def _check_distribution(pred: Array, found: _Problems) -> None:
    outside = _outside_unit(pred).any(axis=1)
    found.add_all(outside, "y_pred", "a class probability is outside [0, 1]")
    with np.errstate(invalid="ignore"):  # an infinite one was named above
        sums = pred.sum(axis=1)
    wrong = np.abs(sums - 1) > SUM_TOLERANCE
    found.add_all(
        wrong, "y_pred", (f"class probabilities sum to {total:.6g}, not 1" for total in sums[wrong])
    )


def _check_rising(pred: Array, found: _Problems) -> None:
    lower = pred[:, 1:] < pred[:, :-1]
    falls = lower.any(axis=1)
    place = lower[falls].argmax(axis=1)
    steps = zip(pred[falls, place], pred[falls, place + 1], strict=True)
    words = (f"{first:g} is followed by {second:g}, which is lower" for first, second in steps)
    found.add_all(falls, "y_pred", words)


def _check_classes(classes: int | None, values: Array, field: str, found: _Problems) -> None:
    last = math.inf if classes is None else classes - 1
    low = -math.inf if classes is None else 0
    wrong = np.isfinite(values) & ~((values == np.floor(values)) & (values >= low) & (values <= last))
    allowed = "a whole number" if classes is None else f"one of the {classes} classes 0 to {last}"
    found.add_all(wrong, field, (f"class {value:g} is not {allowed}" for value in values[wrong]))


def _check_outcomes(declared: Declaration, true: Array, pred: Array, found: _Problems) -> None:
    if true.dtype.kind not in "biuf":
        return
    if declared.needs_outcome:
        _check_finite(true, "y_true", found)
    if declared.outcome == "binary":
        wrong = np.isfinite(true) & (true != 0) & (true != 1)
        found.add_all(wrong, "y_true", (f"label {value:g} is not 0 or 1" for value in true[wrong]))
    elif declared.outcome == "class":
        table = declared.kind in TABLES
        _check_classes(pred.shape[1] if table else declared.classes, true, "y_true", found)
    elif declared.outcome == "time_and_event":
        _check_survival(true, found)
    elif declared.outcome == "count":
        wrong = true < 0
        found.add_all(wrong, "y_true", (f"count {value:g} is below 0" for value in true[wrong]))


def _check_survival(true: Array, found: _Problems) -> None:
    time, event = true[:, 0], true[:, 1]
    found.add_all(time < 0, "y_true", (f"time {value:g} is below 0" for value in time[time < 0]))
    wrong = np.isfinite(event) & (event != 0) & (event != 1)
    found.add_all(wrong, "y_true", (f"event {value:g} is not 0 or 1" for value in event[wrong]))


def _check_comparable(declared: Declaration, true: Array, pred: Array) -> None:
    if declared.kind == "class" and len(pred) and (true.dtype.kind in "US") != (pred.dtype.kind in "US"):
        raise InputError(
            "outcomes and predictions must both be names of classes or both numbers", field="y_true"
        )
