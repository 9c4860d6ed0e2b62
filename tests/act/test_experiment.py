"""The experiment machine: arms are given up or shown to be better, and one end is come to, once."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from lossloop.act.experiment import (
    Contender,
    Course,
    Experiment,
    Step,
    apply,
    judged,
    propose,
    remember,
    rest,
)
from lossloop.act.policy import ExperimentPlan
from lossloop.core.clock import DAY
from lossloop.core.records import Interval, Verdict, VerdictKind

PLAN = ExperimentPlan(decide_within=10 * DAY)


def verdict(kind: VerdictKind, estimate: float | None = None) -> Verdict:
    effect = None if estimate is None else Interval(estimate=estimate, low=estimate - 1, high=estimate + 1)
    return Verdict(kind=kind, evidence=1.0, threshold=2.0, count=3, effect=effect, reason=f"it is {kind}")


def begun(*arms: Contender, **changes: Any) -> Experiment:
    usual = arms or (Contender(version=2, share=0.2), Contender(version=3, share=0.3))
    made = Experiment(
        id="000001",
        model="m",
        champion=1,
        arms=usual,
        salt="s",
        plan=PLAN,
        started=DAY,
        since=DAY,
        first_seq=7,
    )
    return msgspec.structs.replace(made, **changes)


def arm(
    version: int, estimate: float | None = None, kind: VerdictKind | None = None, **more: Any
) -> Contender:
    said = None if estimate is None else verdict(kind or VerdictKind.INCONCLUSIVE, estimate)
    return Contender(version=version, share=0.1, verdict=said, **more)


def proposed(experiment: Experiment, *, days: float = 0) -> Step | None:
    return propose(experiment, now=DAY + round(days * DAY))


def test_what_is_left_is_the_champions() -> None:
    experiment = begun()
    assert rest(experiment.arms) == pytest.approx(0.5)
    assert experiment.shares == pytest.approx({1: 0.5, 2: 0.2, 3: 0.3})
    closed = begun(Contender(version=2, share=0.2, closed=True), Contender(version=3, share=0.3))
    assert closed.shares == pytest.approx(experiment.shares), "the units of an arm given up stay apart"


def test_without_evidence_it_goes_on_until_its_time_is_over() -> None:
    assert proposed(begun(), days=9.9) is None
    assert proposed(begun(), days=10) == Step(verb="stop", reason="no arm was shown to be better within 10d")


def test_an_arm_that_is_worse_is_given_up_at_once() -> None:
    worse = begun(arm(2, 0.5), arm(3, 0.9, VerdictKind.ALARM))
    assert proposed(worse) == Step(verb="roll_back", version=3, reason="it is alarm")
    after = apply(worse, Step(verb="roll_back", version=3, reason=""), now=5 * DAY)
    assert [each.closed for each in after.arms] == [False, True]
    assert (after.running, after.since, proposed(after)) == (True, 5 * DAY, None)


def test_when_none_is_left_it_stops() -> None:
    assert proposed(begun(arm(2, closed=True), arm(3, closed=True))) == Step(
        verb="stop", reason="every arm was given up"
    )


@pytest.mark.parametrize(("days", "wanted"), [(1, None), (10, 3)])
def test_one_that_is_better_waits_for_the_others_as_long_as_there_is_time(
    days: int, wanted: int | None
) -> None:
    step = proposed(begun(arm(2, -0.9), arm(3, -0.1, certified=True)), days=days)
    assert (None if step is None else step.version) == wanted


def test_of_those_shown_to_be_better_the_one_that_looks_best_is_promoted() -> None:
    step = proposed(begun(arm(2, -0.2, certified=True), arm(3, -0.3, certified=True)))
    assert step == Step(
        verb="promote", version=3, reason="the best of 2 shown to be better: it is inconclusive"
    )
    alike = begun(arm(4, -0.3, certified=True), arm(3, -0.3, certified=True))
    assert alike.winner is not None
    assert alike.winner.version == 3, "of two that look alike the older one"


def test_an_arm_that_was_given_up_wins_nothing() -> None:
    lost = begun(arm(2, -0.9, certified=True, closed=True), arm(3, -0.1))
    assert (lost.winner, proposed(lost)) == (None, None)
    assert lost.best is not None
    assert lost.best.version == 3
    step = proposed(lost, days=10)
    assert step is not None
    assert step.verb == "stop"


def test_the_best_is_only_told_where_something_was_judged() -> None:
    assert begun().best is None
    assert begun(arm(2), arm(3, 0.4)).best == arm(3, 0.4)


def test_judging_adds_up_and_a_certificate_stays() -> None:
    better, worse = verdict(VerdictKind.BETTER, -0.5), verdict(VerdictKind.ALARM, 0.5)
    experiment = judged(begun(), {2: 5}, {2: (better, True)})
    experiment = judged(experiment, {2: 3, 3: 1}, {2: (worse, False), 3: (worse, False)})
    assert [(each.seen, each.certified) for each in experiment.arms] == [(8, True), (1, False)]
    assert [each.verdict for each in experiment.arms] == [worse, worse]


@pytest.mark.parametrize(("verb", "course"), [("promote", Course.PROMOTED), ("stop", Course.STOPPED)])
def test_an_end_is_an_end(verb: str, course: Course) -> None:
    over = apply(remember(begun(), "told"), Step(verb=verb, version=2, reason=""), now=3 * DAY)
    assert (over.course, over.since, over.told, over.running) == (course, 3 * DAY, "", False)
    assert proposed(over, days=99) is None


class Machine(RuleBasedStateMachine):
    """Any evidence in any order: a step is made once, and no arm wins that was not shown to be better."""

    @initialize(count=st.integers(1, 4))
    def begin(self, count: int) -> None:
        self.now = DAY
        self.experiment = begun(*(Contender(version=2 + number, share=0.2) for number in range(count)))
        self.steps: list[Step] = []
        self.shown: set[int] = set()

    @rule(number=st.integers(0, 3), kind=st.sampled_from(VerdictKind), estimate=st.floats(-1, 1))
    def judge(self, number: int, kind: VerdictKind, estimate: float) -> None:
        arms = self.experiment.arms
        version = arms[number % len(arms)].version
        better = kind is VerdictKind.BETTER
        if self.experiment.running and not arms[number % len(arms)].closed:
            found = {version: (verdict(kind, estimate), better)}
            self.experiment = judged(self.experiment, {version: 1}, found)
            self.shown |= {version} if better else set()

    @rule(days=st.integers(0, 4))
    def wait(self, days: int) -> None:
        self.now += days * DAY

    @rule(allowed=st.booleans())
    def move(self, allowed: bool) -> None:
        while (step := propose(self.experiment, now=self.now)) is not None:
            again = propose(self.experiment, now=self.now)
            assert again == step, "the same is proposed until it is followed"
            if not allowed:
                told = remember(self.experiment, "told")
                assert propose(told, now=self.now) == step
                return
            self.experiment = apply(self.experiment, step, now=self.now)
            self.steps.append(step)

    @invariant()
    def nothing_happens_twice(self) -> None:
        steps = getattr(self, "steps", [])
        assert len({(step.verb, step.version) for step in steps}) == len(steps)
        assert sum(step.verb in ("promote", "stop") for step in steps) == (
            not self.experiment.running if steps else 0
        )

    @invariant()
    def only_what_was_shown_to_be_better_is_promoted(self) -> None:
        for step in getattr(self, "steps", []):
            assert step.verb != "promote" or step.version in self.shown

    @invariant()
    def shares_stay(self) -> None:
        experiment = getattr(self, "experiment", None)
        if experiment is not None:
            assert sum(experiment.shares.values()) == pytest.approx(1.0)
            assert all(arm.share == 0.2 for arm in experiment.arms)


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=40, stateful_step_count=20, deadline=None)
