"""The floor under a recomputation: the bare kernel over the same arrays, once they are in memory."""

from __future__ import annotations

import time

import numpy as np

from lossloop import losses
from lossloop.app.books import Books
from lossloop.app.home import Home
from lossloop.app.recompute.history import Columns, Slab, Span, read_history
from lossloop.core.errors import InputError
from lossloop.losses import Loss
from lossloop.losses.arrays import prepare

_ROUNDS = 3


def plain_pass(home: Home, model: str, text: str | None = None) -> float:
    """Seconds of one NumPy pass of a loss over all outcomes of a model: no reading, checks or groups.

    The best of three, in one thread.

    Args:
        home: The state directory.
        model: Whose predictions.
        text: The loss as a policy writes it; None for the loss in force.

    Raises:
        InputError: The loss needs features, or no prediction has an outcome.
    """
    state = home.state()
    try:
        loss = losses.parse(text) if text else Books(state).lens(model).loss
        if loss.needs_features:
            raise InputError(f"{loss} needs features; its floor is not measured", field="loss")
        pieces = [piece for history in read_history(state, model) for piece in history.pieces(Span())]
        slab = Slab(parts=tuple(part for piece in pieces for part in piece.work.parts))
        rows = next(slab.batches(max(1, len(slab))), {"y_true": np.empty(0)})
        y_true = rows["y_true"]
        known = ~np.isnan(y_true if y_true.ndim == 1 else y_true[:, 0])
        if not known.any():
            raise InputError(f"{model} has no predictions with an outcome yet", field="model")
        asked = {name: rows[name][known] for name in ("y_true", "y_pred")}
    finally:
        state.close()
    return min(_timed(loss, asked) for _ in range(_ROUNDS))


def _timed(loss: Loss, rows: Columns) -> float:
    begun = time.perf_counter()
    costs = loss.body.costs(*prepare(loss.declared, rows["y_true"], rows["y_pred"]), None)
    np.mean(costs)
    return time.perf_counter() - begun
