"""`lossloop slices`: how each slice of a model is doing, in the terminal."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from cyclopts import Parameter
from rich.table import Table
from rich.text import Text

from lossloop.app.books import Books
from lossloop.app.cli.common import DEFAULT_STATE, Json, StatePath, console, home, print_json
from lossloop.app.cli.fitting import show_table
from lossloop.app.slices import slices as found_slices
from lossloop.core.errors import InputError
from lossloop.judges import e_value

_STYLES = {"alarm": "red", "healthy": "green"}
_HEADINGS = (
    "slice",
    "verdict",
    "mean loss",
    "limit",
    "effect",
    "judged",
    "rows",
    "share",
    "missing",
    "evidence",
)


def slices(
    model: str,
    /,
    *,
    watch: Annotated[str | None, Parameter(name="--watch")] = None,
    top: Annotated[int | None, Parameter(name="--top")] = None,
    state: StatePath = DEFAULT_STATE,
    json: Json = False,
) -> None:
    """Show how each slice of a model is doing: those that alarm first, the worst on top.

    Parameters
    ----------
    model
        The model.
    watch
        Only what this watch has found.
    top
        Only so many slices.
    state
        The state directory.
    json
        Answer as JSON.
    """
    if top is not None and top < 1:
        raise InputError(f"--top must be 1 or more, not {top}", field="top")
    opened = home(state).state()
    found = found_slices(Books(opened), model, watch)
    opened.close()
    shown = [{**each, "slices": each["slices"][:top]} for each in found]
    if json:
        print_json({"model": model, "watches": shown})
        return
    screen = console()
    for each, whole in zip(shown, found, strict=True):
        screen.print(_line(each), highlight=False, markup=False, soft_wrap=True)
        show_table(screen, slices_table(each["slices"]))
        if left := len(whole["slices"]) - len(each["slices"]):
            screen.print(f"and {left:,} more", highlight=False)


def slices_table(found: list[dict[str, Any]]) -> Table:
    """A row for each slice.

    Args:
        found: As `lossloop slices --json` prints them.
    """
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for heading in _HEADINGS:
        side: Literal["left", "right"] = "left" if heading in ("slice", "verdict") else "right"
        table.add_column(heading, justify=side, no_wrap=heading != "slice", overflow="fold")
    for each in found:
        table.add_row(*_cells(each))
    return table


def _line(each: dict[str, Any]) -> str:
    return f"watch {each['watch']}: {each['kind'].replace('_', ' ')}, {each['promise']}; {each['reason']}"


def _cells(each: dict[str, Any]) -> list[Text]:
    effect = each["effect"]
    numbers = (
        "-" if each["mean"] is None else f"{each['mean']:.4g}",
        f"{each['limit']:.4g}",
        "-" if effect is None else f"{effect['estimate']:+.4g}",
        f"{each['count']:,}",
        f"{each['rows']:,}",
        f"{each['share']:.1%}",
        f"{each['missing']:.1%}",
        "-" if each["evidence"] is None else f"{e_value(each['evidence'])} of {e_value(each['needs'])}",
    )
    kind = each["kind"]
    # Not markup: a slice's name comes from whoever sends features.
    return [
        Text(each["slice"]),
        Text(kind.replace("_", " "), style=_STYLES.get(kind, "")),
        *map(Text, numbers),
    ]
