"""Losses of survival curves, of which some outcomes are cut off before anything happened."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
from array_api_compat import array_namespace

from lossloop.core.errors import InputError
from lossloop.losses.base import Loss, loss
from lossloop.losses.declare import Array, Bounds, Golden
from lossloop.losses.requirements import CURVE, TIMES

Curve = tuple[tuple[float, float], ...]
"""Steps (time, share still there from then on); the share is 1 before the first."""


def censoring_curve(y_true: Array, *, until: float = math.inf, steps: int = 20) -> Curve:
    """Which share is still being watched after each time: Kaplan and Meier's estimate for the censoring.

    What `integrated_brier` takes as `censoring`, from outcomes of a reference period. An event counts as
    before a censoring at the same time. The curve ends before the share would be 0.

    Args:
        y_true: Times and events, shape (n, 2), as a survival task has them.
        until: The last time of interest: the last horizon.
        steps: At most so many; a curve with more is cut to steps of equal height, of four digits, that are
            never farther from it than half a step: a policy has to hold them.

    Raises:
        InputError: An outcome is not a time of at least 0 and 0 or 1; the error names the row.
    """
    times, shares = _kaplan_meier(_lives(y_true))
    kept = (times > 0) & (times <= until) & (shares > 0)
    times, shares = times[kept], shares[kept]
    if len(times) <= steps:
        return tuple(zip(times.tolist(), shares.tolist(), strict=True))
    heights = 1.0 - (1.0 - shares[-1]) * np.arange(1, steps + 1) / steps
    middles = heights + (1.0 - shares[-1]) / (2 * steps)
    where = times[np.searchsorted(-shares, -middles)]
    found = {float(f"{at:.4g}"): float(f"{share:.4g}") for at, share in zip(where, heights, strict=True)}
    return tuple(found.items())


def _lives(y_true: Array) -> Array:
    table = np.asarray(y_true, dtype=np.float64)
    if table.ndim != 2 or table.shape[1] != 2:
        raise InputError("outcomes of a survival task have shape (n, 2): time and event", field="y_true")
    good = (table[:, 0] >= 0) & np.isfinite(table[:, 0]) & np.isin(table[:, 1], (0.0, 1.0))
    if not good.all():
        row = int(np.argmin(good))
        words = f"row {row}: {table[row].tolist()} is not a time of at least 0 and 0 or 1"
        raise InputError(words, field="y_true", row=row)
    return table


def _kaplan_meier(table: Array) -> tuple[Array, Array]:
    """Times at which somebody was lost sight of, and the share that is still watched after each."""
    times, place = np.unique(table[:, 0], return_inverse=True)
    events = np.bincount(place, weights=table[:, 1], minlength=len(times))
    left = np.bincount(place, minlength=len(times)) - events
    watched = len(table) - np.cumsum(events + left) + left
    shares = np.cumprod(1.0 - left / np.maximum(watched, 1.0))
    return times[left > 0], shares[left > 0]


def _share_at(curve: Curve, time: float) -> float:
    return min((share for step, share in curve if step <= time), default=1.0)


def _weights(horizons: tuple[float, ...]) -> list[float]:
    """How much each horizon counts: the trapezoidal rule over the span of the horizons; they sum to 1."""
    if len(horizons) == 1:
        return [1.0]
    halves = [(late - early) / 2.0 for early, late in pairwise(horizons)]
    span = horizons[-1] - horizons[0]
    return [(before + after) / span for before, after in pairwise([0.0, *halves, 0.0])]


def _largest(*, horizons: tuple[float, ...], censoring: Curve) -> Bounds:
    pairs = zip(_weights(horizons), horizons, strict=True)
    return (0.0, sum(weight / _share_at(censoring, horizon) for weight, horizon in pairs))


def _number_of_horizons(*, horizons: tuple[float, ...], censoring: Curve) -> int:
    return len(horizons)


@loss(
    bounds=_largest,
    kind="survival",
    classes=_number_of_horizons,
    requires={"horizons": TIMES, "censoring": CURVE},
    golden=(
        # Alive at 1 and 2, dead by 3; then one lost sight of at 1.5, of which only horizon 1 is known.
        Golden(
            y_true=[[2.5, 1], [1.5, 0], [9.0, 0]],
            y_pred=[[0.9, 0.5, 0.2], [0.9, 0.5, 0.2], [1.0, 1.0, 1.0]],
            expected=[0.01 / 4 + 0.25 / 2 + 0.04 / 4, 0.01 / 4, 0.0],
        ),
        Golden(
            parameters={"horizons": (2.0,), "censoring": ((1.0, 0.8), (2.0, 0.5))},
            y_true=[[2.0, 1], [2.5, 1], [1.0, 1], [2.0, 0]],
            y_pred=[[0.5], [0.5], [0.5], [0.5]],
            expected=[0.25 / 0.8, 0.25 / 0.5, 0.25, 0.0],
        ),
    ),
)
def integrated_brier(
    y_true: Array, y_pred: Array, *, horizons: tuple[float, ...] = (1.0, 2.0, 3.0), censoring: Curve = ()
) -> Array:
    """Brier score of a survival curve, averaged over its horizons by the trapezoidal rule.

    At horizon t: S(t)^2 / G(T-) where the event came by t, (1 - S(t))^2 / G(t) where T > t, and 0 where
    nobody looked any longer by t. G is the share still being watched, from `censoring`: by these weights
    the mean is that of the outcomes without censoring, where censoring does not depend on the outcome.
    Shapes: y_true (n, 2), how long each row was watched and 1 where that ended with the event or 0 where it
    was censored; y_pred (n, k) with k = len(horizons), the chance S of no event up to each -> (n,). No unit.
    Bounds: 0 to the weighted mean of 1 / G(t), which is 1 without censoring. No gradient.
    Source: Graf, Schmoor, Sauerbrei and Schumacher (1999), Assessment and comparison of prognostic
    classification schemes for survival data, Statistics in Medicine 18.
    """
    xp = array_namespace(y_pred)
    time, event = y_true[:, :1], y_true[:, 1:]
    shares = xp.asarray([1.0, *(share for _, share in censoring)], dtype=y_pred.dtype)
    steps = xp.asarray([step for step, _ in censoring], dtype=y_pred.dtype)
    passed = xp.sum(xp.astype(steps[None, :] < time, xp.int64), axis=1)
    at_event = xp.take(shares, passed)[:, None]
    at = xp.asarray(horizons, dtype=y_pred.dtype)[None, :]
    at_horizon = xp.asarray([_share_at(censoring, t) for t in horizons], dtype=y_pred.dtype)[None, :]
    known = xp.where(event > 0, y_pred**2 / at_event, xp.zeros_like(y_pred))
    costs = xp.where(time > at, (1.0 - y_pred) ** 2 / at_horizon, known)
    weights = xp.asarray(_weights(horizons), dtype=y_pred.dtype)[None, :]
    return xp.sum(weights * costs, axis=1)


LOSSES: tuple[Loss, ...] = (integrated_brier,)
