"""`lossloop bench`: what is promised, measured on your machine."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Annotated, Self

from cyclopts import Parameter
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from lossloop.app.bench import Figure, Machine, as_json, judge_sizes, judge_targets, serve_base, serve_targets
from lossloop.app.bench import judge as of_judges
from lossloop.app.bench import serve as of_serving
from lossloop.app.bench.ledger import run
from lossloop.app.bench.sizes import FULL, QUICK
from lossloop.app.bench.target import Target
from lossloop.app.bench.targets import TARGETS
from lossloop.app.cli.common import Json, console, print_json
from lossloop.app.cli.fitting import show_table

_MET = {True: ("yes", "green"), False: ("no", "red"), None: ("", "")}


def ledger(
    *,
    only: str = "",
    at: Path = Path(),
    quick: Annotated[bool, Parameter(name="--quick", negative="")] = False,
    json: Json = False,
) -> None:
    """Measure the ledger: ingest, join, memory, restart, recomputation; each figure with its floor and peer.

    Parameters
    ----------
    only
        Ids of figures, with commas between them; all if left out.
    at
        A directory on the disk to measure; what is written there is removed at the end.
    quick
        Tiny sizes, to see that everything works: the figures say nothing about speed.
    json
        Answer as JSON.
    """
    with BenchScreen() as screen:
        machine, figures = run(at, QUICK if quick else FULL, screen, only=_names(only))
    _tell("ledger", figures, machine, TARGETS, quick=quick, json=json)


def judge(
    *,
    only: str = "",
    quick: Annotated[bool, Parameter(name="--quick", negative="")] = False,
    json: Json = False,
) -> None:
    """Measure the judges: how fast they are, how soon they see a change beside others, what they promise.

    The comparison needs the extra `peers`.

    Parameters
    ----------
    only
        Ids of figures, with commas between them; all if left out.
    quick
        Tiny sizes, to see that everything works: the figures say nothing.
    json
        Answer as JSON.
    """
    sizes = judge_sizes.QUICK if quick else judge_sizes.FULL
    with BenchScreen() as screen:
        machine, figures = of_judges.run(sizes, screen, only=_names(only))
    _tell("judge", figures, machine, judge_targets.TARGETS, quick=quick, json=json)


def serve(
    *,
    only: str = "",
    at: Path = Path(),
    quick: Annotated[bool, Parameter(name="--quick", negative="")] = False,
    json: Json = False,
) -> None:
    """Measure serving: what a request costs, a cold start, and what fails while versions move under load.

    It needs the extras `onnx` and `demo`.

    Parameters
    ----------
    only
        Ids of figures, with commas between them; all if left out.
    at
        A directory on the disk to measure; what is written there is removed at the end.
    quick
        Tiny sizes, to see that everything works: the figures say nothing about speed.
    json
        Answer as JSON.
    """
    sizes = serve_base.QUICK if quick else serve_base.FULL
    with BenchScreen() as screen:
        machine, figures = of_serving.run(at, sizes, screen, only=_names(only))
    _tell("serve", figures, machine, serve_targets.TARGETS, quick=quick, json=json)


def _names(only: str) -> list[str]:
    return [id.strip() for id in only.split(",") if id.strip()]


def _tell(
    bench: str,
    figures: Sequence[Figure],
    machine: Machine,
    targets: Mapping[str, Target],
    *,
    quick: bool,
    json: bool,
) -> None:
    if json:
        print_json({**as_json(bench, figures, machine), "quick": quick})
    else:
        shown = console()
        show_table(shown, figures_table(figures, machine))
        shown.print(held_against(figures, targets))
        if quick:
            shown.print("These are tiny sizes: the figures say nothing about speed.")
    if any(each.value is None for each in figures):
        sys.exit(1)


class BenchScreen:
    """How a running bench looks: a bar on a terminal, lines elsewhere. Use as a context manager.

    It writes to standard error.
    """

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=self._console,
            transient=True,
        )  # fmt: skip
        self._task = self._bar.add_task("", total=None)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def phase(self, words: str) -> None:
        if self._console.is_terminal:
            self._bar.update(self._task, description=escape(words), completed=0, total=None)
        else:
            self._console.print(escape(words), highlight=False)

    def progress(self, done: float) -> None:
        self._bar.update(self._task, completed=done, total=1.0)

    def figure(self, figure: Figure) -> None:
        met, colour = _MET[figure.met]
        value = figure.problem if figure.value is None else f"{_number(figure.value)} {figure.unit}"
        line = Text.assemble((figure.id, "bold"), f"  {value}  ", (met and f"target met: {met}", colour))
        self._console.print(line, highlight=False, soft_wrap=not self._console.is_terminal)


def figures_table(figures: Sequence[Figure], machine: Machine) -> Table:
    """Every figure in a row, with its target, and what it is held against."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for name in ("figure", "value", "", "target", "met", "floor", "x floor", "peer"):
        right = name in ("value", "target", "floor", "x floor", "peer")
        table.add_column(name, justify="right" if right else "left", no_wrap=True)
    for each in figures:
        table.add_row(*_cells(each))
    sync = "" if machine.fdatasync_ms is None else f", fdatasync {machine.fdatasync_ms:.2g} ms (median)"
    memory = "" if machine.memory_gb is None else f", {machine.memory_gb:.0f} GB"
    text = f"{machine.cores} cores{memory}, Python {machine.python} on {machine.system}{sync}"
    table.caption = Text(text, style="dim not italic")
    return table


def _cells(figure: Figure) -> list[Text | str]:
    if figure.value is None:
        return [figure.id, Text("-", style="red"), "", "", "", "", "", ""]
    met, colour = _MET[figure.met]
    bound = "" if figure.target is None else f"{'≥' if figure.at_least else '≤'} {_number(figure.target)}"
    share = "" if not figure.floor else f"{figure.value / figure.floor:.3g}"
    floor, peer = (_number(value) for value in (figure.floor, figure.peer))
    return [
        figure.id, Text(_number(figure.value), style="bold"), figure.unit, bound, Text(met, style=colour),
        floor, share, peer,
    ]  # fmt: skip


def held_against(figures: Sequence[Figure], targets: Mapping[str, Target] = TARGETS) -> Text:
    """What each figure is, and what its floor and its peer are; or why it has no value."""
    text = Text()
    for each in figures:
        target = targets[each.id]
        text.append(f"\n{each.id}", style="bold").append(f": {target.what}\n")
        if each.value is None:
            text.append(f"  not measured: {each.problem}\n", style="red")
            continue
        if target.floor:
            text.append(f"  floor: {target.floor}\n", style="dim")
        if target.peer:
            text.append(f"  peer: {target.peer}\n", style="dim")
    return text


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


__all__ = ["BenchScreen", "figures_table", "held_against", "judge", "ledger", "serve"]
