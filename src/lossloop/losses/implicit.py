"""Losses of implicit feedback: what people did with what they were shown."""

from __future__ import annotations

from array_api_compat import array_namespace

from lossloop.losses.base import Loss, loss
from lossloop.losses.declare import Array, Golden


@loss(
    bounds=(0, 1),
    kind="action",
    outcome="binary",
    golden=(
        Golden(y_true=[1, 0, 1], y_pred=[17, 4, 4], expected=[0.0, 1.0, 0.0]),
        Golden(y_true=[0, 1], y_pred=["red shoes", "blue shoes"], expected=[1.0, 0.0]),
    ),
)
def one_minus_click(y_true: Array, y_pred: Array) -> Array:
    """1 - click: 0 where what was shown was taken, 1 where it was not; its mean is 1 - the click rate.

    Shapes: y_true (n,) of 0 and 1; y_pred (n,) or (n, k), what was shown, which does not count -> (n,).
    No unit. Bounds: [0, 1]. No gradient: what was not shown has no outcome.
    Source: Joachims et al. (2005), Accurately interpreting clickthrough data as implicit feedback, SIGIR.
    """
    xp = array_namespace(y_true)
    return xp.astype(~y_true, xp.float64)


LOSSES: tuple[Loss, ...] = (one_minus_click,)
