"""e-BH: which of many e-values to believe (Wang, Ramdas, "False discovery rate control with e-values")."""

from __future__ import annotations

import math
from collections.abc import Sequence


def e_bh(log_evidence: Sequence[float], rate: float) -> list[int]:
    """The places of the e-values that are believed, largest first.

    Of those named, a share of at most `rate` is named wrongly on average, however the e-values depend on each
    other: the largest k with `e_(k) >= S / (k rate)`. `log_evidence` are natural logarithms of e-values, that
    is of evidence under a promise of the kind "ever"; nothing is promised under one of a rate.
    """
    order = sorted(range(len(log_evidence)), key=lambda place: (-log_evidence[place], place))
    believed = 0
    for k, place in enumerate(order, start=1):
        if log_evidence[place] >= math.log(len(order) / (k * rate)):
            believed = k
    return order[:believed]
