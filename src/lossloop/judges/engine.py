"""The engine: every decision is a bet against "the risk is within its limit" (statistics.md, section 1).

A stream of ratios `r_t >= 0`, with `E[r_t | past] <= 1` while all is well, is bet on by 12 gamblers of
growing boldness `kappa_k`:

    M_k  <-  (1 + kappa_k (r_t - 1)) (M_k + pi_t),      M = mean of the M_k,      act once M >= A

The restart mass `pi_t` makes the promise: 1 each time (`rate`), a sum that approaches 1 (`life`), or 1 for
the first outcome only (`once`). Wealth is kept as logarithms that are settled every 256 ratios: nothing
underflows however long a healthy life is, and how a stream is cut into batches changes no bit
(`holding.py`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lossloop.core.errors import InputError
from lossloop.core.records import Record
from lossloop.judges.holding import (
    MOST_GAIN,
    MOST_RATIO,
    Grown,
    Holding,
    grown,
    grown_once,
    log_mean,
    piece_length,
    settled,
)
from lossloop.judges.promise import Promise
from lossloop.judges.restarts import log_restart_mass, piece_restarts

Array = npt.NDArray[np.float64]

KAPPAS: Array = np.geomspace(0.002, 0.9, 12)
"""How boldly the gamblers of a long-lived watch bet."""
CANARY_KAPPAS: Array = np.geomspace(5e-4, 0.9, 12)
"""The same for a canary, whose ratios are wide at a small share of the traffic."""

NEARLY = 1.0 - 1e-9
"""A wealth of this share of A is looked at closely: whether it crossed is decided in logarithms."""
_STORED = np.dtype("<f8")
_IS_NATIVE = np.dtype(np.float64) == _STORED


class Wealth(Record, frozen=True):
    """A stream's state: what the gamblers hold, the count of ratios, and the first crossing if any.

    JSON keeps it bit for bit: arrays are little-endian float64 bytes, as JSON has no infinity.
    """

    logs: bytes
    """The gamblers' log wealth when they last settled."""
    count: int = 0
    crossed: int | None = None
    """How many ratios had been judged, the deciding one included, when M first reached A."""
    crossed_evidence: float = 0.0
    """`log M` at that ratio."""
    gains: bytes = b""
    """What each has multiplied since; empty where they have just settled."""
    shares: bytes = b""
    """What each put in: 1 for what was there, and the restarts since; empty where they have just settled."""


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
        if not len(ratios):
            return state, Step(self.evidence(state), None)
        if len(ratios) == 1:
            return self._update_by_one(state, float(ratios[0]))
        crossed, decided = state.crossed, state.crossed_evidence
        held, at, found = self.walked(self.holding(state), state.count, ratios, crossed=crossed is not None)
        if at is not None:
            crossed, decided = state.count + at + 1, found
        moved = _stored(held, state.count + len(ratios), crossed, decided)
        return moved, Step(float(log_mean(held.log_wealth())) if crossed is None else decided, at)

    def update_sums(self, state: Wealth, count: int, sums: Array) -> tuple[Wealth, Step]:
        """Bet on a block of `count` ratios known only by `sums`, shape (k,): the sums of their `log_bets`.

        All restart mass is placed at the block's start, and a crossing is seen at its end only; the promise
        holds all the same.
        """
        if count == 0:
            return state, Step(self.evidence(state), None)
        mass = log_restart_mass(self.promise.mode, state.count, count)
        logs = sums + np.logaddexp(self.logs(state), mass)
        found, total = float(log_mean(logs)), state.count + count
        if state.crossed is not None or found < self.promise.log_threshold:
            moved = Wealth(_pack(logs), total, state.crossed, state.crossed_evidence)
            return moved, Step(found if state.crossed is None else state.crossed_evidence, None)
        return Wealth(_pack(logs), total, total, found), Step(found, count - 1)

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
        return float(log_mean(self.logs(state))) if state.count else 0.0

    def logs(self, state: Wealth) -> Array:
        """The gamblers' log wealth now, shape (k,)."""
        return self.holding(state).log_wealth() if state.gains else _unpack(state.logs)

    def holding(self, state: Wealth) -> Holding:
        """What the gamblers hold, as arrays."""
        if not state.gains:
            return settled(_unpack(state.logs), self.promise.mode)
        return Holding(_unpack(state.logs), _unpack(state.gains), _unpack(state.shares))

    def walked(
        self, held: Holding, count: int, ratios: Array, *, crossed: bool
    ) -> tuple[Holding, int | None, float]:
        """Bet on ratios of shape (n,) after `count` others: what is held then, and the first crossing.

        The crossing is its place in the batch (None unless it came now) and the evidence there.
        """
        at, evidence, first = None, 0.0, 0
        with np.errstate(over="ignore"):  # what follows a gain to be settled is cut off
            while first < len(ratios):
                found = self._piece(held, count + first, ratios[first:])
                if at is None and not crossed:
                    row, evidence = self._crossing(held.logs, found)
                    at = None if row is None else first + row
                first += len(found.gains)
                held = Holding(held.logs, found.gains[-1], found.shares[-1])
                if found.over or (count + first) % self.piece == 0:
                    held = settled(held.log_wealth(), self.promise.mode)
        return held, at, evidence

    def _update_by_one(self, state: Wealth, ratio: float) -> tuple[Wealth, Step]:
        """The same for a single ratio, without looking for the row of a crossing."""
        mode, length = self.promise.mode, self.piece
        place, count = state.count % length, state.count + 1
        restart = float(piece_restarts(mode, state.count - place, length)[place])
        held = grown_once(self.holding(state), ratio, restart, self.kappas, mode)
        logs = held.log_wealth()
        evidence = float(log_mean(logs))
        crossed, decided, at = state.crossed, state.crossed_evidence, None
        if crossed is None and evidence >= self.promise.log_threshold:
            crossed, decided, at = count, evidence, 0
        if count % length == 0 or max(held.gains.tolist()) > MOST_GAIN:
            held = settled(logs, mode)
            evidence = float(log_mean(held.log_wealth()))
        return _stored(held, count, crossed, decided), Step(evidence if crossed is None else decided, at)

    @cached_property
    def piece(self) -> int:
        """After how many ratios the gamblers settle."""
        return piece_length(self.kappas)

    def _piece(self, held: Holding, count: int, ratios: Array) -> Grown:
        """What is held after each ratio up to the next settlement, at the latest."""
        mode, length = self.promise.mode, self.piece
        place = count % length
        restarts = piece_restarts(mode, count - place, length)[place:]
        return grown(held, ratios[: length - place], restarts, self.kappas, mode)

    def _crossing(self, logs: Array, found: Grown) -> tuple[int | None, float]:
        """The first row at which M reaches A, and `log M` there."""
        wealth = (found.gains * found.shares) @ np.exp(logs - self.promise.log_threshold)
        nearly = NEARLY * len(logs)
        if wealth[wealth.argmax()] >= nearly:
            for row in np.flatnonzero(wealth >= nearly):
                held = Holding(logs, found.gains[row], found.shares[row])
                evidence = float(log_mean(held.log_wealth()))
                if evidence >= self.promise.log_threshold:
                    return int(row), evidence
        return None, 0.0


def log_bets(ratios: Array, kappas: Array = KAPPAS) -> Array:
    """What each gambler's log wealth gains on each ratio: shape (..., k) for ratios of shape (...)."""
    return np.log1p(np.multiply.outer(np.minimum(ratios, MOST_RATIO) - 1.0, kappas))


def bet_sums(values: Array, weights: Array, kappas: Array = KAPPAS) -> Array:
    """The sums of `log_bets` over a sketch: knots `values` in units of r, shape (b,).

    `weights` have shape (b,), or (n, b) for n streams; then the sums have shape (n, k).
    """
    sums: Array = weights @ log_bets(values, kappas)
    return sums


def _stored(held: Holding, count: int, crossed: int | None, evidence: float) -> Wealth:
    return Wealth(
        _pack(held.logs), count, crossed, evidence, gains=_pack(held.gains), shares=_pack(held.shares)
    )


def _pack(values: Array) -> bytes:
    return values.tobytes() if _IS_NATIVE else values.astype(_STORED).tobytes()


def _unpack(raw: bytes) -> Array:
    return np.frombuffer(raw, _STORED)
