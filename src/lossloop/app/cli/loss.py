"""`lossloop loss`: a loss over history, and another loss put in the place of the one that judges."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, Self

import msgspec
from cyclopts import Parameter
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from lossloop.app import operate
from lossloop.app.cli.bar import count_bar
from lossloop.app.cli.common import DEFAULT_STATE, Json, StatePath, answer, console, home, print_json
from lossloop.app.cli.figures import figures_table, notes
from lossloop.app.cli.fitting import show_table
from lossloop.app.cli.models import text_of
from lossloop.app.recompute import Question, plain_pass
from lossloop.app.recompute import recompute as recomputed
from lossloop.app.rehearsing import rehearse
from lossloop.pipelines.executors import open_executor


def recompute(
    model: str,
    /,
    *,
    loss: Annotated[str | None, Parameter(name="--loss")] = None,
    since: Annotated[str | None, Parameter(name="--since")] = None,
    until: Annotated[str | None, Parameter(name="--until")] = None,
    by: Annotated[str, Parameter(name="--by")] = "version,role",
    on: Annotated[str, Parameter(name="--on")] = "embedded",
    floor: Annotated[bool, Parameter(name="--floor", negative="")] = False,
    state: StatePath = DEFAULT_STATE,
    json: Json = False,
) -> None:
    """Compute a loss over history, and compare it with the loss in force.

    Parameters
    ----------
    model
        The model.
    loss
        The loss, as a policy writes it; left out, the one in force.
    since
        From when predictions were made: a moment, a day, or how long ago, such as 30d.
    until
        Until before when they were made, likewise.
    by
        What predictions are told apart by: version, role, block, and names of features.
    on
        Where it is computed: embedded, dask or ray; a cluster that runs already as dask:tcp://HOST:8786.
    floor
        Say also how long one plain NumPy pass over the same arrays takes.
    state
        The state directory.
    json
        Answer as JSON.
    """
    question = Question(model=model, loss=loss, since=since, until=until, by=names_in(by))
    place = home(state)
    name, _, address = on.partition(":")
    with Bar(quiet=json) as bar, open_executor(name, address=address or None) as executor:
        found = recomputed(place, question, executor, progress=bar.show)
    figures = {
        **found.plain(),
        "on": name,
        "floor_seconds": plain_pass(place, model, loss) if floor else None,
    }
    if json:
        print_json(figures)
    else:
        _show(figures)


def switch(
    file: Path,
    /,
    *,
    reason: Annotated[str, Parameter(name="--reason")] = "",
    by: Annotated[str, Parameter(name="--by")] = "operator",
    since: Annotated[str | None, Parameter(name="--since")] = None,
    until: Annotated[str | None, Parameter(name="--until")] = None,
    force: Annotated[bool, Parameter(name="--force", negative="")] = False,
    state: StatePath = DEFAULT_STATE,
    json: Json = False,
) -> None:
    """Let a loss that runs beside judge from now on, under a policy with limits in its unit.

    The policy is tried on the past first, and versions get references under the new loss. The loss that
    judged runs beside from then on: to undo it, switch to a policy with that one.

    Parameters
    ----------
    file
        The policy: the other loss, and the present one beside.
    reason
        Why; kept with the decision.
    by
        Who asks for it; kept with the decision.
    since
        From when on the past counts: a moment, a day, or how long ago, such as 30d; all of it if left out.
    until
        Until before when, likewise.
    force
        Switch in spite of what speaks against it.
    state
        The state directory.
    json
        Answer as JSON.
    """
    place = home(state)
    with count_bar("replaying", quiet=json, unit="predictions") as more:
        command = rehearse(
            place, text_of(file), source=file.name, since=since, until=until, reason=reason, by=by,
            force=force, tell=more,
        )  # fmt: skip
    result = operate.obey(place, command)
    told = {**msgspec.to_builtins(result), "tried": msgspec.to_builtins(command.tried)}
    answer(told, as_json=json, words=result.message)


class Bar:
    """How far it has come, on a terminal only. Use as a context manager."""

    def __init__(self, *, quiet: bool = False) -> None:
        screen = Console(stderr=True, quiet=quiet)
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn(),
            console=screen, transient=True, disable=quiet or not screen.is_terminal,
        )  # fmt: skip
        self._task = self._bar.add_task("reading", total=None)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def show(self, done: int, of: int) -> None:
        """So many pieces are done, of so many."""
        self._bar.update(self._task, description="scoring", completed=done, total=of)


def names_in(by: str) -> tuple[str, ...]:
    """Names with commas between, each once."""
    return tuple(dict.fromkeys(name.strip() for name in by.split(",") if name.strip()))


def _show(answer: dict[str, Any]) -> None:
    screen = console()
    unit = f" in {answer['unit']}" if answer["unit"] else ""
    against = f", against {answer['in_force']} in force" if answer["in_force"] else ", in force"
    screen.print(
        f"[bold]{escape(answer['model'])}[/]  {escape(answer['loss'] + unit + against)}", highlight=False
    )
    show_table(screen, figures_table(answer))
    for line in notes(answer):
        screen.print(line, highlight=False, markup=False)
