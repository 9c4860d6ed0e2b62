"""A loss as LightGBM's training objective. Needs no import of LightGBM, which calls what it is given.

    lightgbm.train({"objective": objective(loss)}, dataset)
    lightgbm.LGBMRegressor(objective=objective(loss))

A model that was trained so predicts raw margins; `loss.predict` makes predictions of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from lossloop.core.errors import InputError
from lossloop.losses.base import Array, Loss

Derivatives = tuple[Array, Array]


class Dataset(Protocol):
    """What the objective asks of LightGBM's Dataset."""

    def get_label(self) -> Array: ...
    def get_weight(self) -> Array | None: ...


def objective(loss: Loss, *, curvature: float = 1.0) -> Callable[..., Derivatives]:
    """The callable that both of LightGBM's interfaces take.

    The native interface calls it with (margins, Dataset), the scikit-learn interface with (labels, margins,
    weight). Margins have shape (n,), or (n, k) for a loss of class probabilities.

    Args:
        loss: A loss with a gradient.
        curvature: Stands in for the second derivative where that is not above 0.

    Raises:
        InputError: Now, if the loss has no gradient or needs features; in training, if a label is ill.
    """
    _check_trainable(loss)

    def derive(first: Any, second: Any, weight: Array | None = None) -> Derivatives:
        if hasattr(second, "get_label"):
            weight = second.get_weight()
            first, second = second.get_label(), first
        return loss.derivatives(first, second, weight=weight, curvature=curvature)

    return derive


def metric(loss: Loss) -> Callable[[Array, Dataset], tuple[str, float, bool]]:
    """The mean loss as LightGBM's feval: it gets raw margins, for the objective is custom too."""
    _check_trainable(loss)

    def evaluate(margin: Array, dataset: Dataset) -> tuple[str, float, bool]:
        return loss.name, float(loss(dataset.get_label(), loss.predict(margin)).mean()), False

    return evaluate


def _check_trainable(loss: Loss) -> None:
    if loss.link is None:
        raise InputError(f"{loss} has no gradient, so it can be watched but not trained on")
    if loss.needs_features:
        raise InputError(f"{loss} needs features, which LightGBM does not hand to its objective")
