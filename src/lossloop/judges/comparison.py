"""What the judges of a challenger share: two tests on the same differences, and one answer made of both.

    roll back:  r = (g - lo) / (d_rb - lo)      refutes "the challenger is worse by at most d_rb"
    promote:    r = (hi - g) / (hi - d_ni)      refutes "the challenger is worse by d_ni or more"

where g is an unbiased difference (challenger minus champion) known to lie in [lo, hi]. Each is wrong with a
chance of at most `error`, ever.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from lossloop.core.errors import InputError
from lossloop.core.records import Interval, Record, Verdict, VerdictKind
from lossloop.judges.base import Kinds, error_of, reached, verdict_of
from lossloop.judges.engine import CANARY_KAPPAS, Engine, Step, Wealth
from lossloop.judges.intervals import asymptotic_interval
from lossloop.judges.moments import Moments
from lossloop.judges.promise import Mode, chance

Array = npt.NDArray[np.float64]

MISSING = ("worst_case", "same_in_both_arms")
"""What an outcome that never came counts as: the worst for each test, or nothing (an assumption)."""

_ROLL_BACK = (VerdictKind.ALARM, VerdictKind.INCONCLUSIVE)
_PROMOTE = (VerdictKind.BETTER, VerdictKind.INCONCLUSIVE)


class Comparison(Record, frozen=True):
    """Two verdicts on one challenger: whether to roll it back, and whether it may be promoted."""

    roll_back: Verdict
    promote: Verdict

    @property
    def verdict(self) -> Verdict:
        """The one that says most: a rollback (`alarm`) before a promotion (`better`), else the rollback's."""
        if self.promote.kind is VerdictKind.BETTER and self.roll_back.kind is not VerdictKind.ALARM:
            return self.promote
        return self.roll_back

    @property
    def kind(self) -> VerdictKind:
        """`alarm`, `better`, `inconclusive`, `no_data` or `error`."""
        return self.verdict.kind


class Difference(Record, frozen=True):
    """Both tests' wealth, and the differences that each was given (not the same if outcomes are missing)."""

    roll_back: Wealth
    promote: Wealth
    least: Moments = Moments()
    most: Moments = Moments()


@dataclass(frozen=True, kw_only=True, eq=False)
class Bounded:
    """Differences that can be judged; arrays of shape (n,)."""

    least: Array
    """What the rollback is tested on."""
    most: Array
    """What the promotion is tested on; the same unless an outcome is missing."""
    low: Array
    """What each difference cannot be below, nor above `high`."""
    high: Array
    rows: npt.NDArray[np.int64]
    """Where each stood in the batch it came in."""

    def at(self, step: Step) -> Step:
        """The step with its deciding outcome as a row of that batch."""
        return step if step.crossed_at is None else Step(step.evidence, int(self.rows[step.crossed_at]))


@dataclass(frozen=True, kw_only=True)
class TwoTests:
    """The two tests of one rollout: `error` is the chance of each mistake, margins are in the loss's unit."""

    worse_by: float
    within: float
    error: float
    words: str = ""

    @cached_property
    def engine(self) -> Engine:
        """What both tests bet with."""
        return Engine(chance(self.error, Mode.ONCE, words=self.words), CANARY_KAPPAS)

    def start(self) -> Difference:
        """Nothing judged yet."""
        return Difference(roll_back=self.engine.start(), promote=self.engine.start())

    def update(self, state: Difference, found: Bounded, *, assumption: str) -> tuple[Difference, Comparison]:
        """Judge differences, in order."""
        down = np.maximum(found.least - found.low, 0.0) / (self.worse_by - found.low)
        up = np.maximum(found.high - found.most, 0.0) / (found.high - self.within)
        roll_back, rb_step = self.engine.update(state.roll_back, down)
        promote, pr_step = self.engine.update(state.promote, up)
        moved = Difference(
            roll_back=roll_back,
            promote=promote,
            least=state.least.add(found.least),
            most=state.most.add(found.most),
        )
        effect, said = self._effect(moved), _found(moved)

        def verdict(wealth: Wealth, step: Step, kinds: Kinds, aim: str) -> Verdict:
            return verdict_of(
                self.engine,
                wealth,
                found.at(step),
                kinds,
                effect=effect,
                assumption=assumption,
                reason=f"{said}, {aim}: {reached(self.engine, wealth, step.evidence)}",
            )

        return moved, Comparison(
            roll_back=verdict(roll_back, rb_step, _ROLL_BACK, f"to roll back above {self.worse_by:g}"),
            promote=verdict(promote, pr_step, _PROMOTE, f"to promote below {self.within:g}"),
        )

    def _effect(self, state: Difference) -> Interval | None:
        """The difference and its interval.

        A margin that a test has refuted is the end of it: an interval that contradicts the verdict beside it,
        because it is built on less (a variance, where the test bets), would only confuse.
        """
        least, most = asymptotic_interval(state.least), asymptotic_interval(state.most)
        if least is None or most is None:
            return None
        worse, within = state.roll_back.crossed is not None, state.promote.crossed is not None
        low = max(least.low, self.worse_by) if worse else least.low
        high = min(most.high, self.within) if within and not worse else most.high
        estimate = 0.5 * (least.estimate + most.estimate)
        return Interval(
            estimate=min(max(estimate, low), max(high, low)),
            low=low,
            high=max(high, low),
            level=least.level,
            approximate=True,
        )

    def refuse(self, state: Difference, problem: str, *, assumption: str) -> Comparison:
        """The answer to evidence that cannot be judged."""
        return Comparison(
            roll_back=error_of(self.engine, state.roll_back, problem, assumption=assumption),
            promote=error_of(self.engine, state.promote, problem, assumption=assumption),
        )


def check_tests(tests: TwoTests, reach: float) -> None:
    """Both margins must be smaller in size than `reach`, the largest difference; the error a chance."""
    _ = tests.engine
    for name, margin in (("roll_back_if_worse_by", tests.worse_by), ("promote_if_within", tests.within)):
        if not (math.isfinite(margin) and abs(margin) < reach):
            raise InputError(f"{name} {margin:g} must lie between -{reach:g} and {reach:g}", field=name)


def check_missing(missing: str) -> None:
    """`missing` must be a rule that exists."""
    if missing not in MISSING:
        raise InputError(f"missing is {missing!r}; there are: {', '.join(MISSING)}", field="missing")


def _found(state: Difference) -> str:
    if state.least.mean == state.most.mean:
        return f"difference {state.least.mean:.4g} over {state.least.count:,}"
    return f"difference {state.least.mean:.4g} to {state.most.mean:.4g} over {state.least.count:,}"
