"""A rollout's part of the error: all of what its plan says, or a share of one budget for all rollouts.

Fifty releases that may be wrong with a chance of 5% each are likely to be wrong once. Where the plan says
`error_over: all`, the j-th rollout may use 6 error / (pi j)^2, which adds up to `error` over all that will
ever be (statistics.md, 2i). A rollout with a shadow is judged in two stages, on evidence of its own in each,
and halves its part between them.
"""

from __future__ import annotations

from lossloop.act.policy import ExperimentPlan, Plan
from lossloop.core.records import Record
from lossloop.judges import Promise
from lossloop.judges.promise import chance, spend


class Part(Record, frozen=True):
    """The chance of each mistake in one stage, and its promise in words; the words are "" for a plain one."""

    error: float
    words: str = ""

    @property
    def promise(self) -> Promise:
        """As a judge makes it."""
        return chance(self.error, words=self.words)


def part_of_test(plan: Plan, number: int) -> Part:
    """What the loss, and each gate, of a canary may use: they share the stage's part alike.

    So a challenger that is as good in all of them is rolled back with a chance of that part at most.
    """
    part, tests = part_of(plan, number), 1 + len(plan.gates)
    if tests == 1:
        return part
    error, whole = part.error / tests, part.words or f"{100 * part.error:.3g}%"
    return Part(error=error, words=f"{100 * error:.3g}%, one of {tests} equal parts of {whole}")


def part_of_arm(plan: ExperimentPlan, arms: int) -> Part:
    """What each of so many arms of an experiment may use: they share its `error` alike.

    So the chance of a mistake about any of them is that error at most, whichever is taken in the end.
    """
    if arms == 1:
        return Part(error=plan.error)
    error = plan.error / arms
    return Part(
        error=error, words=f"{100 * error:.3g}%, one of {arms} equal parts of {100 * plan.error:.3g}%"
    )


def part_of(plan: Plan, number: int) -> Part:
    """What rollout `number` of those that share one error may use in each stage; 0 has all of its plan's."""
    if not number:
        return Part(error=plan.error)
    stages = 2 if plan.shadow else 1
    error = spend(plan.error, number) / stages
    each = " in each stage," if plan.shadow else ""
    return Part(error=error, words=f"{100 * error:.3g}%{each} of the {100 * plan.error:g}% for all rollouts")
