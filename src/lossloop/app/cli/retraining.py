"""`lossloop check retraining`: how often to retrain, from the past, in the terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter
from rich import box
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from lossloop.app.cli.common import DEFAULT_STATE, Json, StatePath, console, home, print_json
from lossloop.app.cli.fitting import show
from lossloop.app.cli.loss import Bar
from lossloop.app.cli.plan import finite
from lossloop.app.retraining.asking import EVERY, FIRST, Question, how_often
from lossloop.app.retraining.base import Course, Replayed
from lossloop.core.clock import format_time
from lossloop.core.records import Interval

_HIGH, _WIDE = 8, 60
"""Rows and columns of the picture."""
_MARKS = "abcdefghijklmnopqrstuvwxyz"


def retraining(
    model: str,
    /,
    *,
    target: Annotated[str, Parameter(name="--target")] = "",
    every: Annotated[tuple[int, ...], Parameter(name="--every", negative="")] = EVERY,
    first: Annotated[int, Parameter(name="--first")] = FIRST,
    warm: Annotated[bool, Parameter(name="--warm", negative="")] = False,
    since: Annotated[str | None, Parameter(name="--since")] = None,
    price: Annotated[float | None, Parameter(name="--price")] = None,
    state: StatePath = DEFAULT_STATE,
    json: Json = False,
) -> None:
    """Replay the past with a model that is trained anew every so many blocks, on alarm, or never.

    Parameters
    ----------
    model
        The model.
    target
        What trains, by its name in settings.yaml; the policy's own if left out.
    every
        Blocks between two trainings; may be given again.
    first
        Blocks that the first model is trained on, the same in every course.
    warm
        Try each schedule with warm starts too: a training is given the artifact of the one before.
    since
        From when predictions came: a moment, a day, or how long ago, such as 300d.
    price
        What one training costs; left out, trainings are told in CPU seconds alone.
    state
        The state directory.
    json
        Answer as JSON.
    """
    question = Question(model=model, target=target, every=every, first=first, warm=warm, since=since)
    with Bar(quiet=json) as bar:
        found = how_often(home(state), question, tell=bar.show)
    if json:
        print_json(plain(found, price))
        return
    screen = console()
    for line in lines(found, price):
        show(screen, line)


def plain(found: Replayed, price: float | None) -> dict[str, Any]:
    """An answer as plain values, times in ISO 8601."""
    shown: dict[str, Any] = finite(msgspec.to_builtins(found))
    shown["since"], shown["until"] = format_time(found.since), format_time(found.until)
    for course, told in zip(found.courses, shown["courses"], strict=True):
        told["price"] = None if price is None else price * len(course.trainings)
        told["blocks"] = [None if math.isnan(each) else each for each in course.blocks]
        for training, each in zip(course.trainings, told["trainings"], strict=True):
            each["at"] = format_time(training.at)
    shown["first"]["at"] = format_time(found.first.at)
    return shown


def lines(found: Replayed, price: float | None) -> Iterator[Table | Text | str]:
    """A replay, line by line."""
    unit = f" {found.unit}" if found.unit else ""
    yield (
        f"[bold]{escape(found.model)}[/]  {found.rows:,} outcomes from {format_time(found.since)[:10]} to "
        f"{format_time(found.until)[:10]}, {escape(found.loss)}{escape(unit)}"
    )
    yield (
        f"the first model saw {found.first.rows:,} rows; each training cost {_seconds(found)} CPU seconds, "
        "process and all"
    )
    yield _table(found, price)
    yield picture(found)
    yield (
        "Change: the loss less that of never, on the same rows; intervals are over blocks (Student's t), as "
        "if these did not depend on each other. A new model answers from the next block on: a rollout takes "
        "longer."
    )
    for note in found.notes:
        yield f"[yellow]{escape(note)}[/]"


def _seconds(found: Replayed) -> str:
    spent = [each.cpu for course in found.courses for each in course.trainings] or [found.first.cpu]
    return f"{min(spent):.2g} to {max(spent):.2g}"


def _table(found: Replayed, price: float | None) -> Table:
    made = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for name in ("", "schedule"):
        made.add_column(name, no_wrap=True)
    for name in ("trainings", "CPU s", *(["price"] if price is not None else [])):
        made.add_column(name, justify="right", no_wrap=True)
    for name in ("mean loss [95%]", "change [95%]"):
        made.add_column(name, overflow="fold")
    for mark, course in zip(_MARKS, found.courses, strict=False):
        paid = [] if price is None else [f"{price * len(course.trainings):,.4g}"]
        made.add_row(
            mark, escape(course.schedule.name), f"{len(course.trainings):,}", f"{course.cpu:,.3g}", *paid,
            _told(course.loss), "" if course is found.courses[0] else _told(course.change, "+"),
        )  # fmt: skip
    return made


def _told(interval: Interval, sign: str = "") -> str:
    low, middle, high = (f"{each:{sign}.4f}" for each in (interval.low, interval.estimate, interval.high))
    return f"{middle} [{low}, {high}]"


def picture(found: Replayed) -> Text:
    """Mean loss against trainings: a letter for each course; `*` where several stand."""
    places = list(zip(_MARKS, found.courses, strict=False))
    losses = [course.loss.estimate for _, course in places]
    most, low, high = max(len(course.trainings) for _, course in places), min(losses), max(losses)
    field = [[" "] * (_WIDE + 1) for _ in range(_HIGH)]
    for mark, course in places:
        row, column = _row(course, low, high), round(_WIDE * len(course.trainings) / max(most, 1))
        field[row][column] = mark if field[row][column] == " " else "*"
    drawn = Text("\n")
    for number, line in enumerate(field):
        edge = {0: f"{high:.4f}", _HIGH - 1: f"{low:.4f}"}.get(number, "")
        drawn.append(f"{edge:>10} |{''.join(line).rstrip()}\n")
    drawn.append(f"{'':>10} +{'-' * _WIDE}\n{'':>12}0{'trainings':^{_WIDE - 6}}{most:>5}\n")
    return drawn


def _row(course: Course, low: float, high: float) -> int:
    share = (course.loss.estimate - low) / (high - low) if high > low else 1.0
    return round((1.0 - share) * (_HIGH - 1))
