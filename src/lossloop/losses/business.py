"""Losses in money: what each mistake costs, by class or by a decision at a threshold."""

from __future__ import annotations

from array_api_compat import array_namespace

from lossloop.losses.base import Loss, loss
from lossloop.losses.declare import Array, Bounds, Golden
from lossloop.losses.requirements import ACTIONS, MATRIX, POSITIVE

Matrix = tuple[tuple[float, ...], ...]


def _of_matrix(*, costs: Matrix, unit: str) -> Bounds:
    return (0.0, max(cost for row in costs for cost in row))


def _number_of_classes(*, costs: Matrix, unit: str) -> int:
    return len(costs)


def _matrix_unit(*, costs: Matrix, unit: str) -> str:
    return unit


@loss(
    bounds=_of_matrix,
    unit=_matrix_unit,
    kind="class",
    classes=_number_of_classes,
    requires={"costs": MATRIX},
    golden=(
        Golden(y_true=[0, 0, 1, 1], y_pred=[0, 1, 0, 1], expected=[0.0, 1.0, 1.0, 0.0]),
        Golden(
            parameters={"costs": ((0.0, 1.0, 2.0), (5.0, 0.0, 1.0), (9.0, 3.0, 0.0))},
            y_true=[2, 1, 0],
            y_pred=[0, 0, 2],
            expected=[9.0, 5.0, 2.0],
        ),
    ),
)
def cost_matrix(
    y_true: Array, y_pred: Array, *, costs: Matrix = ((0.0, 1.0), (1.0, 0.0)), unit: str = "USD"
) -> Array:
    """Cost of predicting class j where class i happened: costs[i][j].

    Shapes: y_true (n,), y_pred (n,), both classes from 0 to k - 1; costs k rows of k -> (n,).
    Unit: `unit`. Bounds: [0, the largest cost]. No gradient.
    Source: Elkan (2001), The foundations of cost-sensitive learning, IJCAI.
    """
    xp = array_namespace(y_true, y_pred)
    flat = xp.asarray([cost for row in costs for cost in row], dtype=xp.float64)
    return xp.take(flat, y_true * len(costs) + y_pred)


def _worst(*, missed: float, false_alarm: float, unit: str) -> Bounds:
    return (0.0, max(missed, false_alarm))


def _warning_unit(*, missed: float, false_alarm: float, unit: str) -> str:
    return unit


@loss(
    bounds=_worst,
    unit=_warning_unit,
    kind="probability",
    requires={"missed": POSITIVE, "false_alarm": POSITIVE},
    golden=(
        Golden(y_true=[1, 1, 0, 0], y_pred=[0.6, 0.4, 0.5, 0.4], expected=[0.0, 1.0, 1.0, 0.0]),
        Golden(
            parameters={"missed": 20.0, "false_alarm": 10.0},
            y_true=[1, 1, 0, 0],
            y_pred=[0.34, 0.3, 0.34, 0.3],
            expected=[0.0, 20.0, 10.0, 0.0],
        ),
    ),
)
def warning_cost(
    y_true: Array, y_pred: Array, *, missed: float = 1.0, false_alarm: float = 1.0, unit: str = "USD"
) -> Array:
    """Cost of warning where that is the cheaper choice: where p >= false_alarm / (missed + false_alarm).

    `missed` where y = 1 and there was no warning, `false_alarm` where y = 0 and there was one, else 0.
    Shapes: y_true (n,) of 0 and 1, y_pred (n,), the probability of 1 -> (n,). Unit: `unit`.
    Bounds: [0, the larger of both costs]. No gradient.
    Source: Elkan (2001), The foundations of cost-sensitive learning, IJCAI (the optimal threshold).
    """
    xp = array_namespace(y_pred)
    warned = y_pred >= false_alarm / (missed + false_alarm)
    not_warned = xp.astype(y_true & ~warned, y_pred.dtype)
    return missed * not_warned + false_alarm * xp.astype(~y_true & warned, y_pred.dtype)


def _number_of_actions(*, costs: Matrix, unit: str) -> int:
    return len(costs[0])


@loss(
    bounds=_of_matrix,
    unit=_matrix_unit,
    kind="class",
    outcome="binary",
    classes=_number_of_actions,
    requires={"costs": ACTIONS},
    golden=(
        Golden(y_true=[0, 0, 1, 1], y_pred=[0, 1, 0, 1], expected=[0.0, 1.0, 1.0, 0.0]),
        Golden(
            parameters={"costs": ((0.0, 3.0, 1.0), (40.0, 3.0, 0.0))},
            y_true=[0, 0, 0, 1, 1, 1],
            y_pred=[0, 1, 2, 0, 1, 2],
            expected=[0.0, 3.0, 1.0, 40.0, 3.0, 0.0],
        ),
    ),
)
def action_cost(
    y_true: Array, y_pred: Array, *, costs: Matrix = ((0.0, 1.0), (1.0, 0.0)), unit: str = "USD"
) -> Array:
    """Cost of what a version's thresholds did about a row: costs[y][j] for action j where y happened.

    Shapes: y_true (n,) of 0 and 1, y_pred (n,), actions from 0 to k - 1 in the order of the version's
    thresholds; costs two rows of k -> (n,). Unit: `unit`. Bounds: [0, the largest cost]. No gradient.
    Source: Elkan (2001), The foundations of cost-sensitive learning, IJCAI.
    """
    xp = array_namespace(y_true, y_pred)
    flat = xp.asarray([cost for row in costs for cost in row], dtype=xp.float64)
    return xp.take(flat, xp.astype(y_true, y_pred.dtype) * len(costs[0]) + y_pred)


LOSSES: tuple[Loss, ...] = (cost_matrix, warning_cost, action_cost)
