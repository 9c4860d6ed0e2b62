"""How long each watch takes to tell a rise: its own judge, over futures drawn from the past. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec
import numpy as np

from lossloop.act.watches import SeasonalWatch, Watch
from lossloop.app.planning.base import Effect, WatchPlan
from lossloop.app.planning.past import MOST_ROWS, PLANNED, Seen
from lossloop.app.watches import by_rows, judge_of
from lossloop.app.watches.seasons import limits_of
from lossloop.core.clock import DAY, Micros
from lossloop.core.errors import InputError
from lossloop.core.records import Verdict
from lossloop.judges import (
    Estimated,
    Guardrail,
    Promise,
    Reference,
    Regression,
    SeasonalGuardrail,
    Skill,
    needed_for,
    parse,
)
from lossloop.judges.base import Judge
from lossloop.judges.planning import Law, Test, quantile, waits
from lossloop.ledger.joined.columns import Floats

AnyJudge = Judge[Any, Any, Verdict]

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


UNPLANNED: Mapping[str, str] = {
    "drift": "how soon it tells depends on which feature moves, and how",
    "prediction_shift": "how soon it tells depends on how the answers move",
    "slices": "how soon it tells depends on which slices are worse, and on how many",
    "errors": "how often predictions fail is no loss",
    "latency": "how long answers take is no loss",
    "estimate": "how soon it tells with audits depends on how good the estimates are then",
}
"""Why nothing is said of a kind; what it would have said of the past, `lossloop backtest` shows."""


class Bet(NamedTuple):
    """What a watch bets against: `r = (x - floor) / (limit - floor)`."""

    limit: float
    floor: float
    promise: Promise
    what: str = "loss"


@dataclass(frozen=True, kw_only=True)
class _Future:
    """A watch on a law of losses, or of what else it bets on."""

    judge: Bet
    law: Law
    base: float
    """The mean loss, of which rises are shares."""
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
        if self.waits(high * self.base, span)[place] == math.inf:
            return None
        for _ in range(_TURNS):
            middle = math.sqrt(low * high)
            if self.waits(middle * self.base, span)[place] == math.inf:
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
    try:
        judge = judge_of(seen.lens, watch, seen.champion)
        bet = _bet(judge, watch, seen)
    except InputError as error:
        return _not(blank, str(error))
    if bet is None:
        why = UNPLANNED.get(watch.kind, f"waits of a {watch.kind} watch are not planned")
        return _not(blank, f"{why}; lossloop backtest shows what it would have said")
    law, source = _law(name, watch, judge, seen)
    if law is None:
        return _not(blank, source)
    if not law.mean > bet.floor:
        return _not(blank, "all its losses are the least that there is")
    base = law.mean if bet.what != "difference" else float(seen.known.mean()) if len(seen.known) else 0.0
    if not base > 0.0:
        return _not(blank, "the mean loss is 0, and a rise is a share of it")
    future = _Future(
        judge=bet, law=law, base=base, by_rows=by_rows(watch), futures=futures, seed=seed,
        per_day=seen.per_day if by_rows(watch) else DAY / seen.lens.policy.block,
    )  # fmt: skip
    effects = tuple(_effect(future, share) for share in shares)
    return msgspec.structs.replace(
        blank, source=source, mean=law.mean, limit=bet.limit, per_day=future.per_day,
        false_in_year=future.false_in_year(), effects=effects,
        week_half=future.least(0, WEEK) if week else None, week_most=future.least(1, WEEK) if week else None,
        warnings=tuple(warnings_of(judge, bet, law, seen, effects)),
    )  # fmt: skip


def _bet(judge: AnyJudge, watch: Watch, seen: Seen) -> Bet | None:
    """What a judge bets against; None where that is no mean of values."""
    if isinstance(judge, Guardrail | Regression | Estimated):
        return Bet(judge.limit, judge.floor, judge.promise)
    if isinstance(judge, Skill):
        return Bet(judge.tolerance, -judge.reach, judge.promise, "difference")
    if isinstance(judge, SeasonalGuardrail) and isinstance(watch, SeasonalWatch):
        usual = float(limits_of(seen.lens, watch, seen.champion).mean())
        return Bet(usual, judge.floor, judge.promise)
    return None


def _not(blank: WatchPlan, why: str) -> WatchPlan:
    return msgspec.structs.replace(blank, unplanned=why)


def _law(name: str, watch: Watch, judge: AnyJudge, seen: Seen) -> tuple[Law | None, str]:
    """The law of what a healthy champion's rows or blocks lose, and where it is from."""
    of_loss = isinstance(watch, PLANNED)
    sample = _sample(name, watch, seen)
    unit, fewest = ("outcomes", FEWEST_ROWS) if by_rows(watch) else ("blocks", FEWEST_BLOCKS)
    where = f"{len(sample):,} {unit} of {seen.champion.name}"
    reference = seen.champion.manifest.reference
    if len(sample) < fewest:
        few = reference is None or len(reference.block_means) < fewest
        if by_rows(watch) or not of_loss or reference is None or few:
            return None, f"the ledger has {where}; a plan needs {fewest:,}"
        return Law.of(reference.block_means), f"the reference of {seen.champion.name}: {where} are too few"
    law = Law.of(sample)
    if isinstance(judge, Regression):  # the past may hold the very rise that the watch is for
        return law.moved(judge.reference.estimate - law.mean), f"{where}, moved to the reference's mean"
    return law, where


def _sample(name: str, watch: Watch, seen: Seen) -> Sequence[float] | Floats:
    if not by_rows(watch):
        return seen.blocks.get(name, [])
    own = seen.own.get(name, [])
    return seen.rows if isinstance(watch, PLANNED) else np.concatenate([np.empty(0), *own])[-MOST_ROWS:]


def _effect(future: _Future, share: float) -> Effect:
    rise = share * future.base
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


def warnings_of(judge: AnyJudge, bet: Bet, law: Law, seen: Seen, effects: tuple[Effect, ...]) -> list[str]:
    """What a promise and a tolerance do not give together."""
    found = []
    room = bet.limit - law.mean
    if room <= 0.0:
        found.append(
            f"its mean of {law.mean:.4g} is above the limit of {bet.limit:.4g} already: "
            "it would alarm at once"
        )
    counts = isinstance(judge, Guardrail | Regression | SeasonalGuardrail)  # a missing one as the least loss
    hidden = seen.missing * (law.mean - bet.floor) if counts else 0.0
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
        share = "" if bet.what == "difference" else f" (+{room / law.mean:.0%})"
        found.append(f"a rise of less than {room:.3g}{share} lies within the limit: never told")
    if isinstance(judge, Estimated):
        found.append("a rise of the estimate: one that only outcomes show is never told")
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
