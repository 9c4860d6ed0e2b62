"""A report as people see it: in the terminal, as a page, and as JSON for programs."""

from __future__ import annotations

import io
import json
from typing import Any

import msgspec
import pytest
from rich.console import Console
from rich.table import Table

from lossloop.act.checks import Check, Checked, Finding, Status
from lossloop.app.cli.version import lines
from lossloop.app.versions.base import Detail, Report, Shown
from lossloop.app.versions.page import render

HOSTILE = "<script>alert(1)</script> [bold]&"


def finding(check: Check, status: Status, words: str = "so it is") -> Finding:
    return Finding(check=check, status=status, words=words, figures={"rows": 3.0})


def report(*, statuses: Any = None, objections: tuple[str, ...] = (), **changes: Any) -> Report:
    """A report of which each check ended in its own way."""
    chosen = statuses or {}
    found = tuple(finding(each, chosen.get(each, Status.PASSED)) for each in Check)
    details = (
        Detail(title="Rows that miss", head=("scenario", "row"), rows=(("low", "row 1"), ("low", "row 2"))),
    )
    shown = tuple(
        Shown(finding=each, details=details if each.check is Check.SCENARIOS else ()) for each in found
    )
    given = {
        "model": "m",
        "name": "m:2",
        "champion": "m:1",
        "required": (Check.SCENARIOS, Check.LOSS),
        "checked": Checked(version="v", rules="r", champion=1, rows=1_234, findings=found),
        "shown": shown,
        "objections": objections,
    }
    return Report(**{**given, **changes})


def seen(found: Report, width: int = 160) -> str:
    """What a terminal shows."""
    out = io.StringIO()
    screen = Console(file=out, width=width, color_system=None)
    for line in lines(found):
        screen.print(line)
    return out.getvalue()


# In the terminal.


def test_the_terminal_names_version_champion_and_rows() -> None:
    assert seen(report()).startswith("m:2 beside m:1, on 1,234 recent rows")
    assert seen(report(champion="")).startswith("m:2, on 1,234 recent rows")


def test_each_check_is_a_row_and_those_that_are_only_shown_say_so() -> None:
    text = seen(report())
    for check in Check:
        assert f"\n{check}" in text
    assert "outcomes (shown only)" in text
    assert "scenarios (shown only)" not in text


@pytest.mark.parametrize("status", [*Status])
def test_every_status_has_a_word(status: Status) -> None:
    text = seen(report(statuses={Check.LOAD: status}))
    row = next(line for line in text.splitlines() if line.startswith("load"))
    assert status.replace("_", " ") in row


def test_details_stand_below() -> None:
    text = seen(report())
    assert "scenarios: Rows that miss" in text
    assert "row 2" in text
    tables = [line for line in lines(report()) if isinstance(line, Table)]
    assert len(tables) == 2


def test_the_end_says_whether_it_may_take_traffic() -> None:
    assert seen(report()).endswith("It may take traffic.\n")
    refused = seen(report(objections=("load: too slow", "loss: no")))
    assert refused.endswith("refused: load: too slow\nrefused: loss: no\n")
    assert "may take" not in refused


def test_what_a_model_says_is_no_order_to_the_terminal() -> None:
    text = seen(report(name=HOSTILE, objections=(HOSTILE,)))
    assert text.count("[bold]") == 2


# As a page.


def test_the_page_says_the_same() -> None:
    text = render(report(statuses={Check.LOAD: Status.NOT_TOLD}))
    assert "m:2: it may take traffic" in text
    assert "1,234 recent rows, beside m:1" in text
    assert "not told" in text
    assert "scenarios: Rows that miss" in text
    assert text.count("shown only") == len(Check) - 2


def test_the_page_of_a_refusal() -> None:
    text = render(report(objections=("load: too slow",)))
    assert "m:2: refused" in text
    assert "Refused: load: too slow." in text


def test_what_a_model_says_is_no_part_of_the_page() -> None:
    cells = Detail(title=HOSTILE, head=(HOSTILE,), rows=((HOSTILE,),))
    shown = (Shown(finding=finding(Check.LOSS, Status.FAILED, HOSTILE), details=(cells,)),)
    text = render(report(name=HOSTILE, champion=HOSTILE, shown=shown, objections=(HOSTILE,)))
    assert "<script>alert" not in text
    assert text.count("&lt;script&gt;alert(1)") >= 6


def test_the_page_asks_nobody_for_anything() -> None:
    text = render(report())
    assert "http://" not in text.replace("http://www.w3.org", "")
    assert 'src="' not in text


@pytest.mark.parametrize("status", [*Status])
def test_every_status_has_a_mark_that_the_frame_draws(status: Status) -> None:
    text = render(report(statuses={Check.LOAD: status}))
    used = {part.partition('"')[0] for part in text.split('<use href="#')[1:]}
    assert all(f'id="{name}"' in text for name in used)


# For programs.


def test_json_has_every_key() -> None:
    plain = json.loads(msgspec.json.encode(report(objections=("load: too slow",)).plain()))
    assert {key: plain[key] for key in ("model", "version", "champion", "rows", "fine", "objections")} == {
        "model": "m",
        "version": "m:2",
        "champion": "m:1",
        "rows": 1_234,
        "fine": False,
        "objections": ["load: too slow"],
    }
    first = plain["checks"][0]
    assert {key: first[key] for key in ("check", "status", "required", "words", "figures")} == {
        "check": "scenarios",
        "status": "passed",
        "required": True,
        "words": "so it is",
        "figures": {"rows": 3.0},
    }
    assert first["details"][0]["head"] == ["scenario", "row"]


def test_what_an_order_takes_with_it_comes_out_of_the_json_as_it_was() -> None:
    found = report()
    plain = json.loads(msgspec.json.encode(found.plain()))
    assert msgspec.convert(plain["checked"], Checked) == found.checked


def test_without_a_champion_the_json_says_none() -> None:
    assert report(champion="").plain()["champion"] is None
