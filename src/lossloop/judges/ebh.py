"""e-BH: which of many e-values to believe (Wang, Ramdas, "False discovery rate control with e-values")."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Codes = npt.NDArray[np.intp]


def e_bh(log_evidence: Sequence[float], rate: float) -> list[int]:
    """The places of the e-values that are believed, largest first.

    Of those named, a share of at most `rate` is named wrongly on average, however the e-values depend on each
    other: the largest k with `e_(k) >= S / (k rate)`. `log_evidence` are natural logarithms of e-values, that
    is of evidence under a promise of the kind "ever"; nothing is promised under one of a rate.
    """
    if not len(log_evidence):
        return []
    weighed = np.asarray(log_evidence, dtype=np.float64) - math.log(len(log_evidence))
    found: list[int] = believed(weighed, -math.log(rate)).tolist()
    return found


def believed(weighed: Array, log_threshold: float) -> Codes:
    """The places that e-BH believes, largest first.

    Args:
        weighed: The log of each e-value times its share; the shares, set before any evidence, add up to 1 at
            most (1/S each in the usual e-BH). Shape (n,).
        log_threshold: The log of one over the rate.
    """
    order, reached = _reached(weighed)
    over = np.flatnonzero(reached >= log_threshold)
    return order[: int(over[-1]) + 1] if len(over) else order[:0]


def strongest(weighed: Array) -> float:
    """What `believed` compares with its threshold: it believes any once this reaches it.

    The log of the largest `k e_(k)`, with e-values times their shares; minus infinity of none.
    """
    return float(_reached(weighed)[1].max(initial=-math.inf))


def _reached(weighed: Array) -> tuple[Codes, Array]:
    order = np.argsort(-weighed, kind="stable")
    return order, weighed[order] + np.log(np.arange(1, len(order) + 1))
