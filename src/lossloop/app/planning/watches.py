"""How long each watch takes to tell a rise: its own judge, over futures drawn from the past. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

import msgspec

from lossloop.act.watches import Watch
from lossloop.app.planning.base import Effect, WatchPlan
from lossloop.app.planning.past import Seen
from lossloop.app.watches import by_rows, judge_of, of_outcomes
from lossloop.core.clock import DAY, Micros
from lossloop.core.errors import InputError
from lossloop.judges import Guardrail, Reference, Regression, needed_for, parse
from lossloop.judges.planning import Law, Test, quantile, waits

SHARES = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""Rises that are planned for, as shares of the mean loss."""
HALF, MOST = 0.5, 0.9
YEAR, WEEK = 365 * DAY, 7 * DAY
QUIET = 28 * DAY
"""How long all was well before the rise."""
FEWEST_BLOCKS, FEWEST_ROWS = 8, 100
_GREATEST = 4.0
"""The largest rise that is looked at, as a share of the mean."""
_TURNS = 9


@dataclass(frozen=True, kw_only=True)
class _Future:
    """A watch on a law of losses."""

    judge: Guardrail | Regression
    law: Law
    by_rows: bool
    per_day: float
    futures: int
    seed: int

    def ratios(self, law: Law) -> Law:
        low, limit = self.judge.floor, self.judge.limit
        return Law((law.values - low).clip(0.0) / (limit - low), law.chances)

    def worse(self, rise: float) -> Law:
        """A block is worse as a whole; of rows more are bad."""
        return self.law.tilted(self.law.mean + rise) if self.by_rows else self.law.moved(rise)

    def counts(self, span: Micros) -> int:
        return max(1, math.floor(self.per_day * span / DAY))

    def waits(self, rise: float, span: Micros) -> tuple[float, float]:
        """How many blocks or outcomes until a rise is told, in half and in most futures."""
        ratios = self.ratios(self.worse(rise))
        if ratios.mean <= 1.0:
            return math.inf, math.inf
        found = waits(
            Test.of_watch(self.judge.promise), ratios, most=self.counts(span),
            before=self.ratios(self.law), quiet=self.counts(QUIET), futures=self.futures, seed=self.seed,
        )  # fmt: skip
        return quantile(found, HALF), quantile(found, MOST)

    def false_in_year(self) -> float:
        """The share of healthy years with an alarm."""
        found = waits(
            Test.of_watch(self.judge.promise), self.ratios(self.law), most=self.counts(YEAR),
            futures=self.futures, seed=self.seed,
        )  # fmt: skip
        return float((found < math.inf).mean())

    def least(self, place: int, span: Micros) -> float | None:
        """The least rise, as a share of the mean, that is told within a span; None where none is."""
        low, high = 0.001, _GREATEST
        if self.waits(high * self.law.mean, span)[place] == math.inf:
            return None
        for _ in range(_TURNS):
            middle = math.sqrt(low * high)
            if self.waits(middle * self.law.mean, span)[place] == math.inf:
                low = middle
            else:
                high = middle
        return high


def plan_watch(
    name: str, watch: Watch, seen: Seen, *, futures: int, seed: int = 0, shares: tuple[float, ...] = SHARES,
    week: bool = True,
) -> WatchPlan:  # fmt: skip
    """What to expect of a watch; where nothing can be said, the plan says why."""
    counts = "outcomes" if by_rows(watch) else "blocks"
    blank = WatchPlan(watch=name, asks=watch.kind, promise=parse(watch.promise).words, counts=counts)
    if of_outcomes(watch) is None:
        return _not(blank, "it looks at arrivals, whose features the columns do not hold")
    try:
        judge = judge_of(seen.lens, watch, seen.champion)
    except InputError as error:
        return _not(blank, str(error))
    if not isinstance(judge, Guardrail | Regression):
        return _not(blank, f"waits of a {watch.kind} watch are not planned yet")
    law, source = _law(name, watch, judge, seen)
    if law is None:
        return _not(blank, source)
    if not law.mean > judge.floor:
        return _not(blank, "all its losses are the least that there is")
    future = _Future(
        judge=judge, law=law, by_rows=by_rows(watch), futures=futures, seed=seed,
        per_day=seen.per_day if by_rows(watch) else DAY / seen.lens.policy.block,
    )  # fmt: skip
    effects = tuple(_effect(future, share) for share in shares)
    return msgspec.structs.replace(
        blank, source=source, mean=law.mean, limit=judge.limit, per_day=future.per_day,
        false_in_year=future.false_in_year(), effects=effects,
        week_half=future.least(0, WEEK) if week else None, week_most=future.least(1, WEEK) if week else None,
        warnings=tuple(warnings_of(judge, law, seen, effects)),
    )  # fmt: skip


def _not(blank: WatchPlan, why: str) -> WatchPlan:
    return msgspec.structs.replace(blank, unplanned=why)


def _law(name: str, watch: Watch, judge: Guardrail | Regression, seen: Seen) -> tuple[Law | None, str]:
    """The law of what a healthy champion's rows or blocks lose, and where it is from."""
    sample = list(seen.rows) if by_rows(watch) else seen.blocks.get(name, [])
    unit, fewest = ("outcomes", FEWEST_ROWS) if by_rows(watch) else ("blocks", FEWEST_BLOCKS)
    where = f"{len(sample):,} {unit} of {seen.champion.name}"
    reference = seen.champion.manifest.reference
    if len(sample) < fewest:
        if by_rows(watch) or reference is None or len(reference.block_means) < fewest:
            return None, f"the ledger has {where}; a plan needs {fewest:,}"
        return Law.of(reference.block_means), f"the reference of {seen.champion.name}: {where} are too few"
    law = Law.of(sample)
    if isinstance(judge, Regression):  # the past may hold the very rise that the watch is for
        return law.moved(judge.reference.estimate - law.mean), f"{where}, moved to the reference's mean"
    return law, where


def _effect(future: _Future, share: float) -> Effect:
    rise = share * future.law.mean
    half, most = future.waits(rise, YEAR)
    return Effect(
        share=share, rise=rise, half=half, most=most,
        half_time=time_of(half, future.per_day), most_time=time_of(most, future.per_day),
    )  # fmt: skip


def time_of(count: float, per_day: float) -> Micros | None:
    """How long so many take at so many a day."""
    if math.isinf(count) or per_day <= 0.0:
        return None
    return round(count / per_day * DAY)


def warnings_of(
    judge: Guardrail | Regression, law: Law, seen: Seen, effects: tuple[Effect, ...]
) -> list[str]:
    """What a promise and a tolerance do not give together."""
    found = []
    room = judge.limit - law.mean
    if room <= 0.0:
        found.append(
            f"its mean of {law.mean:.4g} is above the limit of {judge.limit:.4g} already: "
            "it would alarm at once"
        )
    hidden = seen.missing * (law.mean - judge.floor)
    tolerance = judge.tolerance if isinstance(judge, Regression) else room
    if hidden > tolerance > 0.0:
        found.append(
            f"{seen.missing:.1%} of the outcomes are missing at the judging age and count as the least loss: "
            f"that hides {hidden:.3g}, more than the tolerance of {tolerance:.3g}; judge later (mature_after)"
        )
    if isinstance(judge, Regression):
        found += _of_reference(judge.reference, judge.tolerance)
    slow = next((each for each in effects if each.rise >= 2.0 * max(room, 0.0)), None)
    if room > 0.0 and slow is not None and math.isinf(slow.most):
        found.append(
            f"the promise and the tolerance cannot both be kept: a rise of {slow.rise:.3g} "
            f"(+{slow.share:.0%}), twice what the limit allows, is not told within a year in nine of ten "
            "futures; promise less, or take a wider block or more traffic"
        )
    if room > 0.0:
        found.append(
            f"a rise of less than {room:.3g} (+{room / law.mean:.0%}) lies within the limit: never told"
        )
    return found


def _of_reference(reference: Reference, tolerance: float) -> list[str]:
    width = reference.upper - reference.estimate
    if width <= tolerance:
        return []
    needed = needed_for(reference, tolerance)
    said = (
        f"the reference is too small for a tolerance of {tolerance:.3g}: its bound stands {width:.3g} above "
        f"its mean; {needed:,} {reference.counts} would do, it has {reference.count:,}"
    )
    return [said]
