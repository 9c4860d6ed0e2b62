from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table

from lossloop.app.cli.tables import comparison_table, decisions_table
from scripts.picture import picture

ROOT = Path(__file__).parents[2]
VERDICT = {"kind": "alarm", "evidence": 4.3, "threshold": 2.995732273553991, "count": 306,
           "effect": {"estimate": 0.5, "low": -0.1, "high": 1.1}}  # fmt: skip


def decision(**changes: Any) -> dict[str, Any]:
    plain = {"id": "m/000000", "at": "2013-03-19T02:25:00Z", "model": "m", "action": "roll_back",
             "status": "done", "reason": "difference 0.5", "version": 2, "share": 0.0, "verdict": VERDICT,
             "outcomes": 15778}  # fmt: skip
    return {**plain, **changes}


def month(name: str, flights: int, loss: float, usd: float) -> dict[str, Any]:
    return {"month": name, "flights": flights, "mean_loss": loss, "usd": usd}


def printed(table: Table, width: int = 110) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    console.print(table)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def test_a_decision_is_one_line_with_evidence_as_e_values_and_its_reason_below() -> None:
    lines = printed(decisions_table([decision()]))
    row = next(line for line in lines if "roll back" in line)
    for cell in ("2013-03-19", "alarm", "73.7 of 20", "+0.500 [-0.100, +1.100]", "15,778", "done"):
        assert cell in row
    assert any(line.split() == ["1", "difference", "0.5"] for line in lines)


def test_widest_usual_decisions_fit_a_screen_of_110_columns() -> None:
    wide = {**VERDICT, "kind": "inconclusive", "evidence": 8.5, "threshold": 8.2,
            "effect": {"estimate": 4.427, "low": -3.579, "high": 12.434}}  # fmt: skip
    lines = printed(decisions_table([decision(action="start_rollout", outcomes=277_337, verdict=wide)] * 11))
    assert not any("…" in line for line in lines)
    assert sum("start rollout" in line and "[-3.579, +12.434]" in line for line in lines) == 11


def test_what_a_decision_lacks_is_left_empty() -> None:
    bare = {"at": "1970-01-01T00:00:00Z", "action": "notify", "status": "would_have", "reason": "r"}
    row = next(line for line in printed(decisions_table([bare])) if "notify" in line)
    assert row.split() == ["1", "at", "set-up", "notify", "0", "would", "have"]
    nothing = decision(verdict=None, version=None)
    assert "None" not in "".join(printed(decisions_table([nothing])))


def test_a_ramp_says_where_to() -> None:
    assert any(
        "ramp to 25%" in line for line in printed(decisions_table([decision(action="ramp", share=0.25)]))
    )


def test_brackets_in_a_reason_are_text_not_markup() -> None:
    lines = printed(decisions_table([decision(reason="[red]the [/] night shift")]))
    assert any("[red]the [/] night shift" in line for line in lines)


def test_an_effect_without_an_end_is_shown_as_such() -> None:
    endless = {**VERDICT, "effect": {"estimate": 0.1, "low": float("-inf"), "high": float("inf")}}
    assert any("[-inf, +inf]" in line for line in printed(decisions_table([decision(verdict=endless)])))


def test_no_decisions_make_a_table_all_the_same() -> None:
    assert any("evidence" in line for line in printed(decisions_table([])))


def test_the_least_of_each_month_and_of_all_months_is_marked() -> None:
    comparison = {
        "with the loop": [month("2013-03", 10, 0.5, 100.0), month("2013-04", 30, 0.7, 350.0)],
        "version 1 for ever": [month("2013-03", 10, 0.4, 120.0), month("2013-04", 30, 0.9, 300.0)],
    }
    lines = printed(comparison_table(comparison))
    march, april, total = (
        next(line for line in lines if f" {key} " in f" {line}") for key in ("2013-03", "2013-04", "all")
    )
    assert march.split() == ["2013-03", "10", "0.500", "100*", "0.400*", "120"]
    assert april.split() == ["2013-04", "30", "0.700*", "350", "0.900", "300*"]
    assert total.split() == ["all", "40", "0.650*", "450", "0.775", "420*"], "losses weigh by flights"


def test_what_is_the_same_as_shown_is_not_called_better() -> None:
    comparison = {"a": [month("2013-03", 10, 0.5001, 100.0)], "b": [month("2013-03", 10, 0.5002, 100.0)]}
    assert not any("*" in line for line in printed(comparison_table(comparison))[:-1])


def test_no_months_make_a_table_all_the_same() -> None:
    assert any("month" in line for line in printed(comparison_table({})))


@pytest.mark.parametrize("arguments", [[], ["one", "two"]])
def test_the_picture_names_what_it_needs(arguments: list[str]) -> None:
    command = [sys.executable, str(ROOT / "scripts/picture.py"), *arguments]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == 1
    assert "DEMO.json" in found.stderr


def test_the_picture_is_small_and_fetches_nothing() -> None:
    months = {name: [month("2013-03", 10, 0.5, 100.0)] for name in ("with the loop", "version 1 for ever")}
    drawn = picture(json.dumps({"decisions": [decision()] * 11, "comparison": months, "timings": {}}))
    assert drawn.startswith("<svg")
    assert "73.7" in drawn
    assert "http" not in drawn.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert len(drawn) < 100_000
