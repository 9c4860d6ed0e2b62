"""The circuit breaker: a pure machine, held to its own words by every course of calls."""

from __future__ import annotations

import threading
from collections import deque

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from lossloop.core.serving import Breaker
from lossloop.serve.breaker import Circuit, Permit, State, ask, tell
from lossloop.serve.circuits import Circuits

RULE = Breaker(errors=3, of=5, within=100, retry_after=50)


def after(calls: str, rule: Breaker = RULE, apart: int = 1) -> Circuit:
    """A circuit after calls that ended well (.) or failed (x), one behind the other."""
    circuit = Circuit()
    for now, call in enumerate(calls, start=1):
        circuit, permit = ask(circuit, rule, now * apart)
        if permit is not None:
            circuit = tell(circuit, rule, permit, now * apart, failed="Boom" if call == "x" else "")
    return circuit


def test_calls_that_end_well_change_nothing_at_all() -> None:
    assert after("." * 50) is not None
    assert after("." * 50) == Circuit()


def test_it_opens_at_the_failure_that_is_one_too_many_and_says_what_failed() -> None:
    assert after("x.x.").state is State.CLOSED
    opened = after("x.x.x")
    assert (opened.state, opened.why, opened.since) == (State.OPEN, "Boom", 5)


def test_failures_beyond_the_last_calls_or_the_span_do_not_count() -> None:
    assert after("x..x..x..x").state is State.CLOSED, "three in seven calls, never three in five"
    assert after("xx..x", apart=40).state is State.CLOSED, "the first lies 160 back"
    assert after("xxx", apart=40).state is State.OPEN


def test_a_failure_that_no_longer_counts_leaves_no_trace() -> None:
    left = after("x" + "." * 5)
    assert (left.failures, left.calls, left.why) == ((), 0, "Boom")


def test_an_open_circuit_is_not_asked_until_its_time_and_then_once() -> None:
    circuit = after("xxx")
    assert ask(circuit, RULE, 52)[1] is None
    circuit, trial = ask(circuit, RULE, 53)
    assert trial is not None
    assert circuit.state is State.HALF_OPEN
    assert ask(circuit, RULE, 54)[1] is None, "one at a time"
    assert tell(circuit, RULE, trial, 60).state is State.CLOSED
    again = tell(circuit, RULE, trial, 60, failed="Still")
    assert (again.state, again.since, again.why) == (State.OPEN, 60, "Still")


def test_a_trial_that_never_ends_is_followed_by_another_and_then_says_nothing() -> None:
    circuit, lost = ask(after("xxx"), RULE, 60)
    circuit, trial = ask(circuit, RULE, 110)
    assert lost is not None
    assert trial is not None
    assert tell(circuit, RULE, lost, 111) == circuit
    assert tell(circuit, RULE, trial, 112).state is State.CLOSED


def test_a_call_of_before_the_opening_says_nothing_about_the_trial() -> None:
    _, slow = ask(Circuit(), RULE, 0)
    circuit, trial = ask(after("xxx"), RULE, 60)
    assert slow is not None
    assert trial is not None
    assert tell(circuit, RULE, slow, 61, failed="late") == circuit
    assert tell(after("xxx"), RULE, slow, 10) == after("xxx")


def test_without_errors_it_is_asked_whatever_happens() -> None:
    never = Breaker(errors=0)
    assert after("x" * 100, never).state is State.CLOSED
    assert ask(after("xxx"), never, 4)[1] is not None, "also where it was open under another rule"


@given(st.text(alphabet=".x", max_size=80), st.integers(1, 6), st.integers(1, 8), st.integers(1, 30))
def test_it_opens_exactly_when_its_words_say_so(calls: str, errors: int, of: int, within: int) -> None:
    rule = Breaker(errors=min(errors, of), of=of, within=within, retry_after=10**9)
    last: deque[tuple[int, bool]] = deque(maxlen=of)
    opens = None
    for now, call in enumerate(calls, start=1):
        last.append((now, call == "x"))
        if call == "x" and sum(failed and at >= now - within for at, failed in last) >= rule.errors:
            opens = now
            break
    found = after(calls, rule)
    assert (found.state is State.OPEN) == (opens is not None)
    assert opens is None or found.since == opens


class AnyCourse(RuleBasedStateMachine):
    """Calls overlap, end late or never, and time goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        self.circuits = Circuits(lambda: self.now)
        self.under_way: list[Permit] = []
        self.turned: list[State] = []

    @rule()
    def call(self) -> None:
        before = self.circuits.circuit(("m", 1))
        permit = self.circuits.ask(("m", 1), RULE)
        if permit is not None:
            self.under_way.append(permit)
        waits = self.now < before.since + RULE.retry_after
        assert (permit is None) == (before.state is not State.CLOSED and waits)

    @precondition(lambda self: bool(self.under_way))
    @rule(data=st.data(), failed=st.booleans())
    def end(self, data: st.DataObject, failed: bool) -> None:
        permit = self.under_way.pop(data.draw(st.integers(0, len(self.under_way) - 1)))
        before = self.circuits.circuit(("m", 1))
        self.circuits.tell(("m", 1), RULE, permit, "Boom" if failed else "")
        if permit.turn != before.turn:
            assert self.circuits.circuit(("m", 1)) == before

    @rule(span=st.integers(1, 120))
    def wait(self, span: int) -> None:
        self.now += span

    @invariant()
    def what_is_told_of_goes_up_and_down_in_turn(self) -> None:
        self.turned += [turn.state for turn in self.circuits.turns()]
        assert self.turned == [State.OPEN, State.CLOSED] * (len(self.turned) // 2) + [State.OPEN] * (
            len(self.turned) % 2
        )
        circuit = self.circuits.circuit(("m", 1))
        assert len(circuit.failures) < RULE.errors
        assert (circuit.state is State.CLOSED) == (len(self.turned) % 2 == 0)
        assert self.circuits.seconds(("m", 1)) >= 0


TestAnyCourse = AnyCourse.TestCase


def test_a_version_that_left_is_asked_anew_when_it_comes_back() -> None:
    circuits = Circuits(lambda: 7)
    for key in (("m", 1), ("m", 2)):
        for _ in range(3):
            permit = circuits.ask(key, RULE)
            assert permit is not None
            circuits.tell(key, RULE, permit, "Boom")
    circuits.keep([("m", 2), ("m", 3)])
    assert circuits.circuit(("m", 1)) == Circuit()
    assert circuits.circuit(("m", 2)).state is State.OPEN
    assert [(turn.version, turn.why) for turn in circuits.turns()] == [(1, "Boom"), (2, "Boom")]
    assert circuits.turns() == []


def test_lanes_tell_from_their_own_threads() -> None:
    circuits, open_to_all = Circuits(lambda: 7), Breaker(errors=1000, of=1000)

    def fail() -> None:
        for _ in range(200):
            permit = circuits.ask(("m", 1), open_to_all)
            assert permit is not None
            circuits.tell(("m", 1), open_to_all, permit, "Boom")

    threads = [threading.Thread(target=fail) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(circuits.circuit(("m", 1)).failures) == 800
