"""The outbox: an effect is asked for once, tried a few times with pauses, and settled once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.act import outbox
from lossloop.act.outbox import MOST_ATTEMPTS, Effect
from lossloop.core.clock import MINUTE, SECOND
from lossloop.ledger.sqlite.state import State


@pytest.fixture
def state() -> Iterator[State]:
    made = State(Path(":memory:"))
    yield made
    made.close()


def effect(key: str = "m/000001", target: str = "oncall") -> Effect:
    return Effect(key=key, verb="notify", model="m", target=target, at=5, body={"a": 1})


def keys(state: State) -> list[str]:
    return [each.key for each in outbox.pending(state)]


def test_effects_wait_in_the_order_of_their_decisions(state: State) -> None:
    for key in ("m/000010", "m/000002", "m/000001"):
        outbox.enqueue(state, effect(key))
    assert keys(state) == ["m/000001", "m/000002", "m/000010"]
    assert outbox.pending(state)[0] == effect("m/000001")


def test_the_same_key_again_changes_nothing(state: State) -> None:
    outbox.enqueue(state, effect())
    outbox.enqueue(state, effect(target="other"))
    assert outbox.pending(state) == [effect()]


def test_what_was_done_is_not_done_again(state: State) -> None:
    outbox.enqueue(state, effect())
    settled = outbox.settle(state, "m/000001", ok=True, detail="webhook answered 200")
    assert settled is not None
    assert (settled.status, settled.attempts, settled.detail) == ("done", 1, "webhook answered 200")
    assert keys(state) == []
    outbox.enqueue(state, effect())
    assert keys(state) == [], "a decision that is folded again does not bring its effect back"
    assert outbox.settle(state, "m/000001", ok=False, detail="late") is None


def test_a_failure_is_tried_again_and_given_up_in_the_end(state: State) -> None:
    outbox.enqueue(state, effect())
    for attempt in range(1, MOST_ATTEMPTS):
        settled = outbox.settle(state, "m/000001", ok=False, detail=f"no {attempt}")
        assert settled is not None
        assert (settled.status, settled.attempts) == ("pending", attempt)
        assert outbox.pending(state)[0].detail == f"no {attempt}"
    last = outbox.settle(state, "m/000001", ok=False, detail="no")
    assert last is not None
    assert last.status == "failed"
    assert keys(state) == []
    outbox.enqueue(state, effect())
    assert keys(state) == []


def test_what_nobody_asked_for_cannot_be_settled(state: State) -> None:
    assert outbox.settle(state, "m/000009", ok=True, detail="") is None


@pytest.mark.parametrize(
    ("attempts", "seconds"), [(0, 0), (1, 1), (2, 2), (3, 4), (8, 128), (9, 256), (10, 300), (10_000, 300)]
)
def test_pauses_double_up_to_five_minutes(attempts: int, seconds: int) -> None:
    assert outbox.pause_before(attempts) == seconds * SECOND


@given(st.integers(0, 200))
def test_pauses_never_shrink(attempts: int) -> None:
    assert outbox.pause_before(attempts) <= outbox.pause_before(attempts + 1) <= 5 * MINUTE


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["ask", "fail", "do"])), max_size=40))
def test_each_effect_is_settled_once_whatever_happens(steps: list[tuple[str, str]]) -> None:
    state = State(Path(":memory:"))
    asked: set[str] = set()
    settled: list[str] = []
    failures = dict.fromkeys("abc", 0)
    for key, step in steps:
        if step == "ask":
            outbox.enqueue(state, effect(key))
            asked.add(key)
            continue
        found = outbox.settle(state, key, ok=step == "do", detail="")
        assert (found is not None) == (key in asked and key not in settled)
        failures[key] += step == "fail" and found is not None
        if found is not None and found.status != "pending":
            settled.append(key)
            assert (found.status == "failed") == (failures[key] == MOST_ATTEMPTS)
    assert len(settled) == len(set(settled))
    assert keys(state) == sorted(asked - set(settled))
    state.close()
