"""Losses of predictions that are several numbers: a vector, or scores that rank items."""

from __future__ import annotations

from array_api_compat import array_namespace

from lossloop.losses.base import Loss, loss
from lossloop.losses.declare import Array, Golden
from lossloop.losses.requirements import POSITIVE


@loss(
    bounds=(0, float("inf")),
    kind="vector",
    golden=(
        Golden(y_true=[[1.0, 2.0], [0.0, 0.0]], y_pred=[[1.0, 4.0], [3.0, -1.0]], expected=[2.0, 5.0]),
        Golden(y_true=[[1.5]], y_pred=[[1.0]], expected=[0.25]),
    ),
)
def vector_squared(y_true: Array, y_pred: Array) -> Array:
    """Mean over a vector's components of (y - p)^2.

    Shapes: y_true (n, k), y_pred (n, k) -> (n,). Unit: the square of the outcome's. Bounds: at least 0.
    No gradient: training libraries fit one margin per row.
    Source: Hastie, Tibshirani and Friedman (2009), The Elements of Statistical Learning, section 3.2.4.
    """
    xp = array_namespace(y_pred)
    return xp.mean((y_true - y_pred) ** 2, axis=1)


@loss(
    bounds=(0, 1),
    kind="ranking",
    outcome="value",
    requires={"top": POSITIVE},
    golden=(
        Golden(y_true=[[3, 2, 0], [0, 0, 0]], y_pred=[[0.9, 0.5, 0.1], [1, 2, 3]], expected=[0.0, 0.0]),
        Golden(y_true=[[0, 1]], y_pred=[[0.9, 0.1]], expected=[0.36907024642854247]),  # 1 - 1 / log2(3)
        Golden(parameters={"top": 1.0}, y_true=[[0, 1]], y_pred=[[0.9, 0.1]], expected=[1.0]),
    ),
)
def one_minus_ndcg(y_true: Array, y_pred: Array, *, top: float = 10.0) -> Array:
    """1 - NDCG of the first `top` items by score: 0 where they stand in the order of their relevance.

    Shapes: y_true (n, k), how relevant each item was (below 0 counts as 0); y_pred (n, k), its score ->
    (n,). Equal scores keep the order in which they came. Where nothing was relevant the cost is 0. No unit.
    Bounds: [0, 1]. No gradient.
    Source: Järvelin and Kekäläinen (2002), Cumulated gain-based evaluation of IR techniques, ACM TOIS 20.
    """
    xp = array_namespace(y_pred)
    relevance = xp.where(y_true > 0, y_true, xp.zeros_like(y_true))
    found, best = _gain(xp, relevance, y_pred, top), _gain(xp, relevance, relevance, top)
    some = best > 0
    return xp.where(some, 1.0 - found / xp.where(some, best, xp.ones_like(best)), xp.zeros_like(best))


def _gain(xp: Array, relevance: Array, score: Array, top: float) -> Array:
    """Discounted cumulated gain of the items in the order of a score. Shape (n,)."""
    places = xp.argsort(xp.argsort(score, axis=1, descending=True, stable=True), axis=1, stable=True)
    rank = xp.astype(places, relevance.dtype) + 1.0
    gains = xp.where(rank <= top, relevance / xp.log2(rank + 1.0), xp.zeros_like(relevance))
    return xp.sum(gains, axis=1)


LOSSES: tuple[Loss, ...] = (one_minus_ndcg, vector_squared)
