"""The rules of serving: what a policy may say of them, and what comes through a server's documents."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest

from lossloop.core.serving import Breaker, Constraint, Fallback, Limit, Serving, Then
from lossloop.core.tasks import Task
from lossloop.core.traffic import Arm, Traffic


def wrong(task: Task = Task.REGRESSION, **serving: Any) -> list[tuple[Any, ...]]:
    """The paths of what is wrong."""
    return [path for path, _ in Serving(**serving).problems(task)]


def test_what_a_policy_leaves_out_is_sound() -> None:
    assert [wrong(task) for task in Task] == [[]] * len(Task)


@pytest.mark.parametrize(
    ("breaker", "key"),
    [
        ({"errors": 21}, "errors"),
        ({"errors": -1}, "errors"),
        ({"of": 0, "errors": 0}, "of"),
        ({"of": 1001}, "of"),
        ({"within": 0}, "within"),
        ({"retry_after": -1}, "retry_after"),
    ],
)
def test_a_breaker_that_cannot_be_is_refused(breaker: dict[str, int], key: str) -> None:
    assert wrong(breaker=Breaker(**breaker)) == [("breaker", key)]


@pytest.mark.parametrize(("deadline", "problems"), [(None, []), (1, []), (0, [("deadline",)])])
def test_a_deadline_lasts(deadline: int | None, problems: list[tuple[str]]) -> None:
    assert wrong(deadline=deadline) == problems


def test_no_errors_is_a_breaker_that_never_opens() -> None:
    assert not wrong(breaker=Breaker(errors=0))


@pytest.mark.parametrize(
    ("limit", "task", "key"),
    [
        (Limit(), Task.REGRESSION, "low"),
        (Limit(low=2, high=1), Task.REGRESSION, "low"),
        (Limit(high=math.inf), Task.REGRESSION, "high"),
        (Limit(low=math.nan), Task.REGRESSION, "low"),
        (Limit(high=1.5), Task.BINARY, "high"),
        (Limit(low=-0.5), Task.BINARY, "low"),
        (Limit(high=0.5), Task.MULTICLASS, "then"),
        (Limit(high=0.5), Task.DISTRIBUTION, "then"),
    ],
)
def test_a_limit_that_cannot_be_is_refused(limit: Limit, task: Task, key: str) -> None:
    assert wrong(task, limits=(limit,)) == [("limits", 0, key)]


def test_a_limit_for_no_value_of_a_feature_is_refused() -> None:
    assert wrong(limits=(Limit(low=0, where={"country": ()}),)) == [("limits", 0, "where", "country")]


def test_a_limit_says_what_it_is() -> None:
    assert Limit(low=0.01, high=0.9, where={"country": ("DE", "AT")}).words == (
        "0.01 <= y_pred <= 0.9 where country is DE or AT"
    )
    assert Limit(high=3).words == "y_pred <= 3"


@pytest.mark.parametrize(
    ("constraint", "key"),
    [(Constraint(loss="x", then=Then.CLAMP), "then"), (Constraint(loss="x", at_most=math.nan), "at_most")],
)
def test_a_constraint_that_cannot_be_is_refused(constraint: Constraint, key: str) -> None:
    assert wrong(constraints=(constraint,)) == [("constraints", 0, key)]


@pytest.mark.parametrize(
    ("task", "answer", "fits"),
    [
        (Task.REGRESSION, 7.0, True),
        (Task.REGRESSION, (7.0,), False),
        (Task.BINARY, 1.5, False),
        (Task.MULTICLASS, (0.2, 0.8), True),
        (Task.MULTICLASS, (0.2, 0.2), False),
        (Task.MULTICLASS, 0.2, False),
    ],
)
def test_a_static_answer_is_one_of_the_task(task: Task, answer: Any, fits: bool) -> None:
    assert wrong(task, fallback=Fallback(answer=answer)) == ([] if fits else [("fallback", "answer")])


def test_a_static_answer_keeps_the_limits_that_hold_for_every_row() -> None:
    high, there = Limit(high=5), Limit(high=1, where={"country": ("DE",)})
    assert wrong(limits=(high,), fallback=Fallback(answer=7.0)) == [("fallback", "answer")]
    assert not wrong(limits=(high, there), fallback=Fallback(answer=2.0))


def test_more_guards_than_can_be_looked_at_are_refused() -> None:
    assert wrong(limits=(Limit(low=0),) * 51) == [("limits",)]


@pytest.mark.parametrize("answer", [None, 0.5, (0.25, 0.75)])
def test_rules_reach_a_server_as_they_were_written(answer: Any) -> None:
    serving = Serving(
        breaker=Breaker(errors=2), fallback=Fallback(previous=False, answer=answer),
        limits=(Limit(low=0.1, where={"c": ("D",)}, then=Then.REFUSE),), constraints=(Constraint(loss="x"),),
    )  # fmt: skip
    sent = Traffic(model="m", task=Task.BINARY, champion=3, previous=2, serving=serving)
    assert msgspec.json.decode(msgspec.json.encode(sent), type=Traffic) == sent


def test_a_version_is_held_ready_once_whatever_it_is() -> None:
    sent = Traffic(model="m", task=Task.BINARY, champion=3, arms=(Arm(version=2),), previous=2)
    assert sent.versions == (3, 2)
    assert Traffic(model="m", task=Task.BINARY).versions == ()
