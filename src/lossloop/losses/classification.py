"""Losses of classes and of their probabilities: log loss and Brier (two or many classes), 0/1, hinge."""

from __future__ import annotations

import math

from array_api_compat import array_namespace

from lossloop.losses.arrays import from_margin, one_hot
from lossloop.losses.base import Loss, loss
from lossloop.losses.declare import Array, Bounds, Golden
from lossloop.losses.requirements import POSITIVE


def _up_to_cap(*, cap: float) -> Bounds:
    return (0.0, cap)


def _capped_log(likelihood: Array, cap: float) -> Array:
    """-log of a likelihood, at most `cap`; a likelihood of 0 costs the cap and not infinity."""
    xp = array_namespace(likelihood)
    return xp.clip(-xp.log(xp.clip(likelihood, math.exp(-cap), None)), 0.0, cap)


def _log_loss_gradient(y_true: Array, margin: Array, *, cap: float) -> Array:
    """Without the cap: where a cost is cut off, the worst mistakes would teach nothing."""
    return from_margin("sigmoid", margin) - array_namespace(margin).astype(y_true, margin.dtype)


def _log_loss_hessian(y_true: Array, margin: Array, *, cap: float) -> Array:
    probability = from_margin("sigmoid", margin)
    return probability * (1.0 - probability)


@loss(
    bounds=_up_to_cap,
    kind="probability",
    link="sigmoid",
    gradient=_log_loss_gradient,
    hessian=_log_loss_hessian,
    requires={"cap": POSITIVE},
    golden=(
        Golden(
            y_true=[1, 0, 1, 0],
            y_pred=[0.9, 0.2, 0.5, 1.0],
            expected=[0.10536051565782628, 0.2231435513142097, 0.6931471805599453, 10.0],
        ),
        Golden(
            parameters={"cap": 5.0},
            y_true=[1, 1, 0],
            y_pred=[0.001, 0.01, 0.0],
            expected=[5.0, 4.605170185988091, 0.0],
        ),
    ),
)
def log_loss(y_true: Array, y_pred: Array, *, cap: float = 10.0) -> Array:
    """Log loss of two classes: min(cap, -log(p)) where y = 1 and min(cap, -log(1 - p)) where y = 0.

    Shapes: y_true (n,) of 0 and 1, y_pred (n,), the probability of 1 -> (n,). No unit (natural
    logarithm). Bounds: [0, cap].
    A cap of 10 lets a probability below 4.5e-5 cost no more; the gradient is that of the loss without cap.
    Source: Good (1952), Rational decisions, J. R. Statist. Soc. B 14.
    """
    return _capped_log(array_namespace(y_pred).where(y_true, y_pred, 1.0 - y_pred), cap)


def _multiclass_gradient(y_true: Array, margin: Array, *, cap: float) -> Array:
    return from_margin("softmax", margin) - one_hot(y_true, margin)


def _multiclass_hessian(y_true: Array, margin: Array, *, cap: float) -> Array:
    probability = from_margin("softmax", margin)
    return probability * (1.0 - probability)


@loss(
    bounds=_up_to_cap,
    kind="class_probabilities",
    link="softmax",
    gradient=_multiclass_gradient,
    hessian=_multiclass_hessian,
    requires={"cap": POSITIVE},
    golden=(
        Golden(
            y_true=[0, 2, 1],
            y_pred=[[0.7, 0.2, 0.1], [0.25, 0.25, 0.5], [1.0, 0.0, 0.0]],
            expected=[0.35667494393873245, 0.6931471805599453, 10.0],
        ),
    ),
)
def log_loss_multiclass(y_true: Array, y_pred: Array, *, cap: float = 10.0) -> Array:
    """Log loss of many classes: min(cap, -log(p[y])), the probability given to what happened.

    Shapes: y_true (n,) of classes 0 to k - 1, y_pred (n, k) of probabilities -> (n,). No unit
    (natural logarithm). Bounds: [0, cap]; the gradient is that of the loss without cap.
    Source: Good (1952), Rational decisions, J. R. Statist. Soc. B 14.
    """
    return _capped_log(array_namespace(y_pred).sum(one_hot(y_true, y_pred) * y_pred, axis=1), cap)


def _brier_gradient(y_true: Array, margin: Array) -> Array:
    probability = from_margin("sigmoid", margin)
    label = array_namespace(margin).astype(y_true, margin.dtype)
    return 2.0 * (probability - label) * probability * (1.0 - probability)


def _brier_hessian(y_true: Array, margin: Array) -> Array:
    probability = from_margin("sigmoid", margin)
    label = array_namespace(margin).astype(y_true, margin.dtype)
    slope = probability * (1.0 - probability)
    return 2.0 * slope * (slope + (probability - label) * (1.0 - 2.0 * probability))


@loss(
    bounds=(0, 1),
    kind="probability",
    link="sigmoid",
    gradient=_brier_gradient,
    hessian=_brier_hessian,
    golden=(Golden(y_true=[1, 0, 1, 0], y_pred=[0.9, 0.2, 0.5, 1.0], expected=[0.01, 0.04, 0.25, 1.0]),),
)
def brier(y_true: Array, y_pred: Array) -> Array:
    """Brier score of two classes, (p - y)^2.

    Shapes: y_true (n,) of 0 and 1, y_pred (n,), the probability of 1 -> (n,). No unit. Bounds: [0, 1].
    Source: Brier (1950), Verification of forecasts expressed in terms of probability, Mon. Weather Rev. 78
    (whose sum over both classes is twice this).
    """
    return (y_pred - array_namespace(y_pred).astype(y_true, y_pred.dtype)) ** 2


def _brier_multiclass_gradient(y_true: Array, margin: Array) -> Array:
    xp = array_namespace(margin)
    probability = from_margin("softmax", margin)
    error = probability - one_hot(y_true, margin)
    return 2.0 * probability * (error - xp.sum(probability * error, axis=1, keepdims=True))


@loss(
    bounds=(0, 2),
    kind="class_probabilities",
    link="softmax",
    gradient=_brier_multiclass_gradient,
    golden=(Golden(y_true=[0, 2], y_pred=[[0.7, 0.2, 0.1], [1.0, 0.0, 0.0]], expected=[0.14, 2.0]),),
)
def brier_multiclass(y_true: Array, y_pred: Array) -> Array:
    """Brier score of many classes: the squared distance of the probabilities from what happened.

    Shapes: y_true (n,) of classes 0 to k - 1, y_pred (n, k) of probabilities -> (n,). No unit.
    Bounds: [0, 2].
    Source: Brier (1950), Verification of forecasts expressed in terms of probability, Mon. Weather Rev. 78.
    """
    return array_namespace(y_pred).sum((y_pred - one_hot(y_true, y_pred)) ** 2, axis=1)


@loss(
    bounds=(0, 1),
    kind="class",
    golden=(
        Golden(y_true=[0, 1, 2], y_pred=[0, 2, 2], expected=[0.0, 1.0, 0.0]),
        Golden(y_true=["late", "on time"], y_pred=["late", "late"], expected=[0.0, 1.0]),
    ),
)
def zero_one(y_true: Array, y_pred: Array) -> Array:
    """0/1 loss: 0 where the class is right, 1 where it is wrong; its mean is 1 - accuracy.

    Shapes: y_true (n,), y_pred (n,), both classes, as whole numbers or (NumPy only) as names -> (n,).
    No unit. Bounds: [0, 1]. Source: Fisher (1936), The use of multiple measurements in taxonomic problems.
    """
    xp = array_namespace(y_true, y_pred)
    return xp.astype(y_true != y_pred, xp.float64)


def _signs(y_true: Array, like: Array) -> Array:
    return 2.0 * array_namespace(like).astype(y_true, like.dtype) - 1.0


def _hinge_gradient(y_true: Array, margin: Array) -> Array:
    sign = _signs(y_true, margin)
    return -sign * array_namespace(margin).astype(sign * margin < 1.0, margin.dtype)


@loss(
    bounds=(0, math.inf),
    kind="score",
    link="identity",
    gradient=_hinge_gradient,
    golden=(Golden(y_true=[1, 1, 0, 0], y_pred=[2.0, 0.3, -0.5, 1.5], expected=[0.0, 0.7, 0.5, 2.5]),),
)
def hinge(y_true: Array, y_pred: Array) -> Array:
    """Hinge loss of a score: max(0, 1 - s * p) with s = 1 where y = 1 and s = -1 where y = 0.

    Shapes: y_true (n,) of 0 and 1, y_pred (n,), any number -> (n,). No unit. Bounds: [0, inf). No second
    derivative. Source: Cortes and Vapnik (1995), Support-vector networks, Machine Learning 20.
    """
    return array_namespace(y_pred).clip(1.0 - _signs(y_true, y_pred) * y_pred, 0.0, None)


LOSSES: tuple[Loss, ...] = (
    brier,
    brier_multiclass,
    hinge,
    log_loss,
    log_loss_multiclass,
    zero_one,
)
