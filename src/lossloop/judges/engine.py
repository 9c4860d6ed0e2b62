"""The engine: every decision is a bet against "the risk is within its limit" (statistics.md, section 1).

A stream of ratios `r_t >= 0`, with `E[r_t | past] <= 1` while all is well, is bet on by 12 gamblers of
growing boldness `kappa_k`:

    M_k  <-  (1 + kappa_k (r_t - 1)) (M_k + pi_t),      M = mean of the M_k,      act once M >= A

The restart mass `pi_t` makes the promise: 1 each time (`rate`), a sum that approaches 1 (`life`), or 1 for
the first outcome only (`once`). Only logarithms are kept: nothing underflows however long a healthy life is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lossloop.core.errors import InputError
from lossloop.core.records import Record
from lossloop.judges.promise import Mode, Promise

Array = npt.NDArray[np.float64]

KAPPAS: Array = np.geomspace(0.002, 0.9, 12)
"""How boldly the gamblers of a long-lived watch bet."""
CANARY_KAPPAS: Array = np.geomspace(5e-4, 0.9, 12)
"""The same for a canary, whose ratios are wide at a small share of the traffic."""

_STORED = np.dtype("<f8")
_PIECE = 512
"""How many ratios are worked on at a time: few enough for the processor's cache."""
_SAFE = 300.0
"""Log range within which exponentials neither overflow nor vanish."""


class Wealth(Record, frozen=True):
    """A stream's state: the gamblers' log wealth, the count of ratios, and the first crossing if any.

    JSON keeps it bit for bit: the logarithms are little-endian float64 bytes, as JSON has no infinity.
    """

    logs: bytes
    count: int = 0
    crossed: int | None = None
    """How many ratios had been judged, the deciding one included, when M first reached A."""
    crossed_evidence: float = 0.0
    """`log M` at that ratio."""


class Step(NamedTuple):
    """What one update found: the evidence, and where in the batch it crossed (None if it did not now)."""

    evidence: float
    crossed_at: int | None


@dataclass(frozen=True, eq=False)
class Engine:
    """An e-process for one promise; `kappas` has shape (k,), each in (0, 1)."""

    promise: Promise
    kappas: Array = field(default_factory=lambda: KAPPAS)

    def start(self) -> Wealth:
        """The state before the first ratio: no wealth at all."""
        return Wealth(logs=_pack(np.full(len(self.kappas), -np.inf)))

    def update(self, state: Wealth, ratios: Array) -> tuple[Wealth, Step]:
        """Bet on ratios of shape (n,), each finite and >= 0, in order; exact at every ratio of the batch."""
        at = None
        for first in range(0, len(ratios), _PIECE):
            piece = ratios[first : first + _PIECE]
            restarts = log_restarts(self.promise.mode, state.count, len(piece))
            logs = wealth_path(_unpack(state.logs), log_bets(piece, self.kappas), restarts)
            state, found = self._moved(state, logs[-1], log_mean(logs), len(piece))
            at = at if found is None else first + found
        return state, Step(self.evidence(state), at)

    def update_sums(self, state: Wealth, count: int, sums: Array) -> tuple[Wealth, Step]:
        """Bet on a block of `count` ratios known only by `sums`, shape (k,): the sums of their `log_bets`.

        All restart mass is placed at the block's start, and a crossing is seen at its end only; the promise
        holds all the same.
        """
        if count == 0:
            return state, Step(self.evidence(state), None)
        mass = log_restart_mass(self.promise.mode, state.count, count)
        logs = sums + np.logaddexp(_unpack(state.logs), mass)
        state, at = self._moved(state, logs, log_mean(logs[None]), count)
        return state, Step(self.evidence(state), at)

    def update_counts(self, state: Wealth, count: int, ones: int, limit: float) -> tuple[Wealth, Step]:
        """Bet on a block of `count` losses of 0 or 1, of which `ones` are 1, against `risk <= limit`."""
        if not (0 <= ones <= count and limit > 0.0):
            raise InputError(
                f"{ones} of {count} losses are 1, limit {limit}: needs 0 <= ones <= count, limit > 0"
            )
        sums = ones * np.log1p(self.kappas * (1.0 / limit - 1.0)) + (count - ones) * np.log1p(-self.kappas)
        return self.update_sums(state, count, sums)

    def evidence(self, state: Wealth) -> float:
        """`log M` now, or at the crossing if there was one; 0 while nothing was judged (never acts on it)."""
        if state.crossed is not None:
            return state.crossed_evidence
        return float(log_mean(_unpack(state.logs)[None])[0]) if state.count else 0.0

    def _moved(self, state: Wealth, logs: Array, path: Array, count: int) -> tuple[Wealth, int | None]:
        crossed, evidence, at = state.crossed, state.crossed_evidence, None
        if crossed is None:
            over = path >= self.promise.log_threshold
            first = int(over.argmax())
            if over[first]:
                at = first if len(path) == count else count - 1
                crossed, evidence = state.count + at + 1, float(path[first])
        moved = Wealth(
            logs=_pack(logs), count=state.count + count, crossed=crossed, crossed_evidence=evidence
        )
        return moved, at


def log_bets(ratios: Array, kappas: Array = KAPPAS) -> Array:
    """What each gambler's log wealth gains on each ratio: shape (..., k) for ratios of shape (...)."""
    return np.log1p(np.multiply.outer(ratios - 1.0, kappas))


def bet_sums(values: Array, weights: Array, kappas: Array = KAPPAS) -> Array:
    """The sums of `log_bets` over a sketch: knots `values` in units of r and `weights`, of shape (b,)."""
    sums: Array = weights @ log_bets(values, kappas)
    return sums


def log_restarts(mode: Mode, start: int, count: int) -> Array:
    """`log pi_t` for t = start+1 .. start+count, shape (count,)."""
    if mode is Mode.RATE:
        return np.zeros(count)
    if mode is Mode.ONCE:
        restarts = np.full(count, -np.inf)
        restarts[: 1 if start == 0 else 0] = 0.0
        return restarts
    t = np.arange(start + 1, start + count + 1, dtype=np.float64)
    # Pi(t) - Pi(t-1) without the cancellation of 1/log2(t+1) - 1/log2(t+2).
    gaps: Array = np.log1p(1.0 / (t + 1.0)) * math.log(2.0) / (np.log(t + 1.0) * np.log(t + 2.0))
    return np.log(gaps)


def log_restart_mass(mode: Mode, start: int, count: int) -> float:
    """The log of the restart mass that t = start+1 .. start+count have together."""
    if mode is Mode.RATE:
        return math.log(count)
    if mode is Mode.ONCE:
        return 0.0 if start == 0 else -math.inf
    gap = math.log1p(count / (start + 2.0)) * math.log(2.0)
    return math.log(gap / (math.log(start + 2.0) * math.log(start + count + 2.0)))


def wealth_path(logs: Array, bets: Array, restarts: Array) -> Array:
    """The gamblers' log wealth after each ratio: shape (n, ..., k).

    Args:
        logs: Log wealth before the batch, shape (..., k); minus infinity for none.
        bets: `log_bets` of the batch, shape (n, ..., k): time first, then streams if there are several.
        restarts: `log_restarts` of the batch, shape (n,).
    """
    gains = np.cumsum(bets, axis=0)
    if np.isneginf(restarts[-1]) and np.isneginf(restarts[0]):
        return gains + logs
    if len(bets) > 1 and np.abs(gains[:-1]).max() > _SAFE:
        return _halves(logs, bets, restarts)
    # Within a safe range the sums of exponentials are taken plainly, which is five times faster.
    entries = np.empty_like(gains)
    entries[0] = 0.0
    np.negative(gains[:-1], out=entries[1:])
    entries += restarts.reshape(-1, *(1,) * (bets.ndim - 1))
    scale = np.maximum(logs, 0.0)
    total = np.exp(logs - scale) + np.cumsum(np.exp(entries - scale), axis=0)
    path: Array = gains + scale + np.log(total)
    return path


def _halves(logs: Array, bets: Array, restarts: Array) -> Array:
    middle = len(bets) // 2
    first = wealth_path(logs, bets[:middle], restarts[:middle])
    return np.concatenate((first, wealth_path(first[-1], bets[middle:], restarts[middle:])))


def log_mean(logs: Array) -> Array:
    """The log of the mean of exp(logs) over the last axis, which must hold a finite value."""
    top = logs.max(axis=-1)
    mean: Array = top + np.log(np.exp(logs - top[..., None]).mean(axis=-1))
    return mean


def _pack(logs: Array) -> bytes:
    return logs.astype(_STORED, copy=False).tobytes()


def _unpack(raw: bytes) -> Array:
    return np.frombuffer(raw, dtype=_STORED)
