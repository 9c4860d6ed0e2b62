"""Losses of numbers: squared, absolute, Huber, pinball (one or several quantiles), Poisson deviance."""

from __future__ import annotations

import math

from array_api_compat import array_namespace

from lossloop.losses.base import Loss, loss
from lossloop.losses.declare import Array, Golden
from lossloop.losses.requirements import FRACTION, FRACTIONS, POSITIVE


def _squared_gradient(y_true: Array, margin: Array) -> Array:
    return 2.0 * (margin - y_true)


def _squared_hessian(y_true: Array, margin: Array) -> Array:
    return 2.0 * array_namespace(margin).ones_like(margin)


@loss(
    bounds=(0, math.inf),
    kind="value",
    link="identity",
    gradient=_squared_gradient,
    hessian=_squared_hessian,
    golden=(
        Golden(y_true=[3.0, -0.5, 2.0, 7.0], y_pred=[2.5, 0.0, 2.0, 8.0], expected=[0.25, 0.25, 0.0, 1.0]),
    ),
)
def squared(y_true: Array, y_pred: Array) -> Array:
    """Squared error, (y - p)^2.

    Shapes: y_true (n,), y_pred (n,) -> (n,). Unit: the square of the outcome's. Bounds: [0, inf).
    Source: Gauss (1809), Theoria motus corporum coelestium; its mean is the MSE.
    """
    return (y_true - y_pred) ** 2


def _absolute_gradient(y_true: Array, margin: Array) -> Array:
    return array_namespace(margin).sign(margin - y_true)


@loss(
    bounds=(0, math.inf),
    kind="value",
    link="identity",
    gradient=_absolute_gradient,
    golden=(
        Golden(y_true=[3.0, -0.5, 2.0, 7.0], y_pred=[2.5, 0.0, 2.0, 8.0], expected=[0.5, 0.5, 0.0, 1.0]),
    ),
)
def absolute(y_true: Array, y_pred: Array) -> Array:
    """Absolute error, |y - p|; least at the median.

    Shapes: y_true (n,), y_pred (n,) -> (n,). Unit: the outcome's. Bounds: [0, inf). No second derivative.
    Source: Laplace (1774); its mean is the MAE.
    """
    return array_namespace(y_pred).abs(y_true - y_pred)


def _huber_gradient(y_true: Array, margin: Array, *, delta: float) -> Array:
    return array_namespace(margin).clip(margin - y_true, -delta, delta)


def _huber_hessian(y_true: Array, margin: Array, *, delta: float) -> Array:
    xp = array_namespace(margin)
    return xp.astype(xp.abs(margin - y_true) < delta, margin.dtype)


@loss(
    bounds=(0, math.inf),
    kind="value",
    link="identity",
    gradient=_huber_gradient,
    hessian=_huber_hessian,
    requires={"delta": POSITIVE},
    golden=(
        Golden(y_true=[0.0, 0.0, 0.0, 5.0], y_pred=[0.0, 0.5, 3.0, 1.0], expected=[0.0, 0.125, 2.5, 3.5]),
        Golden(parameters={"delta": 2.0}, y_true=[0.0, 5.0], y_pred=[3.0, 4.0], expected=[4.0, 0.5]),
    ),
)
def huber(y_true: Array, y_pred: Array, *, delta: float = 1.0) -> Array:
    """Huber's loss: r^2 / 2 where |r| <= delta, and delta * (|r| - delta / 2) beyond, with r = y - p.

    Shapes: y_true (n,), y_pred (n,) -> (n,). Bounds: [0, inf). `delta` is in the outcome's unit.
    Source: Huber (1964), Robust estimation of a location parameter, Ann. Math. Statist. 35.
    """
    xp = array_namespace(y_pred)
    error = xp.abs(y_true - y_pred)
    inner = xp.clip(error, None, delta)
    return inner * (error - 0.5 * inner)


def _pinball_gradient(y_true: Array, margin: Array, *, level: float) -> Array:
    xp = array_namespace(margin)
    return xp.astype(margin > y_true, margin.dtype) - level


@loss(
    bounds=(0, math.inf),
    kind="value",
    link="identity",
    gradient=_pinball_gradient,
    requires={"level": FRACTION},
    golden=(
        Golden(y_true=[1.0, 2.0, 3.0], y_pred=[0.0, 2.0, 5.0], expected=[0.5, 0.0, 1.0]),
        Golden(parameters={"level": 0.9}, y_true=[1.0, 3.0], y_pred=[0.0, 5.0], expected=[0.9, 0.2]),
    ),
)
def pinball(y_true: Array, y_pred: Array, *, level: float = 0.5) -> Array:
    """Pinball (quantile) loss: level * (y - p) where y >= p, (1 - level) * (p - y) elsewhere.

    Shapes: y_true (n,), y_pred (n,), the predicted quantile -> (n,). Unit: the outcome's. Bounds: [0, inf).
    No second derivative. Source: Koenker and Bassett (1978), Regression quantiles, Econometrica 46.
    """
    over = y_true - y_pred
    return array_namespace(y_pred).maximum(level * over, (level - 1.0) * over)


def _number_of_levels(*, levels: tuple[float, ...]) -> int:
    return len(levels)


@loss(
    bounds=(0, math.inf),
    kind="quantiles",
    classes=_number_of_levels,
    requires={"levels": FRACTIONS},
    golden=(
        Golden(
            y_true=[1.0, 3.0],
            y_pred=[[0.0, 1.0, 2.0], [4.0, 4.0, 5.0]],
            expected=[(0.1 + 0.0 + 0.1) / 3, (0.9 + 0.5 + 0.2) / 3],
        ),
    ),
)
def pinball_mean(y_true: Array, y_pred: Array, *, levels: tuple[float, ...] = (0.1, 0.5, 0.9)) -> Array:
    """Mean pinball loss over several quantiles, one column per level; with all levels, half the CRPS.

    Shapes: y_true (n,), y_pred (n, k) with k = len(levels) -> (n,). Unit: the outcome's. Bounds: [0, inf).
    Source: Gneiting and Raftery (2007), Strictly proper scoring rules, JASA 102.
    """
    xp = array_namespace(y_pred)
    over = y_true[:, None] - y_pred
    level = xp.asarray(levels, dtype=y_pred.dtype)[None, :]
    return xp.mean(xp.maximum(level * over, (level - 1.0) * over), axis=1)


def _poisson_gradient(y_true: Array, margin: Array) -> Array:
    return 2.0 * (array_namespace(margin).exp(margin) - y_true)


def _poisson_hessian(y_true: Array, margin: Array) -> Array:
    return 2.0 * array_namespace(margin).exp(margin)


@loss(
    bounds=(0, math.inf),
    kind="value",
    outcome="count",
    positive=True,
    link="exp",
    gradient=_poisson_gradient,
    hessian=_poisson_hessian,
    golden=(
        Golden(
            y_true=[0.0, 1.0, 3.0],
            y_pred=[0.5, 1.0, 2.0],
            expected=[1.0, 0.0, 0.4327906486489863],
        ),
    ),
)
def poisson_deviance(y_true: Array, y_pred: Array) -> Array:
    """Poisson deviance of a count, 2 * (y log(y / p) - y + p), with 0 log 0 = 0.

    Shapes: y_true (n,), at least 0; y_pred (n,), above 0 -> (n,). Bounds: [0, inf).
    Source: McCullagh and Nelder (1989), Generalized Linear Models, section 2.3.
    """
    xp = array_namespace(y_pred)
    none = y_true <= 0
    ratio = xp.where(none, xp.ones_like(y_pred), y_true / y_pred)
    deviance = 2.0 * (y_true * xp.log(ratio) - y_true + y_pred)
    return xp.clip(deviance, 0.0, None)  # rounding can leave -1e-16 where y = p


LOSSES: tuple[Loss, ...] = (absolute, huber, pinball, pinball_mean, poisson_deviance, squared)
