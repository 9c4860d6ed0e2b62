"""What a model's task says about its labels and its predictions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import StrEnum

from lossloop.core.errors import InputError


class Task(StrEnum):
    """The kinds of question that a model answers."""

    BINARY = "binary"
    """y_true is 0 or 1 (or false, true); y_pred the probability of 1."""
    REGRESSION = "regression"
    """y_true and y_pred are finite numbers."""
    MULTICLASS = "multiclass"
    """y_true is a class index from 0; y_pred a list of probabilities that sum to 1."""


MOST_CLASSES = 1000
"""Of one prediction. Rows are judged together, in a table as wide as the widest of them."""

Label = float | None


def read_label(task: Task, value: object, *, row: int | None = None) -> Label:
    """The label as a float, None where it is null; raise InputError where it is of the wrong kind."""
    if value is None:
        return None
    if task is Task.BINARY:
        if isinstance(value, bool) or (isinstance(value, (int, float)) and value in (0, 1)):
            return float(value)
        raise InputError(f"the label of a binary task is 0 or 1, not {value!r}", field="y_true", row=row)
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
        if not math.isclose(sum(shares), 1.0, abs_tol=1e-3):
            raise InputError(f"the probabilities sum to {sum(shares):g}, not to 1", field="y_pred", row=row)
        return shares
    return _probability(value, row) if task is Task.BINARY else _finite(value, "y_pred", row)


def _probability(value: object, row: int | None) -> float:
    number = _finite(value, "y_pred", row)
    if not 0 <= number <= 1:
        raise InputError(f"a probability lies in [0, 1]; got {number:g}", field="y_pred", row=row)
    return number


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
