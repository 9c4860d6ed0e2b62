"""A circuit breaker: whether a version is asked at all, decided by how its last calls went. Pure.

    closed ──`errors` of the last `of` calls failed, within `within`──> open
    open ──after `retry_after`: one call is let through──> half-open
    half-open ──it succeeded──> closed       half-open ──it failed──> open

Time is handed in: microseconds of a clock that never steps back. A call is told apart from those of another
state by its turn: what a call of before the opening came to says nothing about the version of now.
"""

from __future__ import annotations

from enum import StrEnum

from lossloop.core.clock import Micros
from lossloop.core.records import Record
from lossloop.core.serving import Breaker


class State(StrEnum):
    """Of a circuit: closed while calls pass."""

    CLOSED = "closed"
    HALF_OPEN = "half_open"
    OPEN = "open"


class Circuit(Record, frozen=True):
    """How a version's calls went. Begin with `Circuit()`."""

    state: State = State.CLOSED
    since: Micros = 0
    """When this state began; of a half-open circuit, when its call was let through."""
    turn: int = 0
    """How many states there were before."""
    calls: int = 0
    """Calls that ended in this state, while there are failures among them to be told from."""
    failures: tuple[tuple[int, Micros], ...] = ()
    """The failed ones of them that count: which call it was, and when it ended."""
    why: str = ""
    """What failed last."""


class Permit(Record, frozen=True):
    """A call that may be made; hand it back with how the call went."""

    turn: int


def ask(circuit: Circuit, rule: Breaker, now: Micros) -> tuple[Circuit, Permit | None]:
    """Whether a call may be made now: its permit, or None; and the circuit after that.

    A half-open circuit whose call did not end within `retry_after` lets another through: whoever made it may
    be gone.
    """
    if circuit.state is State.CLOSED or not rule.errors:
        return circuit, Permit(turn=circuit.turn)
    if now < circuit.since + rule.retry_after:
        return circuit, None
    tried = Circuit(state=State.HALF_OPEN, since=now, turn=circuit.turn + 1, why=circuit.why)
    return tried, Permit(turn=tried.turn)


def tell(circuit: Circuit, rule: Breaker, permit: Permit, now: Micros, *, failed: str = "") -> Circuit:
    """The circuit after a call has ended.

    Args:
        circuit: As it is now.
        rule: The policy's.
        permit: The call's.
        now: When it ended.
        failed: Why it failed; empty where it did not.
    """
    if permit.turn != circuit.turn or circuit.state is State.OPEN:
        return circuit  # a call of another time
    if circuit.state is State.HALF_OPEN:
        return _turned(circuit, State.OPEN if failed else State.CLOSED, now, failed or circuit.why)
    return _counted(circuit, rule, now, failed)


def _counted(circuit: Circuit, rule: Breaker, now: Micros, failed: str) -> Circuit:
    """A closed circuit after a call, open where it was one failure too many."""
    if not failed and not circuit.failures:
        return circuit  # as nearly always: nothing to be told from
    calls = circuit.calls + 1
    failures = (*circuit.failures, (calls, now)) if failed else circuit.failures
    counted = tuple((call, at) for call, at in failures if call > calls - rule.of and at >= now - rule.within)
    if failed and 0 < rule.errors <= len(counted):
        return _turned(circuit, State.OPEN, now, failed)
    return Circuit(
        state=State.CLOSED, since=circuit.since, turn=circuit.turn, calls=calls if counted else 0,
        failures=counted, why=failed or circuit.why,
    )  # fmt: skip


def _turned(circuit: Circuit, state: State, now: Micros, why: str) -> Circuit:
    return Circuit(state=state, since=now, turn=circuit.turn + 1, why=why)
