"""`lossloop thresholds`: from which scores on a version does what, learned for a cost."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import Parameter
from rich import box
from rich.markup import escape
from rich.table import Table

from lossloop.app.cli.common import DEFAULT_STATE, Json, StatePath, console, home, print_json
from lossloop.app.cli.fitting import show
from lossloop.app.thresholds.asking import Answer, Question, register
from lossloop.app.thresholds.asking import thresholds as learned
from lossloop.core.errors import InputError
from lossloop.core.records import Interval


def thresholds(
    model: str,
    /,
    *,
    action: Annotated[tuple[str, ...], Parameter(name="--action", negative="")] = (),
    version: Annotated[int | None, Parameter(name="--version")] = None,
    since: Annotated[str | None, Parameter(name="--since")] = None,
    until: Annotated[str | None, Parameter(name="--until")] = None,
    file: Annotated[Path | None, Parameter(name="--file")] = None,
    register_it: Annotated[bool, Parameter(name="--register", negative="")] = False,
    state: StatePath = DEFAULT_STATE,
    json: Json = False,
) -> None:
    """Learn from which scores on a version does what, for the least cost on rows that did not choose it.

    Parameters
    ----------
    model
        The model; its task is binary.
    action
        An action and its costs where 0 and where 1 happened, such as review=3,3; from the lowest scores to
        the highest. Left out, the costs of the policy's action_cost.
    version
        Whose scores; the champion's if left out.
    since
        From when predictions came: a moment, a day, or how long ago, such as 30d.
    until
        Until before when they came, likewise.
    file
        Learn from a CSV or Parquet file instead of the ledger: y_pred, y_true and, where rows of a day depend
        on each other, block.
    register_it
        Make a version that differs only in its thresholds; a rollout brings it into the traffic.
    state
        The state directory.
    json
        Answer as JSON.
    """
    place = home(state)
    question = Question(
        model=model, version=version, actions=dict(map(_action, action)), since=since, until=until, file=file
    )  # fmt: skip
    if len(question.actions) < len(action):
        raise InputError("each action needs a name of its own", field="action")
    found = learned(place, question)
    result = register(place, found) if register_it else None
    if json:
        made = None if result is None else result.version
        shown = {**msgspec.to_builtins(found), "cheaper": found.learned.cheaper, "registered": made}
        del shown["manifest"]
        print_json(shown)
        return
    screen = console()
    for line in lines(found):
        show(screen, line)
    if result is not None:
        show(screen, escape(f"{result.message}; next: lossloop rollout {model} {result.version}"))


def lines(found: Answer) -> Iterator[Table | str]:
    """What was learned, line by line."""
    learned = found.learned
    blocks = f" of {learned.blocks:,} blocks" if learned.blocks < learned.rows else ""
    yield (
        f"[bold]{escape(found.model)}[/]  scores of version {found.version}: {learned.rows:,} "
        f"outcomes{blocks}, {learned.of_each[1]:,} of them 1"
    )
    yield _table(found)
    unit = f" {found.unit}" if found.unit else ""
    yield escape(f"on held-out rows a row costs {_told(learned.cost)}{unit}")
    yield escape(f"{found.against} cost {_told(learned.present_cost)}; change {_told(learned.change, '+')}")
    if not learned.cheaper:
        more = (
            "" if learned.needed is None else f"; about {learned.needed:,} rows would show one of this size"
        )
        yield escape(f"That they are cheaper is not shown{more}.")
    for warning in found.warnings:
        yield f"[bold yellow]warning: {escape(warning)}[/]"


def _table(found: Answer) -> Table:
    made = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=True, padding=(0, 1, 0, 0))
    made.add_column("action", overflow="fold")
    for name in ("from score", "now from", "of rows", "costs where 0", "where 1"):
        made.add_column(name, justify="right", no_wrap=True)
    least, present = (0.0, *found.thresholds.least), (0.0, *found.learned.present)
    for place, name in enumerate(found.thresholds.actions):
        made.add_row(
            escape(name), _cut(least[place]), _cut(present[place]), f"{found.learned.shares[place]:.1%}",
            f"{found.costs[0][place]:g}", f"{found.costs[1][place]:g}",
        )  # fmt: skip
    return made


def _cut(least: float) -> str:
    return "never" if least > 1.0 else f"{least:.4g}"


def _told(interval: Interval, sign: str = "") -> str:
    low, middle, high = (f"{each:{sign}.4g}" for each in (interval.low, interval.estimate, interval.high))
    return f"{middle} [{low}, {high}]"


def _action(text: str) -> tuple[str, tuple[float, float]]:
    name, equals, costs = text.rpartition("=")
    try:
        zero, one = map(float, costs.split(","))
    except ValueError:
        equals = ""
    if not (equals and name.strip()):
        raise InputError(
            f"{text!r} is no action with its costs where 0 and where 1 happened; write one as review=3,3",
            field="action",
        )
    return name.strip(), (zero, one)
