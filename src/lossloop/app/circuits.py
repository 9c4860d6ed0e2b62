"""Circuits as facts: a server says that it opened or closed one; the loop records it and tells people."""

from __future__ import annotations

from typing import Any

from lossloop.act.policy import CIRCUIT
from lossloop.core.clock import format_time
from lossloop.core.errors import InputError
from lossloop.core.records import Decision, Record

OPEN, CLOSED = "open", "closed"
ACTIONS = {OPEN: "open_circuit", CLOSED: "close_circuit"}


class TurnCircuit(Record, frozen=True):
    """A server process does not ask a version any more, or asks it again."""

    model: str
    version: int
    state: str
    why: str = ""
    """What failed last."""
    server: str = ""
    """Which process: each has circuits of its own."""


def told_as(command: TurnCircuit, version: str) -> str:
    """A turn as people are told of it.

    Raises:
        InputError: There is no such state.
    """
    if command.state not in ACTIONS:
        raise InputError(f"a circuit is open or closed, not {command.state!r}", field="state")
    if command.state == OPEN:
        return f"{version} is not asked any more: {command.why}"
    return f"{version} is asked again"


def open_circuits(decisions: list[Decision]) -> list[dict[str, Any]]:
    """Circuits that opened last, as servers said; one that has ended since says nothing."""
    last: dict[tuple[int | None, str], Decision] = {}
    for each in decisions:
        if each.watch == CIRCUIT and each.action in ACTIONS.values():
            last[each.version, each.by] = each
    return [
        {"version": each.version, "since": format_time(each.at), "reason": each.reason, "server": each.by}
        for each in last.values()
        if each.action == ACTIONS[OPEN]
    ]
