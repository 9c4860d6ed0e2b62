"""What the gamblers hold while they bet, kept so that a ratio costs a few products and no logarithm.

A gambler's wealth is `exp(log) * gain * share`. `log` is the log wealth at the last settlement, `gain` the
product of the bets since, and `share` what was there (1) and what came in since, each divided by the gain
that it missed:

    gain_t  = gain_{t-1} e(r_t)            share_t = share_{t-1} + pi_t exp(-log) / gain_{t-1}

Both are running sums over the stream, not over a batch, and settlements fall on counts of the stream (every
256th ratio) or on its values (a gain beyond 1e20). So wealth is the same, bit for bit, however the stream is
cut into batches; and one stream or ten thousand side by side go through the same operations in one order.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lossloop.judges.promise import Mode

Array = npt.NDArray[np.float64]

PIECE = 256
"""Ratios between two settlements, at most."""
MOST_RATIO = 1e100
"""A ratio above counts as this: fewer winnings, never more. It keeps one bet from overflowing."""
MOST_GAIN = 1e20
"""Beyond it a gain is settled at once."""
_LEAST_LOG = -40.0
"""Where restarts flow in, less than this is written as a share: the restart weighs more by far."""
_VANISHING = 260.0
"""Powers of ten that a gain may fall by: with the 1e20s of shares and gains this stays within a float."""


class Holding(NamedTuple):
    """Gamblers between two ratios; arrays of shape (..., k)."""

    logs: Array
    gains: Array
    shares: Array

    def log_wealth(self) -> Array:
        """The gamblers' log wealth, shape (..., k), once something was judged."""
        wealth: Array = self.logs + np.log(self.gains) + np.log(self.shares)
        return wealth


class Grown(NamedTuple):
    """What was held after each of some ratios, shape (s, k), and whether the gains must be settled now."""

    gains: Array
    shares: Array
    over: bool


def settled(logs: Array, mode: Mode) -> Holding:
    """Gamblers of the given log wealth, shape (..., k); minus infinity for those who have none yet."""
    base = logs if mode is Mode.ONCE else np.maximum(logs, _LEAST_LOG)
    base = np.where(logs == -np.inf, 0.0, base)
    return Holding(base, np.ones(base.shape), np.exp(logs - base))


def piece_length(kappas: Array) -> int:
    """After how many ratios these gamblers settle."""
    worst = -math.log10(1.0 - float(kappas.max()))
    return max(1, min(PIECE, int(_VANISHING / worst)))


def grown(held: Holding, ratios: Array, restarts: Array, kappas: Array, mode: Mode) -> Grown:
    """What is held after each of `ratios`, shape (t,), up to the first at which gains must be settled.

    `restarts` has shape (t,). Ratios so large that gains overflow are cut off; the caller silences NumPy.
    """
    room = np.empty((len(ratios) + 1, len(kappas)))
    room[0], bets = held.gains, room[1:]
    np.multiply((np.minimum(ratios, MOST_RATIO) - 1.0)[:, None], kappas, out=bets)
    bets += 1.0
    np.multiply.accumulate(room, axis=0, out=room)
    over = room.item(room.argmax()) > MOST_GAIN  # four times as fast as `max`
    if over:
        room = room[: int((room > MOST_GAIN).any(axis=1).argmax()) + 1]
    gains = room[1:]
    if mode is Mode.ONCE and not restarts[0]:
        return Grown(gains, np.broadcast_to(held.shares, gains.shape), over)
    poured = np.exp(-held.logs)
    if mode is not Mode.RATE:
        poured = np.multiply.outer(restarts[: len(gains)], poured)
    came = poured / room[:-1]
    came[0] += held.shares
    _add_up(came)
    return Grown(gains, came, over)


def _add_up(rows: Array) -> None:
    """Each row with all before it, in place, shape (t, k): one after another, as a stream adds them.

    A complex sum adds both its halves as they are: two columns for the time of one.
    """
    pairs = rows.view(np.complex128) if rows.shape[1] % 2 == 0 else rows
    np.add.accumulate(pairs, axis=0, out=pairs)


def grown_once(held: Holding, ratio: float, restart: float, kappas: Array, mode: Mode) -> Holding:
    """What is held after a single ratio: the same operations, without what only a batch needs."""
    gains = ((min(ratio, MOST_RATIO) - 1.0) * kappas + 1.0) * held.gains
    if mode is Mode.ONCE and not restart:
        return Holding(held.logs, gains, held.shares)
    poured = np.exp(-held.logs)
    if mode is not Mode.RATE:
        poured *= restart
    return Holding(held.logs, gains, poured / held.gains + held.shares)


def log_mean(logs: Array) -> Array:
    """The log of the mean of exp(logs) over the last axis."""
    mean: Array = np.logaddexp.reduce(logs, axis=-1) - math.log(logs.shape[-1])
    return mean
