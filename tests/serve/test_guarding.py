"""Between a version and its caller: circuits open, answers are held to limits, and the ledger says what."""

from __future__ import annotations

import math
import threading
from typing import Any

import pytest

from lossloop.core.errors import DeadlineExceeded, VersionFailed
from lossloop.core.serving import Breaker, Constraint, Fallback, Limit, Serving, Then
from lossloop.core.tasks import Task
from lossloop.serve.breaker import State
from lossloop.serve.circuits import Circuits
from lossloop.serve.guarding import CIRCUIT_OPEN, Guarding, Patience
from lossloop.serve.lanes import LATE, NO_ANSWER
from lossloop.serve.limits import Columns, Floats
from lossloop.serve.merging import merged, size_of
from lossloop.serve.repeats import Answer
from lossloop.serve.unanswered import Unanswered, problem_of, raise_where_all_failed
from tests.serve.arms import Say, answers_of, arms, asked, doubled, drawn, facts, negated, raises, said
from tests.serve.models import Scripted

QUICK = Breaker(errors=2, of=4, within=10**9, retry_after=1000)
STATIC = Fallback(answer=7.0)


class Hand(Guarding):
    """Guards whose time is moved by hand."""

    def __init__(self, cost_of: Any = None) -> None:
        super().__init__(cost_of)
        self.now = 0
        self.circuits = Circuits(lambda: self.now)


def calls(found: Any, version: int) -> int:
    """How many rows a version was asked for."""
    runtime = found.lanes[version]._runtime
    assert isinstance(runtime, Scripted)
    return runtime.asked


def broken(*values: Any) -> Say:
    return lambda xs: list(values)


# Circuits.


@pytest.mark.parametrize("bad", [raises, broken(), broken(math.nan)])
def test_a_version_that_fails_too_often_is_not_asked_and_its_rows_go_on_at_once(bad: Say) -> None:
    hand = Hand()
    found = arms(challenger=bad, guarding=hand, serving=Serving(breaker=QUICK))
    for x in range(1, 6):
        assert answers_of(said(found, asked(x), to=2)) == [2.0 * x]
    assert calls(found, 2) == 2
    assert hand.circuits.circuit(("m", 2)).state is State.OPEN
    (turned,) = hand.circuits.turns()
    assert (turned.model, turned.version, turned.state) == ("m", 2, State.OPEN)


def test_a_row_that_was_drawn_to_an_open_circuit_is_a_failure_of_it_and_no_evidence_for_another() -> None:
    found = arms(challenger=raises, guarding=Hand(), serving=Serving(breaker=QUICK))
    for x in (1, 2):
        said(found, asked(x), to=2)
    mine, theirs = facts(said(found, asked(3), to=2))
    assert (mine["version"], mine["y_pred"], mine["propensity"]) == (1, 6.0, 1.0)
    assert (theirs["version"], theirs["role"], theirs["error"], theirs["propensity"]) == (
        2, "challenger", CIRCUIT_OPEN, 0.5
    )  # fmt: skip
    assert theirs["latency_ms"] == 0.0


def test_who_is_not_there_for_others_has_not_failed_them() -> None:
    """The champion's circuit is open when a challenger's row comes to it: the row was not drawn there."""
    found = arms(raises, raises, negated, guarding=Hand(), serving=Serving(breaker=QUICK))
    for x in (1, 2):
        said(found, asked(x), to=1)
    answered = said(found, asked(3), to=2)
    assert answers_of(answered) == [-3.0]
    assert [(row["version"], row["error"]) for row in facts(answered)] == [(3, None), (2, "RuntimeError")]


def test_one_call_finds_out_whether_it_answers_again() -> None:
    bad, hand = [True], Hand()

    def mended(xs: list[float]) -> list[float]:
        return raises(xs) if bad[0] else negated(xs)

    found = arms(challenger=mended, guarding=hand, serving=Serving(breaker=QUICK))
    for x in (1, 2):
        said(found, asked(x), to=2)
    hand.now = 1000
    said(found, asked(3), to=2)
    assert hand.circuits.circuit(("m", 2)).state is State.OPEN, "it still failed"
    bad[0], hand.now = False, 2000
    assert answers_of(said(found, asked(4), to=2)) == [-4.0]
    assert hand.circuits.circuit(("m", 2)).state is State.CLOSED
    assert [each.state for each in hand.circuits.turns()] == [State.OPEN, State.CLOSED]


def test_a_row_without_a_valid_answer_among_others_is_no_failed_call() -> None:
    hand = Hand()
    found = arms(
        lambda xs: [math.nan if x == 1 else x for x in xs], guarding=hand, serving=Serving(breaker=QUICK)
    )
    for _ in range(5):
        said(found, asked(1, 2))
    assert hand.circuits.circuit(("m", 1)).state is State.CLOSED


def test_a_caller_in_a_hurry_opens_no_circuit() -> None:
    hand, gate = Hand(), threading.Event()

    def hang(xs: list[float]) -> list[float]:
        gate.wait(60)
        return xs

    found = arms(hang, guarding=hand, inline=0, serving=Serving(breaker=QUICK))
    for limit, state in ((60.0, State.CLOSED), (0.0, State.OPEN)):
        for x in range(5):
            said(found, asked(x), patience=Patience(deadline=0.0, limit=limit))
        assert hand.circuits.circuit(("m", 1)).state is state
    gate.set()


def test_without_a_breaker_it_is_asked_whatever_happens() -> None:
    found = arms(challenger=raises, serving=Serving(breaker=Breaker(errors=0)))
    for x in range(30):
        said(found, asked(x), to=2)
    assert calls(found, 2) == 30


# Who answers where nobody does.


def test_the_order_is_the_rows_own_version_the_champion_the_one_before_and_what_the_policy_says() -> None:
    serving = Serving(fallback=STATIC)
    for says, answer, version in (
        ((doubled, negated, negated), -1.0, 2),
        ((doubled, raises, negated), 2.0, 1),
        ((raises, raises, negated), -1.0, 3),
        ((raises, raises, raises), 7.0, 0),
        ((None, None, None), 7.0, 0),
    ):
        answered = said(arms(*says, serving=serving), asked(1), to=2)
        assert answers_of(answered) == [answer]
        (row, *failed) = facts(answered)
        assert (row["version"], row["y_pred"], row["id"]) == (version, answer, "1")
        assert row["propensity"] == (0.5 if version == 2 else 1.0)
        assert all(each["y_pred"] is None for each in failed)


def test_the_policys_own_answer_may_be_a_list() -> None:
    serving = Serving(fallback=Fallback(answer=(0.5, 0.5)))
    found = arms(raises, None, task=Task.MULTICLASS, share=0.0, serving=serving)
    assert facts(said(found, asked(1)))[0]["y_pred"] == [0.5, 0.5]


def test_where_nobody_answers_it_is_said_who_failed_at_what() -> None:
    found = arms(raises, raises, broken(), guarding=Hand(), serving=Serving(breaker=QUICK))
    (row,) = said(found, asked(1), to=2).answers
    assert isinstance(row, Unanswered)
    assert row.words("m") == "m:2: RuntimeError; m:1: RuntimeError; m:3: InputError"
    with pytest.raises(VersionFailed, match=r"m:2: RuntimeError; m:1: .*; m:3: InputError; send this"):
        raise_where_all_failed("m", [row])
    with pytest.raises(DeadlineExceeded, match=f"m:1: {LATE}"):
        raise_where_all_failed("m", [Unanswered().after(1, LATE)])
    raise_where_all_failed("m", [row, Unanswered().after(1, NO_ANSWER)])
    assert problem_of("m", row, 3).row == 3


# Limits and constraints.


def held(*limits: Limit, **more: Any) -> Serving:
    return Serving(limits=limits, **more)


def test_what_was_cut_is_answered_flagged_logged_and_counted() -> None:
    hand = Hand()
    found = arms(guarding=hand, serving=held(Limit(high=5)))
    answered = said(found, asked(1, 4))
    assert answered.answers == [
        Answer(id="1", version=1, role="champion", y_pred=2.0),
        Answer(id="4", version=1, role="champion", y_pred=5.0, limited="y_pred <= 5"),
    ]
    rows = [(row["y_pred"], row["raw_y_pred"], row["limited"], row["propensity"]) for row in facts(answered)]
    assert rows == [(2.0, None, None, 0.5), (5.0, 8.0, "y_pred <= 5", 0.5)], "the loss is of what was done"
    assert hand.counters.get("limited", model="m", version="1", then="clamp") == 1


def test_what_may_not_leave_is_answered_by_the_next_and_is_a_failure_of_the_first() -> None:
    found = arms(challenger=lambda xs: [100.0 for _ in xs], serving=held(Limit(high=50, then=Then.FALL_BACK)))
    answered = said(found, asked(1), to=2)
    assert answers_of(answered) == [2.0]
    mine, theirs = facts(answered)
    assert (mine["version"], mine["propensity"]) == (1, 1.0)
    assert (theirs["version"], theirs["error"]) == (2, "beyond the limit y_pred <= 50")
    assert found.guards.circuits.circuit(("m", 2)).failures == (), "it did answer"


def test_what_is_refused_is_asked_of_nobody_else() -> None:
    found = arms(
        challenger=lambda xs: [100.0 if x == 1 else 1.0 for x in xs],
        serving=held(Limit(high=50, then=Then.REFUSE), fallback=STATIC),
    )
    answered = said(found, asked(1, 2), to=2)
    assert answers_of(answered) == ["m:2: beyond the limit y_pred <= 50", 1.0]
    assert calls(found, 1) == 0
    assert [(row["id"] == "2", row["error"]) for row in facts(answered)] == [
        (True, None), (False, "beyond the limit y_pred <= 50")
    ]  # fmt: skip
    (row, _) = answered.answers
    assert isinstance(row, Unanswered)
    assert str(problem_of("m", row, 0)) == "the answer may not leave: m:2: beyond the limit y_pred <= 50"
    raise_where_all_failed("m", [row])


def test_every_version_is_held_to_the_limits_and_the_last_word_is_the_policys() -> None:
    serving = held(Limit(high=5, then=Then.FALL_BACK), fallback=Fallback(answer=5.0))
    far = broken(100.0)
    answered = said(arms(far, far, far, serving=serving), asked(1), to=2)
    assert answers_of(answered) == [5.0]
    assert [row["version"] for row in facts(answered)] == [0, 2, 1, 3]


def test_constraints_are_losses_that_the_process_knows() -> None:
    def cost_of(text: str) -> Any:
        def cost(values: Floats, columns: Columns) -> Floats:
            return values * columns["x"]

        return cost

    serving = Serving(constraints=(Constraint(loss="times x", at_most=10),))
    found = arms(guarding=Hand(cost_of), serving=serving)
    assert answers_of(said(found, asked(1, 2, 3))) == [
        2.0, 4.0, "m:1: against the constraint times x at most 10"
    ]  # fmt: skip
    unknown = arms(serving=serving)
    assert answers_of(said(unknown, asked(1))) == ["m:1: against the constraint times x at most 10"]


def test_a_shadow_is_held_to_the_limits_too() -> None:
    found = arms(challenger=lambda xs: [9.0 for _ in xs], shadow=True, share=0.0, serving=held(Limit(high=5)))
    (row,) = facts(said(found, asked(1)))
    assert (row["y_pred"], row["shadow_y_pred"]) == (2.0, 5.0)


def test_only_answers_are_looked_at() -> None:
    found = arms(
        lambda xs: [math.nan if x == 1 else 9.0 for x in xs], None, negated, serving=held(Limit(high=5))
    )
    assert answers_of(said(found, asked(1, 2))) == [-1.0, 5.0]
    none = arms(broken(math.nan), None, serving=held(Limit(high=5)))
    assert answers_of(said(none, asked(1))) == [f"m:1: {NO_ANSWER}"]


def test_a_vector_is_cut_by_its_components() -> None:
    serving = held(Limit(low=0, high=1))
    found = arms(lambda xs: [[0.5, 7.0] for _ in xs], None, task=Task.VECTOR, share=0.0, serving=serving)
    (row,) = facts(said(found, asked(1)))
    assert (row["y_pred"], row["raw_y_pred"]) == ([0.5, 1.0], [0.5, 7.0])


def test_drafts_with_something_cut_and_without_are_frames_of_their_own() -> None:
    found = arms(serving=held(Limit(high=5)))
    drafts = [said(found, asked(x)).draft for x in (1, 4, 2, 3)]
    items = [(draft, size_of(draft)) for draft in drafts if draft is not None]
    frames = merged(items)
    assert [frame.batch.column("id").to_pylist() for frame in frames] == [["1", "2"], ["4", "3"]]


def test_who_is_drawn_has_its_own_turn() -> None:
    assert drawn(arms(), 2).propensity == 0.5
