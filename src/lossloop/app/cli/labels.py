"""`lossloop labels ...`: how late labels come, what is missing, and which labels are wanted."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter
from rich import box
from rich.table import Table
from rich.text import Text

from lossloop.app.cli.common import DEFAULT_STATE, Json, StatePath, console, home, print_json
from lossloop.app.cli.fitting import show_table
from lossloop.app.cli.terminal import printable
from lossloop.app.labels import label_delay_at, wanted_at
from lossloop.judges.delay import USUAL_SHARE

_WIDTH = 40
_EIGHTHS = " ▏▎▍▌▋▊▉"


def delay(
    model: str,
    /,
    *,
    share: Annotated[float, Parameter(name="--share")] = USUAL_SHARE,
    state: StatePath = DEFAULT_STATE,
    json: Json = False,
) -> None:
    """Show how late labels come, from which age to judge, and what missing ones can hide.

    Parameters
    ----------
    model
        The model.
    share
        Of the labels that ever come: how many shall have come by the recommended age.
    state
        The state directory.
    json
        Answer as JSON.
    """
    found = label_delay_at(home(state), model, share=share)
    if json:
        print_json(found)
        return
    screen = console()
    for line in summary(found):
        screen.print(line, highlight=False, markup=False, soft_wrap=True)
    if found["curve"]:
        show_table(screen, chart(found))


def wanted(model: str, /, *, state: StatePath = DEFAULT_STATE, json: Json = False) -> None:
    """List the predictions that were drawn for an audit and wait for their label.

    Parameters
    ----------
    model
        The model.
    state
        The state directory.
    json
        Answer as JSON.
    """
    found = wanted_at(home(state), model)
    if json:
        print_json(found)
    elif not found["wanted"]:
        print(f"No prediction of {model} waits for an audit; {100 * found['share']:.3g}% of them are drawn.")
    else:
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1))
        for name in ("id", "version", "at", "until"):
            table.add_column(name, justify="right" if name == "version" else "left", no_wrap=True)
        for each in found["wanted"]:
            table.add_row(Text(printable(each["id"])), str(each["version"]), each["at"], each["until"])
        show_table(console(), table)


def summary(found: dict[str, Any]) -> list[Text | str]:
    """The figures in sentences."""
    if not found["predictions"]:
        return [
            f"{found['model']} has no predictions yet.",
            f"mature_after: {found['mature_after']['reason']}.",
        ]
    age, judged = found["mature_after"], found["judged"]
    absent = f", {found['absent']:,} absent" if found["absent"] else ""
    labelled = f"{found['labelled']:,} of {found['predictions']:,} predictions have a label{absent}"
    lines: list[Text | str] = [
        f"{found['model']}: {labelled}; {found['missing']:.1%} are missing now.",
        _judged(judged, age["in_force"]),
        f"mature_after is {age['in_force']}; {_recommended(age)}.",
    ]
    return [*lines, *(Text(f"warning: {each}", style="bold yellow") for each in judged["warnings"])]


def _judged(judged: dict[str, Any], age: str) -> str:
    if not judged["due"]:
        return f"None has reached the judging age of {age}."
    hidden = (
        "no bound: the loss has none" if judged["bound"] is None else f"{judged['bound']:.4g} of mean loss"
    )
    return (
        f"At the judging age of {age} {judged['missing']:,} of {judged['due']:,} were missing "
        f"({judged['share']:.2%}; {judged['late']:,} came later), which can hide {hidden}."
    )


def _recommended(age: dict[str, Any]) -> str:
    where = ", from what was imported" if age["from"] == "imported" else ""
    if age["recommended"] is None:
        return f"which age is right is {age['reason']}{where}"
    return f"{age['recommended']} is recommended: {age['reason']}{where}"


def chart(found: dict[str, Any]) -> Table:
    """The share of predictions with a label, by age."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1))
    table.add_column("age", justify="right", no_wrap=True)
    table.add_column("with a label", no_wrap=True)
    table.add_column("share", justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    age = found["mature_after"]
    for point in found["curve"]:
        share = point["share"]
        said = ("-", "") if share is None else (f"{share:.1%}", _bar(share))
        notes = [
            words
            for words, marked in (("judged", age["in_force"]), ("recommended", age["recommended"]))
            if marked == point["age"]
        ]
        table.add_row(point["age"], said[1], said[0], Text(", ".join(notes), style="dim"))
    return table


def _bar(share: float) -> str:
    eighths = round(share * _WIDTH * 8)
    return "█" * (eighths // 8) + _EIGHTHS[eighths % 8].strip()
