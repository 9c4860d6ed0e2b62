"""Circuits as facts: what a server says of them is recorded, shown and told to whom the policy names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lossloop.act import outbox
from lossloop.app.circuits import TurnCircuit
from lossloop.app.reading import status
from lossloop.core.errors import Conflict, PolicyError
from tests.app.desk import MODEL, Desk


def turned(desk: Desk, state: str, server: str = "a1", version: int = 1) -> str:
    command = TurnCircuit(model=MODEL, version=version, state=state, why="TimeoutError", server=server)
    return desk.obey(command).message


def shown(desk: Desk) -> list[dict[str, Any]]:
    with desk.books() as books:
        found: list[dict[str, Any]] = status(books, MODEL)["circuits"]
        return found


def test_a_turn_is_recorded_and_told_to_whom_the_policy_names(tmp_path: Path) -> None:
    desk = Desk.ready(tmp_path / "s", on={"circuit": [{"notify": "log"}]})
    assert turned(desk, "open") == "m:1 is not asked any more: TimeoutError"
    assert turned(desk, "closed") == "m:1 is asked again"
    told = [(each.action, each.watch, each.by, each.status) for each in desk.decisions()[1:]]
    assert told == [
        ("open_circuit", "circuit", "a1", "done"),
        ("notify", "circuit", "policy", "done"),
        ("close_circuit", "circuit", "a1", "done"),
        ("notify", "circuit", "policy", "done"),
    ]
    with desk.books() as books:
        assert [each.body["reason"] for each in outbox.pending(books.documents)] == [
            "m:1 is not asked any more: TimeoutError", "m:1 is asked again"
        ]  # fmt: skip


def test_what_is_open_is_shown_by_server_as_it_was_said_last(tmp_path: Path) -> None:
    desk = Desk.ready(tmp_path / "s", versions=2)
    for state, server, version in (
        ("open", "a1", 1),
        ("open", "b2", 1),
        ("closed", "a1", 1),
        ("open", "a1", 2),
    ):
        turned(desk, state, server, version)
    assert [(each["version"], each["server"]) for each in shown(desk)] == [(1, "b2"), (2, "a1")]
    assert shown(desk)[0]["reason"] == "m:1 is not asked any more: TimeoutError"


def test_a_turn_that_cannot_be_changes_nothing(tmp_path: Path) -> None:
    desk = Desk.ready(tmp_path / "s")
    with pytest.raises(Conflict, match="a circuit is open or closed, not 'ajar'"):
        turned(desk, "ajar")
    with pytest.raises(Conflict, match="unknown version 'm:7'"):
        turned(desk, "open", version=7)
    assert shown(desk) == []


def test_of_a_circuit_one_can_only_be_notified(tmp_path: Path) -> None:
    desk = Desk.at(tmp_path / "s")
    with pytest.raises(PolicyError, match="a circuit acts by itself; of it one can only be notified"):
        desk.policy(on={"circuit": [{"retrain": "x"}]})
    watch = {"kind": "guardrail", "limit": 1, "promise": "5% ever"}
    with pytest.raises(PolicyError, match="'circuit' names the circuit itself; give the watch another name"):
        desk.policy(watches={"circuit": watch})
