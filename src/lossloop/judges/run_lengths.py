"""How many values a control chart takes on average until it signals (its ARL), for normal values.

Shewhart in closed form; EWMA (Crowder 1987) and CUSUM (Page 1954) by their integral equations on
Gauss-Legendre nodes; Western Electric by the Markov chain of what its runs remember (Champ, Woodall 1987).
`shift` is how far the mean has moved, in standard deviations of a value; 0 is in control.
"""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from lossloop.judges.charts import (
    CUSUM_SLACK,
    CUSUM_THRESHOLD,
    EWMA_SHARE,
    EWMA_WIDTH,
    RULES,
    SHEWHART_WIDTH,
)

Array = npt.NDArray[np.float64]

_NODES = 120
_EDGES = (-math.inf, -3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0, math.inf)

Memory = tuple[tuple[int, ...], tuple[int, ...]]
"""What Western Electric's rules remember: above and below, recent values beyond each rule's line, as bits."""


def shewhart_run_length(shift: float = 0.0, *, width: float = SHEWHART_WIDTH) -> float:
    """Mean values until one lies beyond the limits."""
    return 1.0 / (_cdf(-width - shift) + 1.0 - _cdf(width - shift))


def ewma_run_length(shift: float = 0.0, *, share: float = EWMA_SHARE, width: float = EWMA_WIDTH) -> float:
    """Mean values until the weighted mean leaves its limits, at their width in the long run."""
    limit = width * math.sqrt(share / (2.0 - share))
    nodes, weights = _nodes(-limit, limit)
    kernel = _density((nodes[None, :] - (1.0 - share) * nodes[:, None]) / share - shift) * weights / share
    lengths = np.linalg.solve(np.eye(len(nodes)) - kernel, np.ones(len(nodes)))
    first = _density(nodes / share - shift) * weights / share
    return float(1.0 + first @ lengths)


def cusum_run_length(
    shift: float = 0.0, *, slack: float = CUSUM_SLACK, threshold: float = CUSUM_THRESHOLD
) -> float:
    """Mean values until either sum exceeds the threshold."""
    rise, fall = (_one_sided(side * shift, slack, threshold) for side in (1.0, -1.0))
    return 1.0 / (1.0 / rise + 1.0 / fall)


@lru_cache(maxsize=64)
def western_electric_run_length(shift: float = 0.0) -> float:
    """Mean values until any of the rules signals."""
    states = _memories()
    numbers = {state: number for number, state in enumerate(states)}
    chances = [_cdf(high - shift) - _cdf(low - shift) for low, high in pairwise(_EDGES)]
    chain = np.eye(len(states))
    for number, state in enumerate(states):
        for zone, chance in enumerate(chances):
            following = _remembered(state, zone)
            if following is not None:
                chain[number, numbers[following]] -= chance
    return float(np.linalg.solve(chain, np.ones(len(states)))[0])


def _one_sided(shift: float, slack: float, threshold: float) -> float:
    """Page's equation; the sum rests at 0 with a chance of its own."""
    nodes, weights = _nodes(0.0, threshold)
    at = np.concatenate(([0.0], nodes))
    kernel = np.empty((len(at), len(at)))
    kernel[:, 0] = [_cdf(slack - shift - value) for value in at]
    kernel[:, 1:] = _density(nodes[None, :] - at[:, None] + slack - shift) * weights
    return float(np.linalg.solve(np.eye(len(at)) - kernel, np.ones(len(at)))[0])


@lru_cache(maxsize=1)
def _memories() -> tuple[Memory, ...]:
    """Every memory that can be reached without a signal; the first is that of no value yet."""
    nothing = (0,) * len(RULES)
    found: dict[Memory, None] = {(nothing, nothing): None}
    ahead = list(found)
    while ahead:
        state = ahead.pop()
        for zone in range(len(_EDGES) - 1):
            following = _remembered(state, zone)
            if following is not None and following not in found:
                found[following] = None
                ahead.append(following)
    return tuple(found)


def _remembered(state: Memory, zone: int) -> Memory | None:
    """The memory after a value in that zone; None where a rule signals."""
    low = _EDGES[zone]
    above = _side(state[0], low)
    below = _side(state[1], -_EDGES[zone + 1])
    return None if above is None or below is None else (above, below)


def _side(bits: tuple[int, ...], least: float) -> tuple[int, ...] | None:
    """A side's memory after a value that lies at least so many deviations out on it."""
    moved = []
    for (needed, among, beyond), before in zip(RULES, bits, strict=True):
        window = ((before << 1) | (least >= beyond)) & ((1 << among) - 1)
        if window.bit_count() >= needed:
            return None
        kept = window & ((1 << (among - 1)) - 1)
        # A run that must be unbroken remembers its length only.
        moved.append(_run(kept, among - 1) if needed == among else kept)
    return tuple(moved)


def _run(bits: int, length: int) -> int:
    run = 0
    while run < length and bits >> run & 1:
        run += 1
    return (1 << run) - 1


def _nodes(low: float, high: float) -> tuple[Array, Array]:
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    half = 0.5 * (high - low)
    return low + half * (nodes + 1.0), half * weights


def _density(values: Array) -> Array:
    found: Array = np.exp(-0.5 * np.square(values)) / math.sqrt(2.0 * math.pi)
    return found


def _cdf(value: float) -> float:
    return 0.5 * math.erfc(-value / math.sqrt(2.0))
