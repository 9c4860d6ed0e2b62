"""Two models' answers to the same rows, compared."""

from __future__ import annotations

import numpy as np

from lossloop.app.converting.base import Parity, Worst
from lossloop.core.errors import InputError
from lossloop.serve.runtimes.base import Floats

_WORST = 5
HALF = 0.5


def compare(before: Floats, after: Floats, *, tolerance: float, threshold: float | None = None) -> Parity:
    """How far answers agree.

    Args:
        before: The answers of one model, shape (n,) or (n, k), to one row or more.
        after: Those of the other.
        tolerance: The largest difference that is allowed.
        threshold: From which score on something is done. Left out, it is 0.5 where all answers lie in [0, 1].

    Raises:
        InputError: The answers have other shapes.
    """
    if before.shape != after.shape:
        raise InputError(
            f"the models answer in other shapes: {before.shape[1:]} and {after.shape[1:]} a row",
            field="target",
        )
    gaps = _gaps(before, after)
    each = gaps if gaps.ndim == 1 else gaps.max(axis=1)
    if threshold is None and before.ndim == 1 and bool(((before >= 0) & (before <= 1)).all()):
        threshold = HALF
    order = np.argsort(-each, kind="stable")[:_WORST]
    return Parity(
        rows=len(before), largest=float(each.max()), mean=float(each.mean()), tolerance=tolerance,
        threshold=threshold if before.ndim == 1 else None, flips=_flips(before, after, threshold),
        worst=tuple(
            Worst(row=row, before=_plain(before[row]), after=_plain(after[row]), difference=float(each[row]))
            for row in order.tolist()
        ),
    )  # fmt: skip


def _gaps(before: Floats, after: Floats) -> Floats:
    """Differences; none between two answers that are none, infinite where only one is."""
    none = np.isnan(before) & np.isnan(after)
    with np.errstate(invalid="ignore"):
        found = np.where(before == after, 0.0, np.abs(before - after))
    return np.where(none, 0.0, np.where(np.isnan(found), np.inf, found))


def _flips(before: Floats, after: Floats, threshold: float | None) -> float | None:
    if before.ndim == 2:
        return float(np.mean(np.argmax(before, axis=1) != np.argmax(after, axis=1)))
    if threshold is None:
        return None
    return float(np.mean((before >= threshold) != (after >= threshold)))


def _plain(answer: np.float64 | Floats) -> float | tuple[float, ...]:
    found: float | list[float] = answer.tolist()
    return tuple(found) if isinstance(found, list) else found
