"""`lossloop bench judge`: every promised figure is measured, at tiny sizes, and told in one shape."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from lossloop.app.bench import Figure, as_json
from lossloop.app.bench.judge import PARTS, run
from lossloop.app.bench.judge_sizes import QUICK
from lossloop.app.bench.judge_targets import TARGETS
from lossloop.app.bench.screen import Quiet
from lossloop.app.cli.bench import held_against
from lossloop.core.errors import UnknownName

KINDS = ["guardrail", "regression", "seasonal", "baseline", "estimate"]
SPEEDS = ["stream_100", "stream_binary", "streams_10k", "single", "backtest"]
SPEEDS += [f"backtest_{kind}_rows" for kind in KINDS]
PROMISED = [*SPEEDS, "worst_delay_over_oracle", "cells_ahead_of_peers", "promises_broken"]
"""What the judges are held to."""


class Said(Quiet):
    """Keeps what was said."""

    def __init__(self) -> None:
        self.phases: list[str] = []
        self.figures: list[Figure] = []

    def phase(self, words: str) -> None:
        self.phases.append(words)

    def figure(self, figure: Figure) -> None:
        self.figures.append(figure)


@pytest.fixture(scope="module")
def said() -> Said:
    return Said()


@pytest.fixture(scope="module")
def told(said: Said) -> dict[str, Any]:
    machine, figures = run(QUICK, said)
    return as_json("judge", figures, machine)


def found(told: dict[str, Any], id: str) -> dict[str, Any]:
    (each,) = [each for each in told["figures"] if each["id"] == id]
    return dict(each)


def test_all_figures_are_there_in_order(told: dict[str, Any], said: Said) -> None:
    assert [each["id"] for each in told["figures"]] == PROMISED == list(TARGETS)
    assert sorted(id for part in PARTS for id in part.ids) == sorted(PROMISED)
    assert [each.id for each in said.figures] == PROMISED
    assert all(any(words.startswith(id) for words in said.phases) for id in PROMISED)


@pytest.mark.parametrize("id", PROMISED)
def test_a_figure_has_value_and_target(told: dict[str, Any], id: str) -> None:
    each = found(told, id)
    assert list(each)[:7] == ["id", "value", "unit", "target", "floor", "peer", "met"]
    assert each["value"] is not None, each.get("problem")
    assert (each["target"], each["unit"]) == (TARGETS[id].value, TARGETS[id].unit)
    assert isinstance(each["met"], bool)


@pytest.mark.parametrize("id", SPEEDS)
def test_a_speed_stands_beside_its_floor(told: dict[str, Any], id: str) -> None:
    each = found(told, id)
    assert each["low"] <= each["value"] <= each["high"]
    assert each["floor"] > each["value"] > 0
    assert TARGETS[id].floor.startswith("NumPy")


def test_the_contest_says_who_took_part(told: dict[str, Any]) -> None:
    each = found(told, "cells_ahead_of_peers")
    assert 0 <= each["value"] <= 9
    assert "DDM" in each["too_many_false_alarms"]
    assert "ADWIN" in each["compared_with"]
    assert len(each["behind_in"]) == 9 - each["value"]
    promises = found(told, "promises_broken")
    assert promises["of"] == 1 + len(promises["false_alarms"]) == 13


def test_one_figure_can_be_asked_for_as_a_program() -> None:
    command = [sys.executable, "-m", "lossloop", "bench", "judge", "--quick", "--only", "single"]
    done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=True)
    printed = json.loads(done.stdout)
    assert (printed["bench"], printed["quick"]) == ("judge", True)
    assert [each["id"] for each in printed["figures"]] == ["single"]
    assert "single  " in done.stderr


def test_people_are_told_what_the_figures_are(said: Said, told: dict[str, Any]) -> None:
    text = held_against(said.figures, TARGETS).plain
    assert all(f"{id}: {TARGETS[id].what}" in text for id in PROMISED)
    assert text.count("floor: NumPy") == len(SPEEDS)


def test_a_figure_that_is_not_there_is_an_error_with_those_that_are() -> None:
    with pytest.raises(UnknownName, match="single"):
        run(QUICK, Quiet(), only=["singles"])
