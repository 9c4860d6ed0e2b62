"""Losses of forecasts of a series, in units of what a naive forecast would have missed."""

from __future__ import annotations

import math

import numpy as np
from array_api_compat import array_namespace

from lossloop.core.errors import InputError
from lossloop.losses.base import Loss, loss
from lossloop.losses.declare import Array, Golden
from lossloop.losses.requirements import POSITIVE


def naive_error(series: Array, *, season: int = 1) -> float:
    """The mean |y[t] - y[t - season]| of a training series: the `scale` of `mase`.

    Args:
        series: Outcomes in the order of their times, shape (n,) with n > season.
        season: How many steps back the naive forecast looks: 1 for the value before, 7 for the same day of
            the week before in a daily series.

    Raises:
        InputError: The series is too short, has a value that is not finite, or repeats itself exactly: then
            nothing can be measured in units of its naive error.
    """
    values = np.asarray(series, dtype=np.float64)
    if season < 1:
        raise InputError(f"a season has at least 1 step, not {season}", field="season")
    if values.ndim != 1 or len(values) <= season:
        raise InputError(f"a naive error needs a series of more than {season} values", field="series")
    if not np.isfinite(values).all():
        row = int((~np.isfinite(values)).argmax())
        raise InputError(f"row {row}: {values[row]} is not a finite number", field="series", row=row)
    found = float(np.abs(values[season:] - values[:-season]).mean())
    if not 0 < found < math.inf:
        raise InputError(f"the naive error is {found:g}; a scale must be above 0 and finite", field="series")
    return found


def _mase_gradient(y_true: Array, margin: Array, *, scale: float) -> Array:
    return array_namespace(margin).sign(margin - y_true) / scale


@loss(
    bounds=(0, math.inf),
    kind="value",
    link="identity",
    gradient=_mase_gradient,
    requires={"scale": POSITIVE},
    golden=(
        Golden(y_true=[3.0, -0.5, 2.0], y_pred=[2.5, 0.0, 2.0], expected=[0.5, 0.5, 0.0]),
        Golden(parameters={"scale": 4.0}, y_true=[3.0, 2.0], y_pred=[5.0, 2.0], expected=[0.5, 0.0]),
    ),
)
def mase(y_true: Array, y_pred: Array, *, scale: float = 1.0) -> Array:
    """Scaled absolute error, |y - p| / scale: 1 is as bad as a naive forecast was on the training series.

    Shapes: y_true (n,), y_pred (n,) -> (n,). No unit: `scale` is in the outcome's unit, the naive error of
    the training series (`losses.naive_error`). The mean is the MASE. Bounds: [0, inf). No second derivative.
    Source: Hyndman and Koehler (2006), Another look at measures of forecast accuracy, Int. J. Forecasting 22.
    """
    return array_namespace(y_pred).abs(y_true - y_pred) / scale


LOSSES: tuple[Loss, ...] = (mase,)
