"""How long a rollout takes to certify a challenger that is as good, and to refuse one that is worse. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from lossloop.act.policy import Missing
from lossloop.act.policy import Plan as Rollout
from lossloop.app.planning.base import StepPlan
from lossloop.app.planning.past import Seen
from lossloop.app.planning.watches import FEWEST_ROWS, HALF, MOST, YEAR, time_of
from lossloop.core.clock import DAY, format_duration
from lossloop.core.errors import InputError
from lossloop.judges import Canary, Shadow
from lossloop.judges.comparison import TwoTests
from lossloop.judges.planning import Law, Test, quantile, waits

FEWEST_PAIRS = 5
"""Blocks of shadow that a law of differences is made of, at least."""
WORSE = 2.0
"""How much worse the challenger that is to be refused is, in margins of `roll_back_if_worse_by`."""


def plan_rollout(seen: Seen, plan: Rollout, *, futures: int, seed: int = 0) -> tuple[list[StepPlan], str]:
    """Each stage of a rollout, and why nothing can be said of some, if nothing can."""
    found, problems = [], []
    if plan.shadow:
        try:
            found.append(_shadow(seen, plan, futures, seed))
        except InputError as error:
            problems.append(f"shadow: {error}")
    try:
        canary = seen.lens.canary(plan, None, number=seen.number)
        if len(seen.known) < FEWEST_ROWS:
            raise InputError(f"the ledger has {len(seen.known):,} outcomes of it; a plan needs {FEWEST_ROWS}")
        found += [_step(seen, plan, canary, share, futures, seed) for share in plan.steps]
    except InputError as error:
        problems.append(f"canary: {error}")
    return found, "; ".join(problems)


def _shadow(seen: Seen, plan: Rollout, futures: int, seed: int) -> StepPlan:
    """Blocks of pairs, their spread as it was when versions were in shadow before."""
    if len(seen.pairs) < FEWEST_PAIRS:
        raise InputError(
            f"the ledger has {len(seen.pairs)} blocks of shadow; how much two versions differ on the same "
            f"predictions is not known before there are {FEWEST_PAIRS}"
        )
    judge: Shadow = seen.lens.shadow(plan, number=seen.number)
    reach = min(each for each in (judge.bound, judge.clip) if each is not None)
    law = Law.of(seen.pairs)
    same = law.moved(-law.mean)
    worse = same.moved(WORSE * plan.roll_back_if_worse_by)
    tests = TwoTests(worse_by=plan.roll_back_if_worse_by, within=plan.promote_if_within, error=judge.error)
    per_day = DAY / seen.lens.policy.block
    up = Law((reach - same.values.clip(-reach, reach)) / (reach - tests.within), same.chances)
    down = Law((worse.values.clip(-reach, reach) + reach) / (tests.worse_by + reach), worse.chances)
    laws = _Laws(tests=tests, up=up, down=down, per_day=per_day)
    return laws.told("shadow", 0.0, "blocks", futures=futures, seed=seed)


def _step(seen: Seen, plan: Rollout, canary: Canary, share: float, futures: int, seed: int) -> StepPlan:
    """Rows of randomised traffic: the champion's losses, drawn for both arms."""
    tests = TwoTests(worse_by=plan.roll_back_if_worse_by, within=plan.promote_if_within, error=canary.error)
    law = Law.of(seen.known)
    worse = law.tilted(law.mean + WORSE * plan.roll_back_if_worse_by)
    floor, reach = canary.floor, canary.bound - canary.floor
    centre = float(np.clip(law.mean - floor, 0.0, reach))
    low = -max(centre / share, (reach - centre) / (1.0 - share))
    high = max((reach - centre) / share, centre / (1.0 - share))

    def differences(challenger: Law) -> Law:
        theirs = (challenger.values - floor - centre) / share
        mine = -(law.values - floor - centre) / (1.0 - share)
        chances = np.concatenate((share * challenger.chances, (1.0 - share) * law.chances))
        return Law(np.concatenate((theirs, mine)), chances)

    same, other = differences(law), differences(worse)
    up = Law((high - same.values).clip(0.0) / (high - tests.within), same.chances)
    down = Law((other.values - low).clip(0.0) / (tests.worse_by - low), other.chances)
    per_day = seen.per_day * (1.0 - seen.missing)
    laws = _Laws(tests=tests, up=up, down=down, per_day=per_day)
    return laws.told("canary", share, "outcomes", futures=futures, seed=seed)


@dataclass(frozen=True, kw_only=True)
class _Laws:
    """The ratios of both tests: of a challenger that is as good, and of one that is worse."""

    tests: TwoTests
    up: Law
    down: Law
    per_day: float

    def told(self, stage: str, share: float, counts: str, *, futures: int, seed: int) -> StepPlan:
        """How long both take."""
        test, most = Test.of_rollout(self.tests), max(1, math.floor(self.per_day * YEAR / DAY))
        certify = waits(test, self.up, most=most, futures=futures, seed=seed)
        refuse = waits(test, self.down, most=most, futures=futures, seed=seed + 1)
        return StepPlan(
            stage=stage, share=share, counts=counts,
            certify_half=quantile(certify, HALF), certify_most=quantile(certify, MOST),
            refuse_half=quantile(refuse, HALF), refuse_most=quantile(refuse, MOST),
            certify_time=time_of(quantile(certify, MOST), self.per_day),
            refuse_time=time_of(quantile(refuse, MOST), self.per_day),
        )  # fmt: skip


def rollout_warnings(steps: list[StepPlan], plan: Rollout, seen: Seen) -> list[str]:
    """What a rollout will not decide in the time that it has."""
    found, policy = [], seen.lens.policy
    bound = seen.lens.bound - seen.lens.floor
    worst = policy.labels.missing is Missing.WORST_CASE
    if worst and seen.missing * bound > plan.promote_if_within:
        found.append(
            f"{seen.missing:.1%} of the outcomes are missing, and each may hide {bound:.3g}: no challenger "
            f"can be shown to be within {plan.promote_if_within:g}; write missing: same_in_both_arms, or "
            "judge later"
        )
    shadow = next((step for step in steps if step.stage == "shadow"), None)
    if shadow is not None and shadow.certify_most > plan.shadow:
        found.append(
            f"{plan.shadow} blocks of shadow are too few to certify a challenger that is as good "
            "in nine of ten futures"
        )
    if plan.gates:
        found.append(
            f"how soon the gates tell ({', '.join(plan.gates)}) cannot be planned: how often answers fail or "
            "are slow is no loss"
        )
    last = [step for step in steps if step.stage == "canary"]
    if last and not plan.shadow and (last[-1].certify_time or YEAR) > plan.decide_within:
        found.append(
            f"without shadow, {format_duration(plan.decide_within)} (decide_within) are too short for a "
            f"certificate at {last[-1].share:.0%} of the traffic: put a shadow first"
        )
    return found
