"""The rollout machine: monotone, decided once, never without evidence, never stuck."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.act import rollout as machine
from lossloop.act.policy import Plan
from lossloop.act.rollout import Move, Rollout, Stage, propose
from lossloop.core.clock import DAY, HOUR, Micros
from lossloop.core.records import VerdictKind

PLAN = Plan(
    promote_if_within=0.01, roll_back_if_worse_by=0.02, shadow=3, steps=(0.01, 0.1, 0.5), step_for=3 * DAY,
    decide_within=60 * DAY,
)  # fmt: skip
VERDICTS: tuple[VerdictKind | None, ...] = (None, *VerdictKind)


def begun(plan: Plan = PLAN, **changes: Any) -> Rollout:
    made = machine.begin(
        id="000001", model="m", champion=1, challenger=2, salt="s", plan=plan, at=DAY, first_seq=7
    )
    return msgspec.structs.replace(made, **changes)


def canary(step: int = 0, **changes: Any) -> Rollout:
    """A rollout at a step, in which outcomes of the challenger were judged."""
    return begun(stage=Stage.CANARY, step=step, seen=5, **changes)


def proposed(rollout: Rollout, verdict: VerdictKind | None = None, *, days: float = 0) -> Move | None:
    return propose(rollout, verdict, now=DAY + round(days * DAY))


def test_it_begins_in_shadow_where_the_plan_has_one() -> None:
    assert (begun().stage, begun().share) == (Stage.SHADOW, 0.0)
    at_once = begun(msgspec.structs.replace(PLAN, shadow=0))
    assert (at_once.stage, at_once.share) == (Stage.CANARY, 0.01)
    assert (at_once.first_seq, at_once.started, at_once.since) == (7, DAY, DAY)


# In shadow.


def test_worse_in_shadow_is_refused() -> None:
    assert proposed(begun(), VerdictKind.ALARM) == Move(
        verb="refuse", share=0.0, reason="worse than the champion in shadow"
    )
    told = propose(begun(), VerdictKind.ALARM, now=DAY, reason="difference 0.1")
    assert told is not None
    assert told.reason == "difference 0.1"


@pytest.mark.parametrize("rollout", [begun(certified=True), machine.certify(begun())])
def test_certified_in_shadow_goes_to_the_first_step(rollout: Rollout) -> None:
    assert proposed(rollout) == Move(verb="ramp", share=0.01, reason="certified in shadow")
    assert proposed(begun(), VerdictKind.BETTER) == proposed(rollout)


@pytest.mark.parametrize(
    "verdict", [None, VerdictKind.HEALTHY, VerdictKind.INCONCLUSIVE, VerdictKind.NO_DATA, VerdictKind.ERROR]
)
def test_what_is_not_certified_in_time_is_refused(verdict: VerdictKind | None) -> None:
    assert proposed(machine.count_blocks(begun(), 2), verdict, days=30) is None
    assert proposed(machine.count_blocks(begun(), 3), verdict) == Move(
        verb="refuse", share=0.0, reason="not certified within 3 blocks of shadow"
    )


def test_a_challenger_that_answers_no_more_leaves_the_way_free() -> None:
    assert proposed(begun(), days=59.9) is None
    assert proposed(begun(), days=60) == Move(
        verb="refuse", share=0.0, reason="nothing to compare within 60d"
    )


# On the ramp.


def test_worse_on_the_ramp_is_rolled_back_at_any_step() -> None:
    for step in range(3):
        move = proposed(canary(step, certified=True), VerdictKind.ALARM)
        assert move == Move(verb="roll_back", share=0.0, reason="worse than the champion")


def test_a_step_lasts_its_time() -> None:
    assert proposed(canary(), VerdictKind.BETTER, days=2.99) is None
    move = proposed(canary(), days=3)
    assert move == Move(verb="ramp", share=0.1, reason="3d at 1% without evidence of harm")


def test_the_last_step_promotes_what_was_certified() -> None:
    certified = Move(verb="promote", share=1.0, reason="certified, and no evidence of harm on the ramp")
    assert proposed(canary(2, certified=True), days=3) == certified
    assert proposed(canary(2), VerdictKind.BETTER, days=3) == certified
    assert proposed(canary(2), VerdictKind.HEALTHY, days=3) is None


def test_what_was_not_decided_in_time_is_rolled_back() -> None:
    assert proposed(canary(2), days=59.9) is None
    assert proposed(canary(2), days=60) == Move(
        verb="roll_back", share=0.0, reason="not certified within 60d"
    )


def test_no_data_is_no_pass() -> None:
    for step in range(3):
        silent = canary(step, certified=True)
        silent = msgspec.structs.replace(silent, seen=0)
        assert proposed(silent, days=59.9) is None
        move = proposed(silent, days=60)
        assert move is not None
        assert (move.verb, move.reason) == ("roll_back", "none of the challenger's outcomes came within 60d")
        assert proposed(machine.count_outcomes(silent, 1), days=3) is not None


# After a move.


@pytest.mark.parametrize(
    ("verb", "stage"),
    [("promote", Stage.PROMOTED), ("roll_back", Stage.ROLLED_BACK), ("refuse", Stage.REFUSED)],
)
def test_an_end_is_an_end(verb: str, stage: Stage) -> None:
    done = machine.apply(canary(2), verb, now=9 * DAY)
    assert (done.stage, done.running, done.share) == (stage, False, 0.0)
    for verdict in VERDICTS:
        assert proposed(done, verdict, days=365) is None


def test_a_ramp_begins_a_step_anew() -> None:
    first = machine.apply(begun(certified=True), "ramp", now=5 * DAY)
    assert (first.stage, first.step, first.since, first.share) == (Stage.CANARY, 0, 5 * DAY, 0.01)
    second = machine.apply(machine.count_outcomes(first, 3), "ramp", now=8 * DAY)
    assert (second.step, second.since, second.seen, second.share) == (1, 8 * DAY, 0, 0.1)
    assert second.started == DAY


def test_what_could_not_be_followed_is_remembered_until_something_is() -> None:
    told = machine.remember(canary(), "ramp:frozen")
    assert told.told == "ramp:frozen"
    assert proposed(told, days=3) == proposed(canary(), days=3), "it is proposed again, never lost"
    assert machine.apply(told, "ramp", now=9 * DAY).told == ""


# Whatever happens.

plans = st.builds(
    lambda shadow, steps, step_for, decide_within: Plan(
        promote_if_within=0.01, roll_back_if_worse_by=0.02, shadow=shadow, steps=steps, step_for=step_for,
        decide_within=decide_within,
    ),
    st.integers(0, 4),
    st.sets(st.floats(0.001, 0.9), min_size=1, max_size=4).map(lambda steps: tuple(sorted(steps))),
    st.integers(1, 5 * DAY),
    st.integers(0, 40 * DAY),
)  # fmt: skip


@dataclass(frozen=True)
class Event:
    """What a rollout meets: time passes, evidence comes, and what it proposes may be done or not."""

    wait: Micros
    verdict: VerdictKind | None
    blocks: int
    outcomes: int
    certifies: bool
    allowed: bool


events = st.lists(
    st.builds(
        Event, st.integers(0, 3 * DAY), st.sampled_from(VERDICTS), st.integers(0, 1), st.integers(0, 2),
        st.booleans(), st.sampled_from([True, True, True, False]),
    ),
    max_size=40,
)  # fmt: skip


@dataclass
class Life:
    """A rollout, and every state that it was in."""

    rollout: Rollout
    now: Micros = DAY
    past: list[Rollout] = field(default_factory=list)
    moves: list[Move] = field(default_factory=list)

    def meet(self, event: Event) -> None:
        self.past.append(self.rollout)
        self.now += event.wait
        if self.rollout.running:
            self.rollout = machine.count_blocks(self.rollout, self.rollout.blocks + event.blocks)
            self.rollout = machine.count_outcomes(self.rollout, event.outcomes)
            self.rollout = machine.certify(self.rollout) if event.certifies else self.rollout
        move = propose(self.rollout, event.verdict, now=self.now)
        if move is None:
            return
        self.moves.append(move)
        if event.allowed:
            self.rollout = machine.apply(self.rollout, move.verb, now=self.now)
        else:
            self.rollout = machine.remember(self.rollout, move.verb)


def lived(plan: Plan, happened: list[Event]) -> Life:
    life = Life(begun(plan))
    for event in happened:
        life.meet(event)
    return life


@given(plans, events)
def test_the_share_rises_until_the_end_and_is_the_plans(plan: Plan, happened: list[Event]) -> None:
    life = lived(plan, happened)
    shares = [each.share for each in (*life.past, life.rollout) if each.running]
    assert shares == sorted(shares)
    assert set(shares) <= {0.0, *plan.steps}


@given(plans, events)
def test_once_it_has_ended_nothing_moves_it(plan: Plan, happened: list[Event]) -> None:
    states = [*(life := lived(plan, happened)).past, life.rollout]
    ended = [each for each in states if not each.running]
    assert all(each == ended[0] for each in ended)
    assert len(states) - len(ended) == next(
        (i for i, each in enumerate(states) if not each.running), len(states)
    )


@given(plans, events)
def test_only_what_was_shown_to_be_good_is_promoted(plan: Plan, happened: list[Event]) -> None:
    life = Life(begun(plan))
    for event in happened:
        life.meet(event)
        if life.rollout.stage is Stage.PROMOTED and life.past[-1].running:
            before = life.past[-1]
            assert event.verdict is not VerdictKind.ALARM
            assert before.certified or event.certifies or event.verdict is VerdictKind.BETTER
            assert before.step == len(plan.steps) - 1, "it met every step"
            assert life.now >= before.since + plan.step_for


@given(plans, events)
def test_an_alarm_always_takes_it_off(plan: Plan, happened: list[Event]) -> None:
    life = lived(plan, happened)
    if life.rollout.running:
        move = propose(life.rollout, VerdictKind.ALARM, now=life.now)
        assert move is not None
        assert (move.verb, move.share) in {("refuse", 0.0), ("roll_back", 0.0)}


@given(plans, events)
def test_every_rollout_ends(plan: Plan, happened: list[Event]) -> None:
    """Left alone, with blocks and outcomes or without, it ends in the time that its plan allows."""
    for blocks, outcomes in ((0, 0), (1, 1)):
        life = lived(plan, happened)
        for _ in range(len(plan.steps) + 2):
            life.meet(Event(max(plan.step_for, plan.decide_within), None, blocks, outcomes, False, True))
        assert not life.rollout.running


@given(plans, events)
def test_a_move_names_the_share_that_it_leads_to(plan: Plan, happened: list[Event]) -> None:
    life = lived(plan, happened)
    for move in life.moves:
        assert move.reason
        assert move.share == (1.0 if move.verb == "promote" else 0.0) or move.share in plan.steps
    following = propose(life.rollout, None, now=life.now + HOUR)
    if following is not None and following.verb == "ramp":
        assert machine.apply(life.rollout, "ramp", now=life.now).share == following.share
