"""Many streams at once: ten thousand slices in columns, each judged as `Engine` judges one.

A batch is outcomes with the number of their stream, one ratio per stream, or a block's sums per stream. The
exact updates go through the operations of `holding.py` in the order of each stream, so they leave the very
bits that an `Engine` leaves, stream by stream.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from lossloop.core.errors import InputError
from lossloop.judges.engine import KAPPAS, NEARLY, Engine, Wealth
from lossloop.judges.holding import MOST_GAIN, MOST_RATIO, Holding, log_mean, settled
from lossloop.judges.promise import Mode, Promise
from lossloop.judges.restarts import log_restart_masses, restarts_at

Array = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]

_FEW = 100
"""Fewer streams than this, with much left to judge, are walked one after another, not side by side."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Columns:
    """The state of n streams, a row each; `logs`, `gains` and `shares` have shape (n, k)."""

    logs: Array
    gains: Array
    shares: Array
    count: Codes
    """How many ratios each was judged on."""
    crossed: Codes
    """How many had been judged when M first reached A, the deciding one included; 0 where it has not."""
    evidence: Array
    """`log M` at the crossing; 0 where there was none."""

    def __len__(self) -> int:
        return len(self.count)

    def rows(self, chosen: npt.NDArray[np.integer] | npt.NDArray[np.bool_]) -> Columns:
        """Only the chosen streams, copied."""
        return Columns(**{name: getattr(self, name)[chosen] for name in self.__dataclass_fields__})


@dataclass(frozen=True, eq=False)
class Streams:
    """`Engine` for many streams of one promise. Every update is pure: the state given stays as it was."""

    promise: Promise
    kappas: Array = field(default_factory=lambda: KAPPAS)

    def start(self, streams: int) -> Columns:
        """So many streams before their first ratio."""
        empty = settled(np.full((streams, len(self.kappas)), -np.inf), self.promise.mode)
        none = np.zeros(streams, dtype=np.int64)
        return Columns(
            **empty._asdict(), count=none, crossed=none.copy(), evidence=np.zeros(streams, dtype=np.float64)
        )

    def update(self, state: Columns, streams: Codes, ratios: Array) -> Columns:
        """Bet on outcomes: `ratios`, each finite and >= 0, with the numbers of their `streams`; shape (m,).

        Of each stream they come in order; exact at every ratio.

        Raises:
            InputError: There is no such stream, or not one number for each ratio.
        """
        codes = _checked(streams, len(ratios), len(state))
        if not len(codes):
            return state
        order = np.argsort(codes, kind="stable")
        many = np.bincount(codes, minlength=len(state))
        busiest = np.argsort(-many, kind="stable")[: int((many > 0).sum())]
        starts = (np.cumsum(many) - many)[busiest]
        many, sorted_ratios = many[busiest], ratios[order]
        moving = state.rows(busiest)
        step, active = 0, len(busiest)
        while active and not _is_long(int(many[0]) - step, active):
            self._step(moving, active, sorted_ratios[starts[:active] + step])
            step += 1
            active = int(np.searchsorted(-many, -step))
        for row in range(active):
            self._walk(moving, row, sorted_ratios[starts[row] + step : starts[row] + many[row]])
        return _with(state, busiest, moving)

    def update_together(self, state: Columns, ratios: Array) -> Columns:
        """Bet on `ratios` of shape (t, n): t of each stream, time first; exact at every ratio."""
        if ratios.ndim != 2 or ratios.shape[1] != len(state):
            raise InputError(f"ratios must have shape (times, {len(state)}), not {ratios.shape}")
        moving, active = state.rows(np.arange(len(state))), len(state)
        if _is_long(len(ratios), active):
            for stream in range(active):
                self._walk(moving, stream, ratios[:, stream])
        else:
            for row in ratios:
                self._step(moving, active, row)
        return moving

    def update_sums(self, state: Columns, count: Codes, sums: Array) -> Columns:
        """Bet on a block of each stream: `count`, shape (n,), 0 for none, and `sums` of bets, shape (n, k).

        As `Engine.update_sums`: restart mass at the block's start, a crossing seen at its end.
        """
        if count.shape != (len(state),) or sums.shape != state.logs.shape or (count < 0).any():
            raise InputError(f"needs a count of at least 0 and sums of bets for each of {len(state)} streams")
        rows = np.flatnonzero(count)
        if not len(rows):
            return state
        moving = state.rows(rows)
        mass = log_restart_masses(
            self.promise.mode, moving.count.astype(np.float64), count[rows].astype(np.float64)
        )
        logs = sums[rows] + np.logaddexp(self.log_wealth(moving), mass[:, None])
        moving.count[:] += count[rows]
        found = log_mean(logs)
        crossed = (moving.crossed == 0) & (found >= self.promise.log_threshold)
        moving.crossed[crossed] = moving.count[crossed]
        moving.evidence[crossed] = found[crossed]
        return _with(state, rows, replace(moving, **settled(logs, self.promise.mode)._asdict()))

    def update_counts(self, state: Columns, count: Codes, ones: Codes, limit: float | Array) -> Columns:
        """Bet on blocks of losses of 0 or 1: `ones` of `count`, shape (n,), against `risk <= limit`."""
        limits = np.broadcast_to(np.asarray(limit, dtype=np.float64), (len(state),))
        if (ones < 0).any() or (ones > count).any() or not (limits > 0.0).all():
            raise InputError("needs 0 <= ones <= count, and limit > 0, for each stream")
        won = np.log1p(np.multiply.outer(1.0 / limits - 1.0, self.kappas))
        sums = ones[:, None] * won + (count - ones)[:, None] * np.log1p(-self.kappas)
        return self.update_sums(state, count, sums)

    def log_wealth(self, state: Columns) -> Array:
        """The gamblers' log wealth now, shape (n, k); minus infinity where nothing was judged."""
        with np.errstate(divide="ignore"):
            return Holding(state.logs, state.gains, state.shares).log_wealth()

    def evidence(self, state: Columns) -> Array:
        """`log M` now, or at the crossing, shape (n,); 0 where nothing was judged."""
        now = np.where(state.count > 0, log_mean(self.log_wealth(state)), 0.0)
        return np.where(state.crossed > 0, state.evidence, now)

    def wealths(self, state: Columns) -> Iterator[Wealth]:
        """Each stream's state as an `Engine` keeps it."""
        for row in range(len(state)):
            crossed = int(state.crossed[row])
            yield Wealth(
                logs=state.logs[row].astype("<f8").tobytes(),
                count=int(state.count[row]),
                crossed=crossed or None,
                crossed_evidence=float(state.evidence[row]),
                gains=state.gains[row].astype("<f8").tobytes(),
                shares=state.shares[row].astype("<f8").tobytes(),
            )

    @cached_property
    def _engine(self) -> Engine:
        return Engine(self.promise, self.kappas)

    def _step(self, moving: Columns, active: int, ratios: Array) -> None:
        """Bet on one ratio of each of the first `active` streams, in place."""
        logs, gains, shares = moving.logs[:active], moving.gains[:active], moving.shares[:active]
        count = moving.count[:active]
        self._restart(logs, gains, shares, count)
        bets = np.multiply.outer(np.minimum(ratios, MOST_RATIO) - 1.0, self.kappas)
        bets += 1.0
        gains *= bets
        count += 1
        over = gains > MOST_GAIN if gains.max() > MOST_GAIN else None
        self._cross(moving, active, over is not None)
        settle = count % self._engine.piece == 0
        if over is not None:
            settle |= over.any(axis=1)
        if settle.any():
            rows = np.flatnonzero(settle)
            held = Holding(logs[rows], gains[rows], shares[rows]).log_wealth()
            logs[rows], gains[rows], shares[rows] = settled(held, self.promise.mode)

    def _restart(self, logs: Array, gains: Array, shares: Array, count: Codes) -> None:
        mode = self.promise.mode
        if mode is Mode.ONCE:
            rows = np.flatnonzero(count == 0)
            shares[rows] += np.exp(-logs[rows]) / gains[rows]
            return
        poured = np.exp(-logs)
        if mode is not Mode.RATE:
            poured *= restarts_at(mode, count.astype(np.float64))[:, None]
        poured /= gains
        shares += poured

    def _cross(self, moving: Columns, active: int, over: bool) -> None:
        """Note which of the first `active` streams reached A with their last ratio."""
        threshold = self.promise.log_threshold
        logs, gains, shares = moving.logs[:active], moving.gains[:active], moving.shares[:active]
        with np.errstate(over="ignore"):
            wealth = np.exp(logs - threshold)
            wealth *= gains
            wealth *= shares
        near = (wealth.sum(axis=1) >= NEARLY * wealth.shape[1]) & (moving.crossed[:active] == 0)
        for row in np.flatnonzero(near):
            evidence = float(log_mean(Holding(logs[row], gains[row], shares[row]).log_wealth()))
            if evidence >= threshold:
                moving.crossed[row], moving.evidence[row] = moving.count[row], evidence

    def _walk(self, moving: Columns, row: int, ratios: Array) -> None:
        """Bet on the ratios of one stream, in place."""
        held = Holding(moving.logs[row], moving.gains[row], moving.shares[row])
        count, crossed = int(moving.count[row]), bool(moving.crossed[row])
        held, at, evidence = self._engine.walked(held, count, ratios, crossed=crossed)
        moving.logs[row], moving.gains[row], moving.shares[row] = held
        moving.count[row] += len(ratios)
        if at is not None:
            moving.crossed[row], moving.evidence[row] = count + at + 1, evidence


def _is_long(ratios: int, streams: int) -> bool:
    """Whether so many ratios of so few streams are judged faster one stream after another."""
    return streams < _FEW and ratios > 2 * streams


def _checked(streams: Codes, ratios: int, known: int) -> npt.NDArray[np.integer]:
    """The codes in the smallest type that holds them, which sorts many times faster."""
    codes = np.asarray(streams)
    if codes.shape != (ratios,) or (ratios and codes.dtype.kind not in "iu"):
        raise InputError(f"{ratios} ratios need as many numbers of streams, as integers", field="streams")
    if ratios and not (codes.min() >= 0 and codes.max() < known):
        raise InputError(f"streams are numbered from 0 to {known - 1}", field="streams")
    small: npt.NDArray[np.integer] = codes.astype(np.uint16) if known <= 1 << 16 else codes
    return small


def _with(state: Columns, rows: npt.NDArray[np.integer], moved: Columns) -> Columns:
    """The state with some rows replaced."""
    found = state.rows(np.arange(len(state)))
    for name in found.__dataclass_fields__:
        getattr(found, name)[rows] = getattr(moved, name)
    return found
