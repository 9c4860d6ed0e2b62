"""Judges of one version's risk: a guardrail, a certificate of low risk, a regression against a reference.

Rows and block means are judged alike: both are an array of losses, and the promise says which it counts.
Verdicts: `alarm` once the evidence has reached the threshold, else `healthy`: judged, and no alarm. That is
the absence of an alarm, not a proof; `Certificate` gives the proof (`healthy`, else `inconclusive`). Against
a reference that is too small for the tolerance the absence of an alarm says nothing: `inconclusive`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import msgspec
import numpy as np
import numpy.typing as npt

from lossloop.core.errors import InputError
from lossloop.core.records import Interval, Record, Verdict, VerdictKind
from lossloop.judges.base import Kinds, Sketch, error_of, losses_array, problem_in, reached, verdict_of
from lossloop.judges.engine import Engine, Step, Wealth, bet_sums
from lossloop.judges.intervals import asymptotic_interval
from lossloop.judges.moments import Moments
from lossloop.judges.promise import Counts, Promise
from lossloop.judges.reference import Reference, needed_for

Array = npt.NDArray[np.float64]

_ALARM = (VerdictKind.ALARM, VerdictKind.HEALTHY)
_CERTIFIED = (VerdictKind.HEALTHY, VerdictKind.INCONCLUSIVE)


class RiskState(Record, frozen=True):
    """The wealth of the bet, and the losses that were judged since the start."""

    wealth: Wealth
    seen: Moments = Moments()


@dataclass(frozen=True, kw_only=True)
class Guardrail:
    """Alarm when the risk exceeds `limit`: `r = (L - floor) / (limit - floor)`.

    Needs only losses of at least `floor`: no upper bound, no clipping, no variance. The effect is the mean
    loss since the start.
    """

    limit: float
    promise: Promise
    floor: float = 0.0

    def __post_init__(self) -> None:
        _check_order("floor", self.floor, "limit", self.limit)

    def start(self) -> RiskState:
        """Nothing judged yet."""
        return RiskState(wealth=self._engine.start())

    def update(self, state: RiskState, evidence: Array, /) -> tuple[RiskState, Verdict]:
        """Judge losses (rows or block means) of shape (n,), in prediction order."""
        losses = losses_array(evidence)
        if problem := problem_in(losses, self.floor, math.inf):
            return state, error_of(self._engine, state.wealth, problem, assumption=self._assumption)
        wealth, step = self._engine.update(state.wealth, self._ratios(losses))
        return self._answer(RiskState(wealth=wealth, seen=state.seen.add(losses)), step)

    def update_sketch(self, state: RiskState, sketch: Sketch) -> tuple[RiskState, Verdict]:
        """Judge a block of losses by its digest alone; never more evidence than the losses themselves give.

        A crossing is seen at the block's end. Raises InputError where a knot lies below the floor.
        """
        _check_knots(sketch, self.floor, math.inf)
        moved, step = _bet_on(self._engine, state, sketch, self._ratios(sketch.knots))
        return self._answer(moved, step)

    def _ratios(self, losses: Array) -> Array:
        return np.maximum(losses - self.floor, 0.0) / (self.limit - self.floor)

    def _answer(self, state: RiskState, step: Step) -> tuple[RiskState, Verdict]:
        return state, _verdict(
            self._engine, state, step, _ALARM, assumption=self._assumption, limit=self.limit
        )

    @cached_property
    def _engine(self) -> Engine:
        return Engine(self.promise)

    @cached_property
    def _assumption(self) -> str:
        return f"each loss is at least {self.floor:g}"


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """Certify that the risk is below `limit`: `r = (bound - L) / (bound - limit)`, for losses up to `bound`.

    `healthy` once it is certified, else `inconclusive`; never an alarm.
    """

    limit: float
    bound: float
    promise: Promise
    floor: float = -math.inf

    def __post_init__(self) -> None:
        _check_order("limit", self.limit, "bound", self.bound)
        if self.floor >= self.limit:
            raise InputError(f"limit {self.limit:g} must be above floor {self.floor:g}", field="limit")

    def start(self) -> RiskState:
        """Nothing judged yet."""
        return RiskState(wealth=self._engine.start())

    def update(self, state: RiskState, evidence: Array, /) -> tuple[RiskState, Verdict]:
        """Judge losses (rows or block means) of shape (n,), in prediction order."""
        losses = losses_array(evidence)
        if problem := problem_in(losses, self.floor, self.bound):
            return state, error_of(self._engine, state.wealth, problem, assumption=self._assumption)
        wealth, step = self._engine.update(state.wealth, self._ratios(losses))
        return self._answer(RiskState(wealth=wealth, seen=state.seen.add(losses)), step)

    def update_sketch(self, state: RiskState, sketch: Sketch) -> tuple[RiskState, Verdict]:
        """Judge a block of losses by its digest alone; never more evidence than the losses themselves give.

        A crossing is seen at the block's end. Raises InputError where a knot lies above the bound: give the
        digest's scale the bound of the loss.
        """
        _check_knots(sketch, self.floor, self.bound)
        moved, step = _bet_on(self._engine, state, sketch, self._ratios(sketch.knots))
        return self._answer(moved, step)

    def _ratios(self, losses: Array) -> Array:
        return np.maximum(self.bound - losses, 0.0) / (self.bound - self.limit)

    def _answer(self, state: RiskState, step: Step) -> tuple[RiskState, Verdict]:
        return state, _verdict(
            self._engine, state, step, _CERTIFIED, assumption=self._assumption, limit=self.limit
        )

    @cached_property
    def _engine(self) -> Engine:
        return Engine(self.promise)

    @cached_property
    def _assumption(self) -> str:
        return f"each loss is at most {self.bound:g}"


@dataclass(frozen=True, kw_only=True)
class Regression:
    """Alarm when the risk exceeds the reference's upper bound by more than `tolerance`.

    The effect is the mean loss since the start minus the reference's estimate. A promise that counts blocks
    needs a reference over blocks, and one that counts outcomes needs rows.
    """

    reference: Reference
    tolerance: float
    promise: Promise
    floor: float = 0.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.tolerance) and self.tolerance >= 0.0):
            raise InputError(
                f"a tolerance is a number of at least 0, not {self.tolerance}", field="tolerance"
            )
        if self.promise.counts not in (Counts.EITHER, self.reference.counts):
            raise InputError(
                f"the promise {self.promise.words!r} counts {self.promise.counts}, the reference is over "
                f"{self.reference.counts}; write the promise per {self.reference.counts}",
                field="promise",
            )
        _check_order("floor", self.floor, "limit", self.limit)

    @property
    def limit(self) -> float:
        """The risk above which it alarms: the reference's upper bound plus the tolerance."""
        return self.reference.upper + self.tolerance

    def start(self) -> RiskState:
        """Nothing judged yet."""
        return self._guardrail.start()

    def update(self, state: RiskState, evidence: Array, /) -> tuple[RiskState, Verdict]:
        """Judge losses (rows or block means, as the reference) of shape (n,), in prediction order."""
        return self._answer(*self._guardrail.update(state, evidence))

    def update_sketch(self, state: RiskState, sketch: Sketch) -> tuple[RiskState, Verdict]:
        """Judge a block of losses by its digest alone, as `Guardrail.update_sketch`."""
        return self._answer(*self._guardrail.update_sketch(state, sketch))

    def _answer(self, state: RiskState, verdict: Verdict) -> tuple[RiskState, Verdict]:
        ref = self.reference
        about = (
            f"the reference ({ref.count:,} {ref.counts}, {ref.method}) bounds the risk at "
            f"{100 * ref.confidence:g}%{', approximately' if ref.approximate else ''}"
        )
        limit = f"limit = {ref.upper:.4g} (reference) + {self.tolerance:g} (tolerance)"
        unsure = verdict.kind is VerdictKind.HEALTHY and bool(self._lacks)
        return state, msgspec.structs.replace(
            verdict,
            kind=VerdictKind.INCONCLUSIVE if unsure else verdict.kind,
            effect=_less(verdict.effect, ref.estimate),
            assumption=f"{verdict.assumption}; {about}",
            reason=f"{verdict.reason}; {limit}{self._lacks}",
        )

    @cached_property
    def _lacks(self) -> str:
        """That the reference is too small for the tolerance, and how large it needs to be; empty if not."""
        ref, needed = self.reference, needed_for(self.reference, self.tolerance)
        if needed <= ref.count:
            return ""
        would = f"{needed:,} {ref.counts} would do, the reference has {ref.count:,}"
        return f"; too few for this tolerance: {would}"

    @cached_property
    def _guardrail(self) -> Guardrail:
        return Guardrail(limit=self.limit, promise=self.promise, floor=self.floor)


def _bet_on(engine: Engine, state: RiskState, sketch: Sketch, ratios: Array) -> tuple[RiskState, Step]:
    """Bet on the knots, of the given ratios, as much as they weigh."""
    sums = bet_sums(ratios, sketch.weights, engine.kappas)
    wealth, step = engine.update_sums(state.wealth, sketch.count, sums)
    added = Moments.of_sums(sketch.count, sketch.total, sketch.squares)
    return RiskState(wealth=wealth, seen=state.seen.merge(added)), step


def _check_knots(sketch: Sketch, low: float, high: float) -> None:
    problem = problem_in(sketch.knots, low, high, name="knot")
    if problem:
        raise InputError(f"this digest cannot be judged: {problem}; give its scale this range", field="scale")


def _verdict(
    engine: Engine, state: RiskState, step: Step, kinds: Kinds, *, assumption: str, limit: float
) -> Verdict:
    wealth, seen = state.wealth, state.seen
    found = f"mean loss {seen.mean:.4g} over {seen.count:,}, limit {limit:.4g}"
    return verdict_of(
        engine,
        wealth,
        step,
        kinds,
        effect=asymptotic_interval(seen),
        assumption=assumption,
        reason=f"{found}: {reached(engine, wealth, step.evidence)}",
    )


def _less(effect: Interval | None, estimate: float) -> Interval | None:
    if effect is None:
        return None
    return msgspec.structs.replace(
        effect,
        estimate=effect.estimate - estimate,
        low=effect.low - estimate,
        high=effect.high - estimate,
    )


def _check_order(low_name: str, low: float, high_name: str, high: float) -> None:
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise InputError(
            f"{high_name} {high:g} must be above {low_name} {low:g}, both finite", field=high_name
        )
