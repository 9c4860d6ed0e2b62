"""Losses of what must not be done, known without an outcome."""

from __future__ import annotations

import math

from array_api_compat import array_namespace

from lossloop.losses.base import Loss, loss
from lossloop.losses.declare import Array, Golden
from lossloop.losses.requirements import NUMBER


@loss(
    bounds=(0, 1),
    kind="action",
    needs_outcome=False,
    requires={"low": NUMBER, "high": NUMBER},
    golden=(
        Golden(y_pred=[-0.1, 0.0, 0.5, 1.0, 1.1], expected=[1.0, 0.0, 0.0, 0.0, 1.0]),
        Golden(parameters={"high": math.inf}, y_pred=[[0.5, 7.0], [0.5, -7.0]], expected=[0.0, 1.0]),
    ),
)
def constraint_violation(y_true: Array, y_pred: Array, *, low: float = 0.0, high: float = 1.0) -> Array:
    """Violation of a limit: 1 where any component of the action is below `low` or above `high`, else 0.

    Shapes: y_true is not needed (None), y_pred (n,) or (n, k) -> (n,). No unit; its mean is the rate of
    violations. Bounds: [0, 1]. No gradient. `low` and `high` are in the action's unit.
    Source: Altman (1999), Constrained Markov Decision Processes (indicator costs).
    """
    xp = array_namespace(y_pred)
    outside = (y_pred < low) | (y_pred > high)
    flat = xp.reshape(outside, (y_pred.shape[0], math.prod(y_pred.shape[1:])))
    return xp.astype(xp.any(flat, axis=1), xp.float64)


LOSSES: tuple[Loss, ...] = (constraint_violation,)
