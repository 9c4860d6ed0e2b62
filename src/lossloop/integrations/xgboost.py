"""A loss as XGBoost's training objective. Needs no import of XGBoost, which calls what it is given.

    xgboost.train({"base_score": 0.0}, matrix, obj=objective(loss))
    xgboost.XGBRegressor(objective=objective(loss), base_score=0.0)

A model that was trained so predicts raw margins; `loss.predict` makes predictions of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from lossloop.core.errors import InputError
from lossloop.losses.base import Array, Loss

Derivatives = tuple[Array, Array]


class Matrix(Protocol):
    """What the objective asks of XGBoost's DMatrix."""

    def get_label(self) -> Array: ...
    def get_weight(self) -> Array: ...


def objective(loss: Loss, *, curvature: float = 1.0) -> Callable[..., Derivatives]:
    """The callable that both of XGBoost's interfaces take.

    The native interface calls it with (margins, DMatrix), the scikit-learn interface with (labels, margins)
    and maybe sample_weight. Margins have shape (n,), or (n, k) for a loss of class probabilities.

    Args:
        loss: A loss with a gradient.
        curvature: Stands in for the second derivative where that is not above 0.

    Raises:
        InputError: Now, if the loss has no gradient or needs features; in training, if a label is ill.
    """
    _check_trainable(loss)

    def derive(first: Any, second: Any, sample_weight: Array | None = None) -> Derivatives:
        if hasattr(second, "get_label"):
            weight = second.get_weight()
            sample_weight = weight if len(weight) else None
            first, second = second.get_label(), first
        return loss.derivatives(first, second, weight=sample_weight, curvature=curvature)

    return derive


def metric(loss: Loss) -> Callable[[Array, Matrix], tuple[str, float]]:
    """The mean loss as XGBoost's custom_metric: it gets raw margins, for the objective is custom too."""
    _check_trainable(loss)

    def evaluate(margin: Array, matrix: Matrix) -> tuple[str, float]:
        return loss.name, float(loss(matrix.get_label(), loss.predict(margin)).mean())

    return evaluate


def _check_trainable(loss: Loss) -> None:
    if loss.link is None:
        raise InputError(f"{loss} has no gradient, so it can be watched but not trained on")
    if loss.needs_features:
        raise InputError(f"{loss} needs features, which XGBoost does not hand to its objective")
