"""Losses of rankings by where the relevant items stand: reciprocal rank and average precision."""

from __future__ import annotations

from typing import Any

from array_api_compat import array_namespace

from lossloop.losses.base import Loss, loss
from lossloop.losses.declare import Array, Golden
from lossloop.losses.requirements import POSITIVE


@loss(
    bounds=(0, 1),
    kind="ranking",
    outcome="value",
    requires={"top": POSITIVE},
    golden=(
        Golden(
            y_true=[[0, 1, 1], [1, 0, 0], [0, 0, 0]],
            y_pred=[[0.9, 0.5, 0.1], [0.9, 0.5, 0.1], [1, 2, 3]],
            expected=[0.5, 0.0, 0.0],
        ),
        Golden(parameters={"top": 2.0}, y_true=[[0, 0, 1]], y_pred=[[0.9, 0.5, 0.1]], expected=[1.0]),
    ),
)
def one_minus_mrr(y_true: Array, y_pred: Array, *, top: float = 10.0) -> Array:
    """1 - 1 / place of the first relevant item, among the first `top` by score; 1 where none is there.

    Shapes: y_true (n, k), above 0 where an item was relevant; y_pred (n, k), its score -> (n,). Equal scores
    keep the order in which they came. Where nothing was relevant the cost is 0. No unit; the mean is 1 - MRR.
    Bounds: [0, 1]. No gradient.
    Source: Voorhees (1999), The TREC-8 question answering track report.
    """
    xp = array_namespace(y_pred)
    relevant, place = _by_score(xp, y_true, y_pred)
    first = relevant * xp.astype(xp.cumulative_sum(relevant, axis=1) == 1.0, y_pred.dtype)
    found = xp.sum(xp.where(place <= top, first / place, xp.zeros_like(first)), axis=1)
    return xp.where(xp.sum(relevant, axis=1) > 0.0, 1.0 - found, xp.zeros_like(found))


@loss(
    bounds=(0, 1),
    kind="ranking",
    outcome="value",
    requires={"top": POSITIVE},
    golden=(
        Golden(
            y_true=[[1, 0, 1], [1, 1, 0], [0, 0, 0]],
            y_pred=[[0.9, 0.5, 0.1], [0.9, 0.5, 0.1], [1, 2, 3]],
            expected=[1 / 6, 0.0, 0.0],
        ),
        Golden(parameters={"top": 2.0}, y_true=[[0, 1, 1]], y_pred=[[0.9, 0.5, 0.1]], expected=[0.75]),
    ),
)
def one_minus_map(y_true: Array, y_pred: Array, *, top: float = 10.0) -> Array:
    """1 - average precision of the first `top` items by score: the precision at each relevant one, averaged.

    The average is over as many relevant items as could stand there: min(top, how many there were).
    Shapes: y_true (n, k), above 0 where an item was relevant; y_pred (n, k), its score -> (n,). Equal scores
    keep the order in which they came. Where nothing was relevant the cost is 0. No unit; the mean is 1 -
    MAP@top. Bounds: [0, 1]. No gradient.
    Source: Manning, Raghavan and Schütze (2008), Introduction to Information Retrieval, section 8.4.
    """
    xp = array_namespace(y_pred)
    relevant, place = _by_score(xp, y_true, y_pred)
    precision = relevant * xp.cumulative_sum(relevant, axis=1) / place
    found = xp.sum(xp.where(place <= top, precision, xp.zeros_like(precision)), axis=1)
    there = xp.clip(xp.sum(relevant, axis=1), None, max(1.0, top // 1.0))
    some = there > 0.0
    return xp.where(some, 1.0 - found / xp.where(some, there, xp.ones_like(there)), xp.zeros_like(found))


def _by_score(xp: Any, y_true: Array, y_pred: Array) -> tuple[Array, Array]:
    """1 where an item was relevant and 0 elsewhere, the highest score first; and the places from 1.

    Shapes (n, k), (1, k).
    """
    rows, columns = y_pred.shape
    order = xp.astype(xp.argsort(y_pred, axis=1, descending=True, stable=True), xp.int64)
    flat = xp.reshape(order + xp.arange(rows, dtype=xp.int64)[:, None] * columns, (rows * columns,))
    relevant = xp.reshape(xp.astype(y_true > 0, y_pred.dtype), (rows * columns,))
    place = xp.astype(xp.arange(1, columns + 1, dtype=xp.int64), y_pred.dtype)[None, :]
    return xp.reshape(xp.take(relevant, flat), (rows, columns)), place


LOSSES: tuple[Loss, ...] = (one_minus_map, one_minus_mrr)
