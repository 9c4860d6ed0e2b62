"""Each row is answered by the version that it is drawn to; a failure costs nobody what another can answer."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.core.tasks import Task
from lossloop.serve.assign import place
from lossloop.serve.lanes import LATE, NO_ANSWER
from lossloop.serve.repeats import Answer
from tests.serve.arms import HURRIED, Say, answers_of, arms, asked, doubled, facts, negated, raises, said
from tests.serve.models import Scripted


def test_without_a_challenger_all_is_the_champions() -> None:
    found = said(arms(challenger=None, share=0.0), asked(1, 2, 3))
    assert [(row["version"], row["role"], row["propensity"]) for row in facts(found)] == [
        (1, "champion", 1.0)
    ] * 3
    assert [row["y_pred"] for row in facts(found)] == [2.0, 4.0, 6.0]
    assert found.answers == [Answer(id=str(x), version=1, role="champion", y_pred=2.0 * x) for x in (1, 2, 3)]


def test_requests_that_meet_are_one_run_and_one_draft() -> None:
    found = arms(challenger=None)
    answered = said(found, asked(1), asked(2, 3), asked(4))
    assert [each.y_pred for each in answered.answers if isinstance(each, Answer)] == [2, 4, 6, 8]
    assert [row["id"] for row in facts(answered)] == ["1", "2", "3", "4"]
    assert [row["features"]["x"] for row in facts(answered)] == [1, 2, 3, 4]
    assert len({row["latency_ms"] for row in facts(answered)}) == 1


@given(st.floats(0.01, 0.99))
def test_a_row_is_drawn_by_its_share_and_says_the_chance_of_it(share: float) -> None:
    found, rows = arms(share=share), asked(*range(1, 51))
    for id, arm in zip(rows.ids, found.draw(rows), strict=True):
        meets = place("s", id) < share
        assert (arm.version, arm.role) == ((2, "challenger") if meets else (1, "champion"))
        assert arm.propensity == (share if meets else 1 - share)


def test_a_unit_keeps_its_arm_whatever_its_rows_are_called() -> None:
    drawn = arms().draw(asked(*range(40), units=["ann", "bob"] * 20))
    assert len(set(drawn[::2])) == len(set(drawn[1::2])) == 1


def test_nobody_is_drawn_to_a_challenger_without_a_share() -> None:
    for found in (arms(share=0.0), arms(shadow=True)):
        assert {each.version for each in found.draw(asked(*range(100)))} == {1}


def test_a_challengers_rows_are_its_own() -> None:
    found = arms(share=0.25)
    answered = said(found, asked(1, 2), to=2)
    assert [(row["version"], row["role"], row["propensity"], row["y_pred"]) for row in facts(answered)] == [
        (2, "challenger", 0.25, -1.0), (2, "challenger", 0.25, -2.0)
    ]  # fmt: skip
    champion = found.lanes[1]._runtime
    assert isinstance(champion, Scripted)
    assert champion.asked == 0, "nobody asks it for rows that others answer"


def test_in_shadow_both_answer_and_nobody_gets_the_challengers() -> None:
    answered = said(arms(shadow=True, share=0.0), asked(1, 2, 3))
    assert [each.y_pred for each in answered.answers if isinstance(each, Answer)] == [2.0, 4.0, 6.0]
    rows = facts(answered)
    assert [(row["shadow_version"], row["shadow_y_pred"]) for row in rows] == [
        (2, -1.0),
        (2, -2.0),
        (2, -3.0),
    ]
    assert {(row["version"], row["role"], row["propensity"]) for row in rows} == {(1, "champion", 1.0)}


def nan_at(place: float) -> Say:
    return lambda xs: [math.nan if x == place else -x for x in xs]


BROKEN: list[Say] = [raises, lambda xs: [], lambda xs: [math.nan] * len(xs), lambda xs: [[0.5]] * len(xs)]
"""Raises, gives too few answers, gives none that is one, gives answers of the wrong shape."""


@pytest.mark.parametrize("challenger", BROKEN)
@pytest.mark.parametrize("inline", [1000, 0])
def test_a_challenger_that_fails_costs_nobody_an_answer_and_is_evidence(challenger: Say, inline: int) -> None:
    found = arms(challenger=challenger, inline=inline)
    answered = said(found, asked(1, 2), asked(3), to=2)
    assert [each.y_pred for each in answered.answers if isinstance(each, Answer)] == [2.0, 4.0, 6.0]
    rows = facts(answered)
    assert [(row["version"], row["role"], row["propensity"]) for row in rows[:3]] == [
        (1, "champion", 1.0)
    ] * 3, "who went where it was not drawn to is not judged"
    for x, row in zip((1, 2, 3), rows[3:], strict=True):
        assert (row["version"], row["role"], row["propensity"]) == (2, "challenger", 0.5)
        assert (row["y_pred"], row["content"], row["features"]["x"]) == (None, None, x)
        assert row["error"] in ("RuntimeError", "InputError", "no valid answer")
        assert row["id"] not in ("1", "2", "3"), "the caller's id was answered"


def test_a_challenger_that_cannot_be_asked_is_no_evidence() -> None:
    found = arms(challenger=None)
    rows = facts(said(found, asked(1), to=2))
    assert [(row["version"], row["propensity"]) for row in rows] == [(1, 1.0)]


@pytest.mark.parametrize("challenger", BROKEN)
def test_a_shadow_that_fails_is_left_out(challenger: Say) -> None:
    rows = facts(said(arms(challenger=challenger, shadow=True, share=0.0), asked(1, 2)))
    assert [(row["y_pred"], row["shadow_version"], row["error"]) for row in rows] == [
        (2.0, None, None), (4.0, None, None)
    ]  # fmt: skip


def test_one_bad_answer_of_a_challenger_is_one_row() -> None:
    rows = facts(said(arms(challenger=nan_at(2.0), shadow=True, share=0.0), asked(1, 2, 3)))
    assert [row["shadow_y_pred"] for row in rows] == [-1.0, None, -3.0]
    assert [row["shadow_version"] for row in rows] == [2, None, 2]


def test_one_bad_answer_of_a_canary_is_one_failure() -> None:
    found = arms(challenger=nan_at(1.0))
    rows = facts(said(found, asked(1, 2, 3), to=2))
    assert [(row["version"], row["y_pred"], row["propensity"]) for row in rows] == [
        (1, 2.0, 1.0), (2, -2.0, 0.5), (2, -3.0, 0.5), (2, None, 0.5)
    ]  # fmt: skip
    assert rows[-1]["error"] == "no valid answer"


def poisoned(xs: list[float]) -> list[float]:
    if 2.0 in xs:
        raise ValueError("2 is more than it can take")
    return doubled(xs)


def test_one_requests_row_does_not_cost_the_others_theirs() -> None:
    answered = said(arms(champion=poisoned), asked(1), asked(2, 3), asked(4))
    assert answers_of(answered) == [
        2.0, "m:1: ValueError", "m:1: ValueError", 8.0
    ]  # fmt: skip
    assert [(row["y_pred"], row["error"]) for row in facts(answered)] == [
        (2.0, None), (8.0, None), (None, "ValueError"), (None, "ValueError")
    ]  # fmt: skip


def test_where_the_champion_fails_the_one_before_answers() -> None:
    answered = said(arms(champion=poisoned, previous=negated), asked(1), asked(2))
    assert answered.answers == [
        Answer(id="1", version=1, role="champion", y_pred=2.0),
        Answer(id="2", version=3, role="champion", y_pred=-2.0),
    ]
    assert [(row["version"], row["propensity"], row["error"]) for row in facts(answered)] == [
        (1, 0.5, None), (3, 1.0, None), (1, 0.5, "ValueError")
    ]  # fmt: skip


def test_a_champion_that_raises_has_failed_all_rows() -> None:
    answered = said(arms(champion=raises), asked(1, 2))
    assert answers_of(answered) == ["m:1: RuntimeError"] * 2
    assert [(row["version"], row["role"], row["y_pred"], row["error"]) for row in facts(answered)] == [
        (1, "champion", None, "RuntimeError")
    ] * 2


def test_a_row_that_nobody_has_a_valid_answer_to_is_not_logged() -> None:
    answered = said(arms(champion=nan_at(2.0)), asked(1, 2, 3))
    assert answers_of(answered) == [
        -1.0, f"m:1: {NO_ANSWER}", -3.0
    ]  # fmt: skip
    assert [row["id"] for row in facts(answered)] == ["1", "3"]
    assert said(arms(champion=nan_at(1.0)), asked(1)).draft is None


def test_a_failing_version_is_told_of(capsys: pytest.CaptureFixture[str]) -> None:
    said(arms(challenger=raises, shadow=True, share=0.0), asked(1))
    assert capsys.readouterr().err == "m:2 failed: never thought of\n"


def test_what_each_version_took_is_said_of_its_own_rows() -> None:
    def slow(xs: list[float]) -> list[float]:
        time.sleep(0.02)
        return [math.nan]

    found = arms(challenger=slow)
    mine, theirs = facts(said(found, asked(1), to=2))
    assert 0 <= mine["latency_ms"] < theirs["latency_ms"]
    assert theirs["latency_ms"] >= 20


def test_vectors_are_answered_as_lists() -> None:
    found = arms(lambda xs: [[0.25, 0.75]] * len(xs), None, task=Task.MULTICLASS, share=0.0)
    answered = said(found, asked(1, 2))
    assert [each.y_pred for each in answered.answers if isinstance(each, Answer)] == [[0.25, 0.75]] * 2
    assert [row["y_pred"] for row in facts(answered)] == [[0.25, 0.75]] * 2


# Who does not come back.


@pytest.fixture
def hanging() -> tuple[Say, Callable[[], None]]:
    """A version that does not answer until it is let go."""
    gate = threading.Event()

    def hang(xs: list[float]) -> list[float]:
        gate.wait(60)
        return negated(xs)

    return hang, gate.set


def test_a_hung_version_is_left_behind(hanging: tuple[Say, Callable[[], None]]) -> None:
    hang, let_go = hanging
    found = arms(challenger=hang, inline=0)
    answered = said(found, asked(1), to=2, patience=HURRIED)
    assert [each.y_pred for each in answered.answers if isinstance(each, Answer)] == [2.0]
    assert [(row["version"], row["error"]) for row in facts(answered)] == [(1, None), (2, LATE)]
    let_go()


def test_a_shadow_that_hangs_costs_its_answer_only(hanging: tuple[Say, Callable[[], None]]) -> None:
    hang, let_go = hanging
    answered = said(arms(challenger=hang, shadow=True, share=0.0, inline=0), asked(1), patience=HURRIED)
    assert [(row["y_pred"], row["shadow_y_pred"]) for row in facts(answered)] == [(2.0, None)]
    let_go()


def test_a_champion_that_hangs_alone_is_late(hanging: tuple[Say, Callable[[], None]]) -> None:
    hang, let_go = hanging
    answered = said(arms(champion=hang, inline=0), asked(1), asked(2), patience=HURRIED)
    assert answers_of(answered) == [f"m:1: {LATE}"] * 2, "it is not asked again for each request"
    let_go()
