"""A plan from question to answer. The ledger is only read."""

from __future__ import annotations

from collections.abc import Callable

from lossloop.app.backtest.asking import Question, check, past_of
from lossloop.app.backtest.base import Candidate
from lossloop.app.books import Books
from lossloop.app.home import Home
from lossloop.app.planning.base import Plan, StepPlan
from lossloop.app.planning.past import Seen, look
from lossloop.app.planning.rollouts import plan_rollout, rollout_warnings
from lossloop.app.planning.watches import plan_watch
from lossloop.app.releases import part_of
from lossloop.core.errors import InputError

FUTURES = 200
"""How many futures are drawn for each figure: a quantile of delays is then sure to about a tenth."""
FEWEST_FUTURES, MOST_FUTURES = 10, 10_000
Progress = Callable[[int, int], None]


def seen_under(home: Home, candidate: Candidate, model: str) -> Seen:
    """What the ledger holds of a model's champion, as a policy looks at it."""
    state = home.state()
    try:
        books = Books(state)
        check(candidate, books, model)
        return look(past_of(home, state, books, Question(model=model)), candidate.policy)
    finally:
        state.close()


def plan(
    home: Home, candidate: Candidate, model: str, *, futures: int = FUTURES,
    progress: Progress = lambda done, of: None,
) -> Plan:  # fmt: skip
    """Say how long verdicts of a policy will take, by futures drawn from the model's past with a seed.

    Raises:
        UnknownName: There is no such model.
        InputError: There is no champion, or the policy cannot judge what the model predicts.
    """
    if not FEWEST_FUTURES <= futures <= MOST_FUTURES:
        raise InputError(
            f"between {FEWEST_FUTURES} and {MOST_FUTURES:,} futures can be drawn, not {futures:,}",
            field="futures",
        )
    policy = candidate.policy
    seen = seen_under(home, candidate, model)
    of, watches = len(policy.watches) + (policy.rollout is not None), []
    for name, watch in policy.watches.items():
        watches.append(plan_watch(name, watch, seen, futures=futures))
        progress(len(watches), of)
    steps, unplanned, warnings, promise = list[StepPlan](), "", list[str](), ""
    if policy.rollout is not None:
        steps, unplanned = plan_rollout(seen, policy.rollout, futures=futures)
        warnings = rollout_warnings(steps, policy.rollout, seen)
        promise = part_of(policy.rollout, seen.number).words
        progress(of, of)
    return Plan(
        model=model, policy=candidate.name, loss=seen.lens.loss.version, unit=seen.lens.loss.unit,
        predictions_per_day=seen.per_day, missing=seen.missing, watches=tuple(watches), rollout=tuple(steps),
        rollout_unplanned=unplanned, rollout_promise=promise, warnings=tuple(warnings), futures=futures,
    )  # fmt: skip
