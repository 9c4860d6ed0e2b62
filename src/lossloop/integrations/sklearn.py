"""A loss as a scikit-learn scorer: greater is better there, so a score is minus the mean loss.

    cross_val_score(model, X, y, scoring=scorer(log_loss.with_parameters(cap=5)))

Needs no import of scikit-learn, which calls what it is given.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lossloop.core.errors import InputError
from lossloop.losses.base import Array, Features, Kind, Loss

_METHODS: Mapping[Kind, str] = {
    "probability": "predict_proba",
    "class_probabilities": "predict_proba",
    "score": "decision_function",
}


@dataclass(frozen=True, kw_only=True)
class Scorer:
    """Called with (estimator, X, y), it gives minus the mean loss; it can be pickled."""

    loss: Loss
    features: Callable[[Any], Features] | None = None

    def __call__(self, estimator: Any, X: Any, y_true: Array, sample_weight: Array | None = None) -> float:
        """Minus the (weighted) mean loss of the estimator on X.

        Raises:
            InputError: The estimator cannot predict what the loss takes, or a row cannot be scored.
        """
        method = _METHODS.get(self.loss.kind, "predict")
        if not hasattr(estimator, method):
            name = type(estimator).__name__
            raise InputError(f"{self.loss} takes a {self.loss.kind}: {name} needs the method {method}")
        y_pred = np.asarray(getattr(estimator, method)(X))
        classes = getattr(estimator, "classes_", None)
        if method == "predict_proba" and self.loss.kind == "probability":
            y_pred = _of_second_class(y_pred)
        labels = np.asarray(y_true)
        if self.loss.kind != "class" and classes is not None:
            labels = _positions(labels, np.asarray(classes))
        features = None if self.features is None else self.features(X)
        return -float(np.average(self.loss(labels, y_pred, features), weights=sample_weight))


def scorer(loss: Loss, *, features: Callable[[Any], Features] | None = None) -> Scorer:
    """A scorer for cross_val_score, GridSearchCV and the like.

    Args:
        loss: Any loss. Probabilities come from predict_proba, scores from decision_function, all else from
            predict. A classifier's labels may be names: they are matched with its classes.
        features: For a loss that needs features: how to make its columns of X.

    Raises:
        InputError: The loss needs features and `features` does not say where they come from.
    """
    if loss.needs_features and features is None:
        raise InputError(f"{loss} needs features: scorer(loss, features=...) says how to make them of X")
    return Scorer(loss=loss, features=features)


def _of_second_class(probabilities: Array) -> Array:
    if probabilities.ndim != 2 or probabilities.shape[1] != 2:
        raise InputError(
            f"a loss of two classes cannot score {probabilities.shape[-1]} columns of probabilities"
        )
    return probabilities[:, 1]


def _positions(labels: Array, classes: Array) -> Array:
    """Labels as positions among the classifier's classes, which predict_proba's columns follow."""
    known = np.isin(labels, classes)
    if not known.all():
        row = int(np.flatnonzero(~known)[0])
        raise InputError(
            f"row {row}: {labels[row]!r} was not among the classes in training", row=row, field="y_true"
        )
    return np.searchsorted(classes, labels)
