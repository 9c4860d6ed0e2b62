"""Tables as wide as the terminal: wrapped between words where they are too wide, and never cut off."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.measure import Measurement
from rich.table import Column, Table
from rich.text import Text

_ENDLESS = 100_000


def show(screen: Console, line: Text | Table | str) -> None:
    """Print a line, a picture or a table of an answer; lines are left to the terminal to wrap."""
    if isinstance(line, Table):
        show_table(screen, line)
    else:
        screen.print(line, highlight=False, soft_wrap=isinstance(line, str))


def show_table(screen: Console, table: Table) -> None:
    """Print a table whole.

    Where it is too wide it is wrapped in the columns that may be, then in all of them, always between words.
    Where the longest words do not fit beside each other each row is a list of names and values. A file takes
    any width instead.

    Args:
        screen: Where it is printed.
        table: The table; its columns get widths.
    """
    wide = _sizes(screen, table)
    natural = [size.maximum for size in wide]
    if table.box is None and _width(screen, table) > screen.width:
        table.padding = (0, 1, 0, 0)
    beside = _width(screen, table) - sum(natural)
    kept = [size.maximum if column.no_wrap else size.minimum for size, column in _pairs(wide, table)]
    floors = [kept, [size.minimum for size in wide]] if screen.is_terminal else [kept]
    for floor in floors:
        if sum(floor) + beside <= screen.width:
            for column, width in zip(
                table.columns, widths(natural, floor, screen.width - beside), strict=True
            ):
                column.width, column.no_wrap, column.overflow = width, False, "fold"
            screen.print(table)
            return
    if screen.is_terminal:
        screen.print(_listed(table))
    else:
        screen.width, width = sum(natural) + beside, screen.width
        screen.print(table)
        screen.width = width


def widths(natural: Sequence[int], floor: Sequence[int], room: int) -> list[int]:
    """Widths of columns that fit into the room: the widest give way first, none below its floor.

    Args:
        natural: How wide each would be without a limit, in characters.
        floor: How narrow each may become, at most its natural width.
        room: How wide they may be together, at least the sum of the floors.
    """
    level = max(natural, default=0)
    while sum(found := [max(low, min(most, level)) for most, low in zip(natural, floor, strict=True)]) > room:
        level -= 1
    return found


def _width(screen: Console, table: Table) -> int:
    return Measurement.get(screen, screen.options.update(width=_ENDLESS), table).maximum


def _sizes(screen: Console, table: Table) -> list[Measurement]:
    """Of each column the longest word, and the longest line."""
    options = screen.options.update(width=_ENDLESS)
    found = []
    for column in table.columns:
        cells = [column.header, *column.cells, *([column.footer] if table.show_footer else [])]
        sizes = [Measurement.get(screen, options, cell) for cell in cells]
        longest = [max(size.minimum for size in sizes), max(size.maximum for size in sizes)]
        found.append(Measurement(*(max(1, size) for size in longest)))
    return found


def _pairs(sizes: list[Measurement], table: Table) -> list[tuple[Measurement, Column]]:
    return list(zip(sizes, table.columns, strict=True))


def _listed(table: Table) -> Table:
    """Each row as names and values below each other, empty ones left out."""
    made = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0), title=table.title)
    made.caption, made.caption_justify = table.caption, table.caption_justify
    made.add_column(no_wrap=True)
    made.add_column(overflow="fold")
    for number, row in enumerate(zip(*(column.cells for column in table.columns), strict=True)):
        if number:
            made.add_row("", "")
        for column, cell in zip(table.columns, row, strict=True):
            if str(cell):
                made.add_row(Text(" ".join(str(column.header).split()), style="bold"), cell)
    return made


__all__ = ["show", "show_table", "widths"]
