"""How figures of a loss over history look in a terminal. Pure: from plain values to rich."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from rich import box
from rich.table import Table
from rich.text import Text

from lossloop.app import words

Plain = Mapping[str, Any]

_TOLD_BY = ("version", "role", "block", "slice")


def figures_table(answer: Plain) -> Table:
    """A row for each group of predictions, and one for all of them where there are several.

    Args:
        answer: As `lossloop loss recompute --json` prints it.
    """
    figures = answer["figures"]
    by = [name for name in _TOLD_BY if figures[0][name] is not None]
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for name in by:
        table.add_column(name, no_wrap=True)
    for name in ("rows", "labelled", "missing"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("mean [95%]", no_wrap=True)
    if answer["in_force"]:
        table.add_column("less in force [95%]", no_wrap=True)
    for figure in figures:
        table.add_row(*(Text(str(figure[name])) for name in by), *_cells(figure, answer))
    if len(figures) > 1 and by:
        table.add_section()
        table.add_row("all", *[""] * (len(by) - 1), *_cells(answer["whole"], answer))
    return table


def notes(answer: Plain) -> list[str]:
    """What has to be said beside the table: what is missing, what the intervals rest on, how long it took."""
    whole = answer["whole"]
    said = []
    absent = whole["rows"] - whole["labelled"]
    if absent:
        what = "they are in no mean" if answer["needs_outcome"] else "this loss needs none"
        said.append(f"{absent:,} of {whole['rows']:,} predictions have no outcome; {what}.")
    if whole["unscored"]:
        said.append(f"{whole['unscored']:,} predictions have no such loss; the first: {answer['problem']}.")
    if answer["gone"]:
        said.append(
            f"{answer['gone']:,} further predictions were erased or have expired; only counts are left."
        )
    if any(figure["over"] == "rows" for figure in (*answer["figures"], whole)):
        said.append("~ too few blocks for an interval over blocks: rows are taken for independent.")
    return [*said, _speed(answer)]


def _speed(answer: Plain) -> str:
    said = f"{answer['whole']['rows']:,} predictions in {answer['seconds']:.2f} s on {answer['on']}"
    floor = answer["floor_seconds"]
    if floor is None:
        return f"{said}."
    return f"{said}: {answer['seconds'] / floor:.1f} times one plain NumPy pass ({floor:.3f} s)."


def _cells(figure: Plain, answer: Plain) -> list[Text | str]:
    mean = _with_interval(figure["interval"], figure["over"], "{:.4f}".format)
    cells: list[Text | str] = [
        f"{figure['rows']:,}", f"{figure['labelled']:,}", f"{figure['missing']:.1%}", mean
    ]  # fmt: skip
    if answer["in_force"]:
        cells.append(_with_interval(figure["delta"], figure["over"], partial(words.signed, decimals=4)))
    return cells


def _with_interval(found: Plain | None, over: str, said: Callable[[float], str]) -> Text:
    if found is None:
        return Text("-")
    mark = " ~" if over == "rows" else ""
    return Text.assemble(
        said(found["estimate"]), (f" [{said(found['low'])}, {said(found['high'])}]{mark}", "dim")
    )
