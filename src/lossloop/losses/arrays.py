"""Arrays of any library: as the functions of this folder want them, and from margin to prediction.

Labels of two classes become booleans and classes become 64-bit integers; numbers take the predictions' type.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from array_api_compat import array_namespace, is_array_api_obj

from lossloop.core.errors import InputError
from lossloop.losses.declare import TABLES, Array, Declaration, Features, Link, Outcome

_SHAPES = {1: "(n,), one number per row", 2: "(n, k), one column per class, quantile or item"}


def is_eager(*values: object) -> bool:
    """Whether all are NumPy arrays or plain sequences, whose values can be looked at without cost."""
    return all(
        value is None or isinstance(value, np.ndarray) or not is_array_api_obj(value) for value in values
    )


def prepare(declared: Declaration, y_true: Array, y_pred: Array) -> tuple[Array, Array]:
    """Outcomes (None where there are none) and predictions of the declared shapes and types.

    Raises InputError where shapes do not fit; values are not looked at.
    """
    pred = y_pred if is_array_api_obj(y_pred) else np.asarray(y_pred)
    check_shape(declared, pred)
    if declared.kind == "class":
        pred = _integers(pred)
    elif declared.kind != "set":
        pred = _floats(pred)
    return prepare_outcomes(declared, y_true, pred), pred


def prepare_outcomes(declared: Declaration, y_true: Array, like: Array) -> Array:
    """Outcomes in the library of `like`, as many as it has rows."""
    if y_true is None:
        if declared.needs_outcome:
            raise InputError("this loss needs an outcome for every row", field="y_true")
        return None
    true = _in_library_of(like, y_true)
    check_outcome_shape(declared, true, like)
    return _typed(declared.outcome, true, like)


def check_shape(declared: Declaration, pred: Array) -> None:
    """Raise InputError where predictions have not the shape of their kind."""
    wanted = 2 if declared.kind in TABLES else 1
    fits = pred.ndim >= 1 if declared.kind == "action" else pred.ndim == wanted
    if not fits:
        words = f"y_pred has shape {tuple(pred.shape)}; for {declared.kind.replace('_', ' ')} it must have"
        raise InputError(f"{words} {_SHAPES[wanted]}", field="y_pred")
    if wanted == 2 and declared.classes not in (None, pred.shape[1]):
        raise InputError(
            f"y_pred has {pred.shape[1]} columns; there must be {declared.classes}", field="y_pred"
        )


def check_outcome_shape(declared: Declaration, true: Array, like: Array) -> None:
    """Raise InputError unless there is an outcome for each row, of as many columns as the loss declares."""
    columns = declared.outcome_columns(like.shape[1]) if like.ndim == 2 else None
    expected = (like.shape[0],) if columns is None else (like.shape[0], columns)
    if tuple(true.shape) != expected:
        raise InputError(f"y_true has shape {tuple(true.shape)}; it must have {expected}", field="y_true")


def from_margin(link: Link, margin: Array) -> Array:
    """Predictions from raw margins of shape (n,), or (n, k) for softmax; never overflows below 1."""
    xp = array_namespace(margin)
    if link == "sigmoid":
        small = xp.exp(-xp.abs(margin))
        return xp.where(margin >= 0, 1.0 / (1.0 + small), small / (1.0 + small))
    if link == "softmax":
        raised = xp.exp(margin - xp.max(margin, axis=1, keepdims=True))
        return raised / xp.sum(raised, axis=1, keepdims=True)
    return xp.exp(margin) if link == "exp" else margin


def one_hot(classes: Array, like: Array) -> Array:
    """Ones at each row's class, shape and type of `like` (n, k)."""
    xp = array_namespace(classes, like)
    columns = xp.arange(like.shape[1], dtype=xp.int64)
    return xp.astype(columns[None, :] == classes[:, None], like.dtype)


def as_costs(values: Array, y_pred: Array, name: str) -> Array:
    """What a loss function returned, as floats of shape (n,)."""
    shape = tuple(getattr(values, "shape", ()))
    if shape != (y_pred.shape[0],):
        raise InputError(
            f"{name} returned shape {shape}; it must return one cost per row: ({y_pred.shape[0]},)"
        )
    return _floats(values)


def pick(features: Features, rows: Array) -> Features:
    """The same columns for some of the rows."""
    return {name: np.asarray(column)[rows] for name, column in features.items()}


def _in_library_of(like: Array, values: Any) -> Array:
    if is_array_api_obj(values) and array_namespace(values) is array_namespace(like):
        return values
    return array_namespace(like).asarray(np.asarray(values) if is_eager(like) else values)


def _typed(outcome: Outcome, true: Array, like: Array) -> Array:
    xp = array_namespace(like)
    if outcome == "binary":
        return xp.astype(true, xp.bool)
    if outcome == "class":
        return _integers(true)
    return true if outcome == "any" else xp.astype(true, like.dtype if _is_float(like) else xp.float64)


def _integers(values: Array) -> Array:
    """Classes as 64-bit integers; names of classes (NumPy only) as they are."""
    xp = array_namespace(values)
    return values if _is_text(values) else xp.astype(values, xp.int64)


def _floats(values: Array) -> Array:
    xp = array_namespace(values)
    return values if _is_text(values) or _is_float(values) else xp.astype(values, xp.float64)


def _is_float(values: Array) -> bool:
    return not _is_text(values) and bool(array_namespace(values).isdtype(values.dtype, "real floating"))


def _is_text(values: Array) -> bool:
    return isinstance(values, np.ndarray) and values.dtype.kind in "OSU"
