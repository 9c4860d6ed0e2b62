"""What an alarm asks for, and whether it may be done."""

from __future__ import annotations

import itertools

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.act.decide import (
    AWAITS_APPROVAL,
    DONE,
    FROZEN,
    OVER_BUDGET,
    WOULD_HAVE,
    Proposal,
    Standing,
    answer,
    gate,
)
from lossloop.act.policy import Labels, Mode, Policy, Quota, Verb
from lossloop.act.watches import GuardrailWatch
from lossloop.core.clock import DAY, HOUR, Micros
from lossloop.core.records import Decision
from lossloop.core.tasks import Task

POLICY = Policy(
    model="m",
    task=Task.BINARY,
    loss="log_loss(cap=5)",
    labels=Labels(mature_after=HOUR),
    mode=Mode.ACT,
    watches={"worse": GuardrailWatch(limit=1.0, promise="5% ever")},
    on={"worse": ({Verb.RETRAIN: "train"}, {Verb.NOTIFY: "oncall"}, {Verb.NOTIFY: "log"})},
    budget={"retrain": Quota(most=2, span=7 * DAY), "notify": Quota(most=1, span=DAY)},
    probation=14 * DAY,
)
VERBS = ("notify", "promote", "retrain", "roll_back", "ramp", "refuse")
NOW = 100 * DAY


def policy(**changes: object) -> Policy:
    return msgspec.structs.replace(POLICY, **changes)


def decision(
    action: str = "retrain", *, at: Micros = NOW, status: str = DONE, by: str = "policy"
) -> Decision:
    return Decision(id="m/0", at=at, model="m", action=action, status=status, reason="", by=by)


# What an alarm asks for.


def verbs(proposals: list[Proposal]) -> list[tuple[str, str]]:
    return [(each.verb, each.target) for each in proposals]


def test_an_alarm_asks_for_what_the_policy_lists_in_its_order() -> None:
    found = answer(POLICY, "worse", Standing(), now=NOW)
    assert verbs(found) == [("retrain", "train"), ("notify", "oncall"), ("notify", "log")]
    assert {each.reason for each in found} == {"alarm of 'worse'"}


def test_a_watch_without_an_entry_asks_for_nothing() -> None:
    assert answer(POLICY, "other", Standing(), now=NOW) == []


@pytest.mark.parametrize(
    ("standing", "goes_back"),
    [
        (Standing(promoted_at=NOW - DAY, previous=1), True),
        (Standing(promoted_at=NOW - 14 * DAY + 1, previous=1), True),
        (Standing(promoted_at=NOW - 14 * DAY, previous=1), False),
        (Standing(promoted_at=NOW - DAY), False),
        (Standing(previous=1), False),
        (Standing(), False),
    ],
)
def test_only_a_fresh_promotion_is_gone_back_from(standing: Standing, goes_back: bool) -> None:
    found = answer(POLICY, "worse", standing, now=NOW)
    assert (found[0].verb == "roll_back") is goes_back
    assert ("retrain" in {each.verb for each in found}) is not goes_back, (
        "the old model is the cure, not a new one"
    )
    assert [each.target for each in found if each.verb == "notify"] == ["oncall", "log"]
    if goes_back:
        assert (found[0].version, found[0].reason) == (
            1,
            "alarm of 'worse' within probation: back to version 1",
        )


# Whether it may be done.


@pytest.mark.parametrize("verb", VERBS)
def test_observing_does_nothing_but_tell(verb: str) -> None:
    status = gate(policy(mode=Mode.OBSERVE), verb, [], frozen=False, now=NOW)
    assert status == (DONE if verb == "notify" else WOULD_HAVE)


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("mode", Mode)
def test_frozen_nothing_is_done_but_telling(verb: str, mode: Mode) -> None:
    status = gate(policy(mode=mode), verb, [], frozen=True, now=NOW)
    assert status == (DONE if verb == "notify" else FROZEN)


@pytest.mark.parametrize("verb", ["promote", "retrain", "roll_back"])
def test_what_needs_approval_waits_for_it(verb: str) -> None:
    assert gate(policy(approve=(verb,)), verb, [], frozen=False, now=NOW) == AWAITS_APPROVAL
    other = {"promote": "retrain", "retrain": "roll_back", "roll_back": "promote"}[verb]
    assert gate(policy(approve=(verb,)), other, [], frozen=False, now=NOW) == DONE


def retrain_gate(past: list[Decision]) -> str:
    return gate(POLICY, "retrain", past, frozen=False, now=NOW)


def test_a_budget_is_spent_by_what_was_done_in_its_span() -> None:
    recent = [decision(at=NOW - DAY), decision(at=NOW - 7 * DAY + 1)]
    assert retrain_gate(recent[:1]) == DONE
    assert retrain_gate(recent) == OVER_BUDGET
    assert retrain_gate([recent[0], decision(at=NOW - 7 * DAY)]) == DONE, "a week ago is over"


@pytest.mark.parametrize(
    "free",
    [
        decision("promote"),
        decision(status=WOULD_HAVE),
        decision(status=FROZEN),
        decision(status=OVER_BUDGET),
        decision(by="operator"),
    ],
)
def test_what_was_not_done_or_done_by_hand_costs_nothing(free: Decision) -> None:
    assert retrain_gate([free] * 5) == DONE


def test_telling_has_a_budget_too() -> None:
    told = [decision("notify")]
    assert gate(POLICY, "notify", told, frozen=False, now=NOW) == OVER_BUDGET
    assert gate(POLICY, "notify", told, frozen=False, now=NOW + DAY) == DONE


def test_a_budget_of_none_is_never_done() -> None:
    none = policy(budget={"retrain": Quota(most=0, span=DAY)})
    assert gate(none, "retrain", [], frozen=False, now=NOW) == OVER_BUDGET


def test_without_a_budget_there_is_no_end() -> None:
    assert gate(policy(budget={}), "retrain", [decision()] * 100, frozen=False, now=NOW) == DONE


pasts = st.lists(
    st.builds(
        lambda action, days, status: decision(action, at=NOW - round(days * DAY), status=status),
        st.sampled_from(VERBS), st.floats(0, 20), st.sampled_from([DONE, WOULD_HAVE, FROZEN]),
    ),
    max_size=8,
)  # fmt: skip


@given(pasts, st.sampled_from(VERBS), st.booleans(), st.sampled_from(Mode), st.sets(st.sampled_from(VERBS)))
def test_nothing_is_done_against_the_policy(
    past: list[Decision], verb: str, frozen: bool, mode: Mode, approve: set[str]
) -> None:
    found = gate(policy(mode=mode, approve=tuple(approve)), verb, past, frozen=frozen, now=NOW)
    assert found in {DONE, WOULD_HAVE, FROZEN, OVER_BUDGET, AWAITS_APPROVAL}
    if found == DONE:
        quota = POLICY.budget.get(verb)
        spent = [each for each in past if each.action == verb and each.status == DONE]
        assert quota is None or len([e for e in spent if e.at > NOW - quota.span]) < quota.most
        assert verb == "notify" or (mode is Mode.ACT and not frozen and verb not in approve)


@given(pasts, st.sampled_from(VERBS))
def test_the_order_of_the_past_does_not_matter(past: list[Decision], verb: str) -> None:
    found = {
        gate(POLICY, verb, order, frozen=False, now=NOW)
        for order in itertools.islice(itertools.permutations(past), 5)
    }
    assert len(found) == 1
