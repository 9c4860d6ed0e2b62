"""The terminal's tables: every decision, and what the loop was worth. Pure: from plain values to rich."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from lossloop.app import words

Plain = Mapping[str, Any]
Course = Sequence[Plain]

_VERDICTS = {"alarm": "red", "error": "magenta", "better": "blue", "healthy": "green"}
_LOSS, _USD = "mean_loss", "usd"


def decisions_table(decisions: Sequence[Plain]) -> Table:
    """Every decision in a row, numbered; the reasons stand below under the same numbers.

    Args:
        decisions: As `lossloop decisions --json` prints them.
    """
    table = Table(
        box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0), caption_justify="left"
    )
    for name in ("", "date", "action", "ver.", "verdict", "evidence", "effect", "outcomes", "status"):
        right = name in ("", "ver.", "evidence", "outcomes")
        table.add_column(name, justify="right" if right else "left", no_wrap=name != "status")
    for number, decision in enumerate(decisions, start=1):
        table.add_row(str(number), *_cells(decision))
    reasons = [f"{number:>2} {decision['reason']}" for number, decision in enumerate(decisions, start=1)]
    # Not markup: a reason may hold brackets of its own.
    table.caption = Text("\n".join(reasons), style="dim not italic")
    return table


def _cells(decision: Plain) -> list[Text | str]:
    verdict, version = decision.get("verdict"), decision.get("version")
    return [
        words.moment(decision),
        Text(words.action(decision), style="bold"),
        "" if version is None else str(version),
        *(("", "", "") if verdict is None else _verdict_cells(verdict)),
        f"{decision.get('outcomes', 0):,}",
        str(decision["status"]).replace("_", " "),
    ]


def _verdict_cells(verdict: Plain) -> tuple[Text | str, str, Text | str]:
    kind, effect = str(verdict["kind"]), verdict.get("effect")
    shown: Text | str = ""
    if effect is not None:
        shown = Text.assemble(words.signed(effect["estimate"]), (f" {words.interval(effect)}", "dim"))
    return Text(kind.replace("_", " "), style=_VERDICTS.get(kind, "")), words.evidence(verdict), shown


def comparison_table(comparison: Mapping[str, Course]) -> Table:
    """Mean loss and USD by month for each course of events, with a row for all months together.

    Args:
        comparison: As `lossloop demo --json` prints it: a list of months for each course, all of the same
            flights. The least of each row is marked.
    """
    table = Table(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
        padding=(0, 1),
        caption_justify="left",
        show_footer=True,
    )
    courses = list(comparison.values())
    totals = [_total(course) for course in courses]
    table.add_column("month", "all", no_wrap=True)
    table.add_column("flights", f"{totals[0]['flights']:,}" if totals else "", justify="right")
    marked = [_marked(totals, key) for key in (_LOSS, _USD)]
    for index, name in enumerate(comparison):
        table.add_column(f"{name}\nloss", marked[0][index], justify="right")
        table.add_column("USD", marked[1][index], justify="right", vertical="bottom")
    for months in zip(*courses, strict=True):
        losses, costs = _marked(months, _LOSS), _marked(months, _USD)
        pairs = [cell for pair in zip(losses, costs, strict=True) for cell in pair]
        table.add_row(months[0]["month"], f"{months[0]['flights']:,}", *pairs)
    table.caption = Text("* the least of the row", style="dim not italic")
    return table


def _total(course: Course) -> dict[str, float]:
    count = sum(month["flights"] for month in course)
    loss = sum(month["flights"] * month[_LOSS] for month in course)
    return {
        "flights": count,
        _LOSS: loss / count if count else 0.0,
        _USD: sum(month[_USD] for month in course),
    }


def _marked(row: Sequence[Plain], key: str) -> list[Text]:
    """The row's values; a star at the least, as shown, unless all are the same."""
    shown = [round(float(each[key]), 3 if key == _LOSS else 0) for each in row]
    texts = [f"{value:.3f}" if key == _LOSS else f"{value:,.0f}" for value in shown]
    differ = len(set(shown)) > 1
    return [
        Text(f"{text}*", style="bold") if differ and value == min(shown) else Text(f"{text} ")
        for text, value in zip(texts, shown, strict=True)
    ]


__all__ = ["comparison_table", "decisions_table"]
