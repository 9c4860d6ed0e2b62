"""How learned thresholds look in a terminal: cut-offs, costs, and what is not shown."""

from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console
from rich.table import Table

from lossloop.app.cli.thresholds import _action, lines
from lossloop.app.thresholds.asking import Answer
from lossloop.core.errors import InputError
from lossloop.core.records import Interval
from lossloop.core.thresholds import NEVER, Thresholds
from lossloop.judges import LearnedThresholds
from lossloop.registry import Manifest


def interval(low: float, high: float) -> Interval:
    return Interval(estimate=(low + high) / 2, low=low, high=high, approximate=True)


def learned(**changes: Any) -> LearnedThresholds:
    given: dict[str, Any] = {
        "least": (0.1, 0.6),
        "cost": interval(1.0, 2.0),
        "present": (0.5, 0.9),
        "present_cost": interval(2.5, 3.5),
        "change": interval(-2.0, -1.0),
        "shares": (0.7, 0.25, 0.05),
        "rows": 5000,
        "of_each": (4500, 500),
        "blocks": 50,
        "needed": None,
    }
    return LearnedThresholds(**{**given, **changes})


def answer(found: LearnedThresholds, **changes: Any) -> Answer:
    given: dict[str, Any] = {
        "model": "fraud",
        "version": 3,
        "thresholds": Thresholds(actions=("pass", "review", "block"), least=found.least),
        "costs": ((0.0, 3.0, 10.0), (40.0, 3.0, 0.0)),
        "unit": "USD",
        "learned": found,
        "against": "those of fraud:3",
        "missing": (None, None, None),
        "warnings": (),
        "manifest": Manifest(runtime="external"),
    }
    return Answer(**{**given, **changes})


def told(found: Answer) -> str:
    screen = Console(width=110, record=True, file=None, quiet=False, force_terminal=False, highlight=False)
    with screen.capture() as capture:
        for line in lines(found):
            screen.print(line)
    return capture.get()


def test_every_action_has_a_row_with_its_cut_offs_and_costs() -> None:
    (table,) = (each for each in lines(answer(learned())) if isinstance(each, Table))
    columns = {str(column.header): list(column.cells) for column in table.columns}
    assert columns["action"] == ["pass", "review", "block"]
    assert columns["from score"] == ["0", "0.1", "0.6"]
    assert columns["now from"] == ["0", "0.5", "0.9"]
    assert columns["of rows"] == ["70.0%", "25.0%", "5.0%"]
    assert columns["costs where 0"] == ["0", "3", "10"]
    assert columns["where 1"] == ["40", "3", "0"]


def test_what_is_never_done_says_so() -> None:
    shown = told(answer(learned(least=(0.1, NEVER))))
    assert "never" in shown
    assert "2.0" not in shown.split("held-out")[0]


def test_rows_blocks_and_intervals_are_told() -> None:
    shown = told(answer(learned()))
    assert "fraud  scores of version 3: 5,000 outcomes of 50 blocks, 500 of them 1" in shown
    assert "on held-out rows a row costs 1.5 [1, 2] USD" in shown
    assert "those of fraud:3 cost 3 [2.5, 3.5]; change -1.5 [-2, -1]" in shown
    assert "not shown" not in shown


def test_rows_that_are_their_own_blocks_are_not_called_so() -> None:
    assert "blocks" not in told(answer(learned(blocks=5000))).splitlines()[0]


@pytest.mark.parametrize(
    ("needed", "said"), [(90_000, "about 90,000 rows would show one of this size"), (None, "")]
)
def test_a_change_that_is_not_shown_says_what_would_show_it(needed: int | None, said: str) -> None:
    shown = told(answer(learned(change=interval(-1.0, 0.5), needed=needed)))
    assert "That they are cheaper is not shown" in shown
    assert said in shown
    assert ("would show" in shown) == bool(said)


def test_warnings_and_names_are_no_markup() -> None:
    found = learned()
    names = Thresholds(actions=("[red]pass", "re[/]view", "block"), least=found.least)
    shown = told(answer(found, thresholds=names, warnings=("[bold]beware",)))
    assert "[red]pass" in shown
    assert "re[/]view" in shown
    assert "warning: [bold]beware" in shown


def test_without_a_unit_none_is_told() -> None:
    assert "[1, 2]\n" in told(answer(learned(), unit=""))


@pytest.mark.parametrize(
    ("text", "name", "costs"),
    [
        ("review=3,3", "review", (3.0, 3.0)),
        (" let be =0,40.5", "let be", (0.0, 40.5)),
        ("a=b=1,2", "a=b", (1.0, 2.0)),
        ("block=1e1,0", "block", (10.0, 0.0)),
    ],
)
def test_an_action_is_a_name_and_two_costs(text: str, name: str, costs: tuple[float, float]) -> None:
    assert _action(text) == (name, costs)


@pytest.mark.parametrize("text", ["review", "review=3", "review=3,3,3", "=3,3", " =1,2", "review=a,b", ""])
def test_what_is_no_action_says_how_one_is_written(text: str) -> None:
    with pytest.raises(InputError, match="write one as review=3,3"):
        _action(text)
