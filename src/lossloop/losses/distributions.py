"""Losses of forecasts that are more than one number: an interval, quantiles, an ensemble."""

from __future__ import annotations

import math
from itertools import pairwise

from array_api_compat import array_namespace

from lossloop.losses.base import Loss, loss
from lossloop.losses.declare import Array, Golden
from lossloop.losses.requirements import FRACTION, FRACTIONS


@loss(
    bounds=(0, math.inf),
    kind="quantiles",
    classes=2,
    rising=True,
    requires={"level": FRACTION},
    golden=(
        Golden(
            y_true=[1.0, 3.0, -1.0], y_pred=[[0.0, 2.0], [0.0, 2.0], [0.0, 2.0]], expected=[2.0, 22.0, 22.0]
        ),
        Golden(parameters={"level": 0.5}, y_true=[2.5], y_pred=[[1.0, 2.0]], expected=[3.0]),
    ),
)
def winkler(y_true: Array, y_pred: Array, *, level: float = 0.9) -> Array:
    """Winkler's interval score: the width, and 2 / (1 - level) times how far the outcome lies outside.

    Shapes: y_true (n,), y_pred (n, 2), the lower and the upper end of a central interval that is to hold the
    outcome with chance `level` -> (n,). Unit: the outcome's. Bounds: [0, inf). A proper score: least at the
    quantiles (1 - level) / 2 and (1 + level) / 2. No gradient: training libraries fit one margin per row.
    Source: Winkler (1972), A decision-theoretic approach to interval estimation, JASA 67.
    """
    xp = array_namespace(y_pred)
    low, high = y_pred[:, 0], y_pred[:, 1]
    outside = xp.clip(low - y_true, 0.0, None) + xp.clip(y_true - high, 0.0, None)
    return (high - low) + 2.0 / (1.0 - level) * outside


@loss(
    bounds=(0, 1),
    kind="quantiles",
    classes=2,
    rising=True,
    golden=(Golden(y_true=[0.0, 3.0, -1.0], y_pred=[[0.0, 2.0]] * 3, expected=[0.0, 1.0, 1.0]),),
)
def outside_interval(y_true: Array, y_pred: Array) -> Array:
    """1 where the outcome lies outside the interval, 0 where it lies inside or on an end.

    Shapes: y_true (n,), y_pred (n, 2), the lower and the upper end -> (n,). No unit; its mean is 1 - the
    coverage. Bounds: [0, 1]. It can be made 0 by intervals without end: watch `winkler` as well. No gradient.
    Source: Christoffersen (1998), Evaluating interval forecasts, International Economic Review 39.
    """
    xp = array_namespace(y_pred)
    return xp.astype((y_true < y_pred[:, 0]) | (y_true > y_pred[:, 1]), xp.float64)


def _number_of_levels(*, levels: tuple[float, ...]) -> int:
    return len(levels)


@loss(
    bounds=(0, math.inf),
    kind="quantiles",
    classes=_number_of_levels,
    requires={"levels": FRACTIONS},
    golden=(
        # Levels .1, .5 and .9 stand for shares .3, .4 and .3 of all levels.
        Golden(y_true=[1.0], y_pred=[[0.0, 1.0, 2.0]], expected=[2 * (0.3 * 0.1 + 0.3 * 0.1)]),
        Golden(parameters={"levels": (0.5,)}, y_true=[3.0], y_pred=[[1.0]], expected=[2.0]),
    ),
)
def crps_quantiles(y_true: Array, y_pred: Array, *, levels: tuple[float, ...] = (0.1, 0.5, 0.9)) -> Array:
    """CRPS of a forecast given by quantiles: twice the pinball loss, integrated over all levels.

    Each level stands for the levels that lie nearer to it than to any other. With the median alone it is the
    absolute error; with many levels it comes to the CRPS of the whole distribution.
    Shapes: y_true (n,), y_pred (n, k) with k = len(levels) -> (n,). Unit: the outcome's. Bounds: [0, inf).
    No gradient: training libraries fit one margin per row.
    Source: Gneiting and Ranjan (2011), Comparing density forecasts, J. Business & Economic Statistics 29.
    """
    xp = array_namespace(y_pred)
    over = y_true[:, None] - y_pred
    level = xp.asarray(levels, dtype=y_pred.dtype)[None, :]
    share = xp.asarray(_shares(levels), dtype=y_pred.dtype)[None, :]
    return 2.0 * xp.sum(share * xp.maximum(level * over, (level - 1.0) * over), axis=1)


def _shares(levels: tuple[float, ...]) -> list[float]:
    """How much of [0, 1] lies nearest to each level."""
    borders = [0.0, *((low + high) / 2.0 for low, high in pairwise(levels)), 1.0]
    return [high - low for low, high in pairwise(borders)]


@loss(
    bounds=(0, math.inf),
    kind="ensemble",
    golden=(
        Golden(y_true=[1.0, 3.0], y_pred=[[0.0, 2.0], [1.0, 1.0]], expected=[0.5, 2.0]),
        Golden(y_true=[1.0], y_pred=[[4.0, 1.0, 2.0]], expected=[4 / 3 - 2 / 3]),
    ),
)
def crps_ensemble(y_true: Array, y_pred: Array) -> Array:
    """CRPS of an ensemble: the mean distance of its members from y, less half their mean distance.

    Shapes: y_true (n,), y_pred (n, k), the members in any order -> (n,). Unit: the outcome's. With one member
    it is the absolute error. Bounds: [0, inf). It is the CRPS of the distribution that the members are, so
    compare ensembles of one size. No gradient: training libraries fit one margin per row.
    Source: Gneiting and Raftery (2007), Strictly proper scoring rules, JASA 102, equation 20.
    """
    xp = array_namespace(y_pred)
    count = max(1, y_pred.shape[1])
    place = xp.astype(xp.arange(y_pred.shape[1], dtype=xp.int64), y_pred.dtype)
    # Half the sum of |x_i - x_j| over all ordered pairs, from the sorted members.
    apart = xp.sum((2.0 * place + 1.0 - count)[None, :] * xp.sort(y_pred, axis=1), axis=1)
    away = xp.sum(xp.abs(y_pred - y_true[:, None]), axis=1)
    return xp.clip(away / count - apart / count**2, 0.0, None)  # rounding can leave -1e-16


LOSSES: tuple[Loss, ...] = (crps_ensemble, crps_quantiles, outside_interval, winkler)
