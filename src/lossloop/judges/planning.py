"""How long a verdict takes: the engine itself, run over many made-up futures drawn from a law of losses.

A law is what a loss (or a block's mean, or a weighted difference) may be, and how likely. Futures are drawn
with a seed, so that a plan is the same every time. Behind the first 200 outcomes they are judged some at a
time, 2% of what came before, in the engine's block form: it keeps the promise and may be that much late.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from lossloop.core.errors import InputError
from lossloop.judges.comparison import TwoTests
from lossloop.judges.engine import KAPPAS, log_bets
from lossloop.judges.promise import Promise
from lossloop.judges.streams import Columns, Streams

Array = npt.NDArray[np.float64]

MOST_VALUES = 200
"""Values of a law; more are told by as many means of neighbours."""
FINE = 200
"""So many outcomes are judged one at a time."""
STEP = 0.02
"""Then so large a share of what came before."""


@dataclass(frozen=True, eq=False)
class Law:
    """Values, ascending, and their chances, which add up to 1; shape (j,)."""

    values: Array
    chances: Array

    @classmethod
    def of(cls, sample: npt.ArrayLike) -> Law:
        """The law of a sample of shape (n,), n >= 1, finite; large ones by means of neighbours."""
        found = np.sort(np.asarray(sample, dtype=np.float64))
        if not len(found) or not np.isfinite(found).all():
            raise InputError("a law needs one or more finite losses", field="losses")
        values, counts = np.unique(found, return_counts=True)
        if len(values) > MOST_VALUES:
            groups = np.array_split(found, MOST_VALUES)
            values, counts = np.array([each.mean() for each in groups]), np.array([len(e) for e in groups])
        return cls(values, counts / counts.sum())

    @property
    def mean(self) -> float:
        """What is lost on average."""
        return float(self.values @ self.chances)

    def moved(self, by: float) -> Law:
        """Every value that much larger: blocks that are worse alike."""
        return Law(self.values + by, self.chances)

    def tilted(self, to: float) -> Law:
        """The same values, the larger ones likelier, so that the mean is `to`: more of the same mistakes.

        Where no chances make this mean, every value is moved.
        """
        low, high = float(self.values[0]), float(self.values[-1])
        if not low < to < high:
            return self.moved(to - self.mean)
        scaled = (self.values - low) / (high - low)
        least, most = -700.0, 700.0
        for _ in range(100):
            middle = 0.5 * (least + most)
            if self._tilted_by(scaled, middle).mean < to:
                least = middle
            else:
                most = middle
        return self._tilted_by(scaled, 0.5 * (least + most))

    def _tilted_by(self, scaled: Array, strength: float) -> Law:
        weights = self.chances * np.exp(strength * (scaled - (1.0 if strength > 0 else 0.0)))
        return Law(self.values, weights / weights.sum())


@dataclass(frozen=True, kw_only=True)
class Test:
    """What is bet with: a promise and the gamblers' boldness."""

    __test__ = False  # no test of pytest's
    promise: Promise
    kappas: Array

    @classmethod
    def of_watch(cls, promise: Promise) -> Test:
        """As a guardrail and a regression bet."""
        return cls(promise=promise, kappas=KAPPAS)

    @classmethod
    def of_rollout(cls, tests: TwoTests) -> Test:
        """As both tests of a challenger bet."""
        return cls(promise=tests.engine.promise, kappas=tests.engine.kappas)


def waits(
    test: Test, ratios: Law, *, most: int, before: Law | None = None, quiet: int = 0, futures: int = 200,
    seed: int = 0,
) -> Array:  # fmt: skip
    """How many outcomes each of some futures takes to cross, shape (futures,); infinity beyond `most`.

    Args:
        test: What is bet with.
        ratios: What each outcome's ratio `r` may be, and how likely.
        most: After how many outcomes a future is given up.
        before: The law of ratios before the change.
        quiet: How many outcomes came before it; a future that crosses then begins anew.
        futures: How many are drawn.
        seed: Draws them.
    """
    draw, streams = np.random.default_rng(seed), Streams(test.promise, test.kappas)
    state = streams.start(futures)
    if before is not None:
        for count in _counts(quiet):
            state = _anew(streams, _judged(streams, state, before, count, draw))
    found, passed = np.full(futures, np.inf), 0
    for count in _counts(most):
        state = _judged(streams, state, ratios, count, draw)
        passed += count
        crossed = (state.crossed > 0) & np.isinf(found)
        found[crossed] = passed
        if not np.isinf(found).any():
            break
    return found


def quantile(found: Array, share: float) -> float:
    """So many outcomes are enough in this share of futures; infinity where that was not reached."""
    return float(np.sort(found)[max(0, math.ceil(share * len(found)) - 1)])


def _counts(most: int) -> list[int]:
    """Sizes of steps up to `most` outcomes."""
    steps, passed = [], 0
    while passed < most:
        size = 1 if passed < FINE else max(1, int(passed * STEP))
        steps.append(min(size, most - passed))
        passed += steps[-1]
    return steps


def _judged(streams: Streams, state: Columns, law: Law, count: int, draw: np.random.Generator) -> Columns:
    bets = log_bets(law.values, streams.kappas)
    if count == 1:
        sums = bets[draw.choice(len(bets), size=len(state), p=law.chances)]
    else:
        sums = draw.multinomial(count, law.chances, size=len(state)) @ bets
    return streams.update_sums(state, np.full(len(state), count, dtype=np.int64), sums)


def _anew(streams: Streams, state: Columns) -> Columns:
    """Streams that crossed have nothing won: theirs was a false alarm, and was answered."""
    rows = np.flatnonzero(state.crossed)
    if not len(rows):
        return state
    fresh = streams.start(len(state))
    changed = {name: getattr(state, name).copy() for name in state.__dataclass_fields__}
    for name, values in changed.items():
        values[rows] = getattr(fresh, name)[rows]
    return replace(state, **changed)
