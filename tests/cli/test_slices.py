"""The table of slices: what stands in it, and that names which come from senders are only text."""

from __future__ import annotations

import io
import math
from typing import Any

from rich.console import Console

from lossloop.app.cli.slices import slices_table


def finding(**changes: Any) -> dict[str, Any]:
    return {
        "slice": "carrier=UA", "kind": "healthy", "mean": 0.25, "limit": 0.3,
        "effect": {"estimate": -0.05, "low": -0.1, "high": 0.0}, "count": 40, "rows": 1200, "share": 0.125,
        "missing": 0.01, "evidence": math.log(2.0), "needs": math.log(400.0), "first": False, **changes,
    }  # fmt: skip


def shown(*found: dict[str, Any], width: int = 160) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=width).print(slices_table(list(found)))
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_a_row_says_how_a_slice_is_doing() -> None:
    heading, row = shown(finding())
    words = "slice verdict mean loss limit effect judged rows share missing evidence"
    assert heading.split() == words.split()
    assert row.split() == [
        "carrier=UA", "healthy", "0.25", "0.3", "-0.05", "40", "1,200", "12.5%", "1.0%", "2", "of", "400",
    ]  # fmt: skip


def test_what_was_not_judged_is_a_dash() -> None:
    _, row = shown(finding(kind="no_data", mean=None, effect=None, evidence=None, count=0, rows=0))
    assert row.split() == ["carrier=UA", "no", "data", "-", "0.3", "-", "0", "0", "12.5%", "1.0%", "-"]


def test_the_name_of_a_slice_is_no_markup() -> None:
    _, row = shown(finding(slice="carrier=[red]x[/red]"))
    assert row.startswith("carrier=[red]x[/red]")


def test_a_thousand_slices_are_a_thousand_rows() -> None:
    rows = shown(*(finding(slice=f"carrier={place}") for place in range(1000)))
    assert len(rows) == 1001
