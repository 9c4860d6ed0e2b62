"""The restart mass `pi_t` of each kind of promise: the only thing in which they differ."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from lossloop.judges.promise import Mode

Array = npt.NDArray[np.float64]


def log_restart_mass(mode: Mode, start: int, count: int) -> float:
    """The log of the restart mass that t = start+1 .. start+count have together."""
    if mode is Mode.RATE:
        return math.log(count)
    if mode is Mode.ONCE:
        return 0.0 if start == 0 else -math.inf
    gap = math.log1p(count / (start + 2.0)) * math.log(2.0)
    return math.log(gap / (math.log(start + 2.0) * math.log(start + count + 2.0)))


def log_restart_masses(mode: Mode, start: Array, count: Array) -> Array:
    """`log_restart_mass` of many streams, shape (n,); each has its own start, and a count of at least 1."""
    if mode is Mode.RATE:
        return np.log(count)
    if mode is Mode.ONCE:
        return np.where(start == 0, 0.0, -np.inf)
    gaps = np.log1p(count / (start + 2.0)) * math.log(2.0)
    masses: Array = np.log(gaps / (np.log(start + 2.0) * np.log(start + count + 2.0)))
    return masses


def piece_restarts(mode: Mode, start: int, count: int) -> Array:
    """`pi_t` for t = start+1 .. start+count, shape (count,), read-only."""
    # A rate's are the same everywhere, those of a single restart everywhere but at the start: they are kept.
    return _restarts(mode, min(start, 1) if mode in (Mode.RATE, Mode.ONCE) else start, count)


@lru_cache(maxsize=64)
def _restarts(mode: Mode, start: int, count: int) -> Array:
    restarts = restarts_at(mode, np.arange(start, start + count, dtype=np.float64))
    restarts.flags.writeable = False
    return restarts


def restarts_at(mode: Mode, before: Array) -> Array:
    """`pi_t` of streams of which `before` ratios were judged, shape (n,)."""
    if mode is Mode.RATE:
        return np.ones(len(before))
    if mode is Mode.ONCE:
        return np.where(before == 0.0, 1.0, 0.0)
    return _gaps(before + 1.0)


def _gaps(t: Array) -> Array:
    """Pi(t) - Pi(t-1) without the cancellation of 1/log2(t+1) - 1/log2(t+2)."""
    gaps: Array = np.log1p(1.0 / (t + 1.0)) * math.log(2.0) / (np.log(t + 1.0) * np.log(t + 2.0))
    return gaps
