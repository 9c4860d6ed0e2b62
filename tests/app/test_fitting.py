"""Tables fit the terminal, whatever its width, and lose nothing."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from rich.table import Table

from lossloop.app.cli.figures import figures_table
from lossloop.app.cli.fitting import show, show_table, widths
from lossloop.app.cli.metrics import metrics_table
from lossloop.app.cli.slices import slices_table
from lossloop.app.cli.tables import decisions_table

VERDICT = {"kind": "alarm", "evidence": 3.2, "threshold": 3.0}
DECISIONS = [
    {
        "at": "2026-11-21T10:46:55Z", "action": "roll_back", "version": 2, "outcomes": 91, "status": "done",
        "verdict": VERDICT | {"effect": {"estimate": 2.164, "low": 1.044, "high": 3.285}},
        "reason": "difference 2.164 over 30",
    }
]  # fmt: skip
SLICE = {
    "slice": "carrier=AA, origin=JFK", "kind": "alarm", "mean": 0.81, "limit": 0.3,
    "effect": {"estimate": 0.51}, "count": 224, "rows": 224, "share": 0.075,
    "missing": 0.0, "evidence": 204.3, "needs": 6.05,
}  # fmt: skip


def printed(table: Table, width: int, *, terminal: bool = True) -> str:
    screen = Console(file=io.StringIO(), force_terminal=terminal, width=width, color_system=None)
    show_table(screen, table)
    assert isinstance(screen.file, io.StringIO)
    return screen.file.getvalue()


@pytest.mark.parametrize("width", [30, 40, 60, 80, 100, 140])
@pytest.mark.parametrize("made", [decisions_table, slices_table])
def test_every_word_is_shown_at_any_width(made: type, width: int) -> None:
    rows = DECISIONS if made is decisions_table else [SLICE]
    seen = printed(made(rows), width)
    whole = printed(made(rows), 400)
    assert set(whole.split()) - {word for word in whole.split() if set(word) == {"─"}} <= set(seen.split())
    assert max(map(len, seen.splitlines())) <= width
    assert "…" not in seen


def test_tables_of_the_terminal_stay_tables_at_80_columns() -> None:
    for table in (decisions_table(DECISIONS), slices_table([SLICE])):
        first = printed(table, 80).splitlines()[0:2]
        assert "verdict" in " ".join(first)
        assert "evidence" in " ".join(first)


def test_a_row_that_does_not_fit_is_a_list() -> None:
    seen = printed(slices_table([SLICE, SLICE]), 40).splitlines()
    assert [line.split()[0] for line in seen[:3]] == ["slice", "verdict", "mean"]
    assert sum(line.startswith("slice ") for line in seen) == 2


def test_a_file_gets_whole_lines() -> None:
    (line,) = [
        line for line in printed(slices_table([SLICE]), 40, terminal=False).splitlines() if "AA" in line
    ]
    assert line.split()[:3] == ["carrier=AA,", "origin=JFK", "alarm"]
    assert line.endswith("of 424")


def test_a_picture_and_a_line_are_shown_as_they_are() -> None:
    screen = Console(file=io.StringIO(), width=10)
    show(screen, "a line that is longer than ten")
    assert isinstance(screen.file, io.StringIO)
    assert screen.file.getvalue() == "a line that is longer than ten\n"


@given(st.lists(st.tuples(st.integers(1, 60), st.integers(1, 60)), max_size=12), st.integers(0, 400))
def test_columns_give_way_from_the_widest_down_to_their_floors(
    sizes: list[tuple[int, int]], more: int
) -> None:
    floor, natural = [min(each) for each in sizes], [max(each) for each in sizes]
    room = sum(floor) + more
    found = widths(natural, floor, room)
    assert sum(found) <= room
    assert all(low <= width <= most for low, width, most in zip(floor, found, natural, strict=True))
    cut = [width for width, most, low in zip(found, natural, floor, strict=True) if low < width < most]
    assert len(set(cut)) <= 1
    assert sum(found) == sum(natural) or room - sum(found) < max(len(found), 1)


HOSTILE = "carrier=[/red] [bold]"
FIGURE = {
    "version": None, "role": None, "block": None, "slice": HOSTILE, "rows": 3, "labelled": 3, "missing": 0.0,
    "over": "rows", "interval": None, "delta": None,
    "metrics": {"auc": {"value": 0.5, "interval": None, "gap": None}},
}  # fmt: skip


def test_what_senders_name_is_no_markup() -> None:
    found = {"figures": [FIGURE] * 4, "against": HOSTILE, "gap_level": 0.99}
    for table in (
        metrics_table(found, "auc"),
        metrics_table(found, None),
        figures_table({"figures": [FIGURE], "in_force": None}),
    ):
        assert HOSTILE in printed(table, 200)
