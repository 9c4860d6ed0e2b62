"""`lossloop why`: which slices carry a change of the loss, and whether inputs or answers changed."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter
from rich import box
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from lossloop.app import words
from lossloop.app.cli.common import DEFAULT_STATE, Json, StatePath, console, home, print_json
from lossloop.app.cli.fitting import show_table
from lossloop.app.cli.loss import Bar
from lossloop.app.why import Question, Why
from lossloop.app.why import why as asked
from lossloop.core.records import Interval

_MOST = 12


def why(
    model: str,
    /,
    *,
    watch: Annotated[str | None, Parameter(name="--watch")] = None,
    since: Annotated[str | None, Parameter(name="--since")] = None,
    until: Annotated[str | None, Parameter(name="--until")] = None,
    against: Annotated[str | None, Parameter(name="--against")] = None,
    state: StatePath = DEFAULT_STATE,
    json: Json = False,
) -> None:
    """Say why the loss moved: which slices carry it, which features moved, inputs or answers.

    Parameters
    ----------
    model
        The model.
    watch
        Whose last alarm is explained; any watch's if left out.
    since
        From when the loss is asked about, instead: a moment, a day, or how long ago, such as 7d.
    until
        Until when, likewise; now if left out.
    against
        From when it is compared, until `since`; the time before, eight times as long at most, if left out.
    state
        The state directory.
    json
        Answer as JSON.
    """
    question = Question(model=model, watch=watch, since=since, until=until, against=against)
    with Bar(quiet=json):
        answer = asked(home(state), question)
    if json:
        print_json(answer.plain())
    else:
        _show(answer)


def _show(answer: Why) -> None:
    screen = console()
    screen.print(answer.sentence, soft_wrap=True, highlight=False, markup=False)
    screen.print()
    for name, times, rows, there, blocks in zip(
        ("before", "after"), (answer.before, answer.after), answer.rows, answer.there, answer.blocks,
        strict=True,
    ):  # fmt: skip
        drawn = f", of which {rows:,} were drawn at random and looked at" if rows < there else ""
        screen.print(
            f"{name}: {times[0]} until {times[1]}, {there:,} outcomes in {blocks:,} blocks{drawn}",
            highlight=False, soft_wrap=True,
        )  # fmt: skip
    split = answer.split
    if split.inputs is not None and split.answers is not None:
        screen.print(
            f"inputs  {_text(split.inputs)}\nanswers {_text(split.answers)}", highlight=False, markup=False
        )
    if answer.told_apart is not None:
        screen.print(
            f"the periods' inputs are told apart in {answer.told_apart:.0%} of pairs (50% is not at all); "
            f"{split.overlap:.0%} of the old rows count when weighed to the new inputs",
            highlight=False, soft_wrap=True,
        )  # fmt: skip
    show_table(screen, _slices(answer))
    show_table(screen, _features(answer))


def _table(first: str, title: str) -> Table:
    made = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    made.title, made.title_justify, made.title_style = f"\n{title}", "left", "bold"
    made.add_column(first)
    return made


def _slices(answer: Why) -> Table:
    table = _table(
        "slice", f"what slices give to the change, in {escape(answer.unit) or 'units of the loss'}"
    )
    for name in ("rows before", "after", "loss before", "after", "other loss", "other share", "together"):
        table.add_column(name, justify="right")
    for each in answer.slices[:_MOST]:
        part = each.found
        table.add_row(
            Text(each.slice), f"{part.share_before:.1%}", f"{part.share_after:.1%}", _mean(part.mean_before),
            _mean(part.mean_after), words.signed(part.within, decimals=4), words.signed(part.mix, decimals=4),
            _text(part.total),
        )  # fmt: skip
    return table


def _features(answer: Why) -> Table:
    table = _table("feature", "how far features moved")
    for name in ("rows in another bin", "p", "moved"):
        table.add_column(name, justify="right")
    for move in answer.features[:_MOST]:
        table.add_row(
            Text(move.feature),
            f"{move.distance:.1%}",
            f"{move.p_value:.3f}",
            "yes" if move.moved else "not shown",
        )
    return table


def _text(interval: Interval) -> str:
    return (
        f"{words.signed(interval.estimate, decimals=4)} "
        f"[{words.signed(interval.low, decimals=4)}, {words.signed(interval.high, decimals=4)}]"
    )


def _mean(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
