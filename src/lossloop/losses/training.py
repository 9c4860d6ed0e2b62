"""A loss as a training objective: gradient and Hessian as boosting libraries take them."""

from __future__ import annotations

import numpy as np

from lossloop.core.errors import InputError
from lossloop.losses.arrays import from_margin, prepare_outcomes
from lossloop.losses.declare import Array, Link
from lossloop.losses.definition import Body
from lossloop.losses.rows import examine, raise_first


def link_of(body: Body) -> Link:
    """The link of a loss that can be trained on; InputError for another."""
    if body.declared.link is None:
        raise InputError(f"{body.text} has no gradient, so it can be watched but not trained on")
    return body.declared.link


def derivatives(
    body: Body, y_true: Array, margin: Array, *, weight: Array | None = None, curvature: float = 1.0
) -> tuple[Array, Array]:
    """See Loss.derivatives."""
    scores = np.asarray(margin, dtype=np.float64)
    some = from_margin(link_of(body), np.zeros_like(scores))
    raise_first(examine(body.declared, np.asarray(y_true), some).problems)
    labels = prepare_outcomes(body.declared, np.asarray(y_true), scores)
    gradient = np.asarray(body.gradient(labels, scores, None))
    second = body.hessian(labels, scores, None)
    hessian = np.full_like(scores, curvature) if second is None else np.where(second > 0, second, curvature)
    if weight is None:
        return gradient, hessian
    rows = np.asarray(weight, dtype=np.float64).reshape((-1,) + (1,) * (scores.ndim - 1))
    return gradient * rows, hessian * rows
