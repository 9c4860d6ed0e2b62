"""`lossloop predict`: a version answers the rows of files."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Self

from cyclopts import Parameter
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from lossloop.app.books import Books, Counts
from lossloop.app.cli.common import DEFAULT_STATE, Json, StatePath, home, print_json
from lossloop.app.cli.terminal import printable
from lossloop.app.home import Home
from lossloop.app.importing import settle
from lossloop.app.operate import fold_here
from lossloop.app.predicting import Input, Naming, Order, Report, inputs, open_output, predict_batch
from lossloop.pipelines.executors import open_executor

SOME_REJECTED = 2
"""How the command ends where rows were rejected, and all others answered."""


@Parameter(name="*")
@dataclass(frozen=True, kw_only=True)
class Columns:
    """Which column of the inputs is what; features have their own names.

    Attributes:
        id: Whose values name the predictions, so that outcomes can be sent; made if left out.
        unit: Whom a row is about.
        time: When it happened; the time of the batch if left out.
        timezone: The time zone of times that say none, such as Europe/Paris.
        time_unit: What times count that are numbers since 1970: s, ms, us or ns.
        keep: Columns that are written to the output as they are, with commas between.
    """

    id: Annotated[str, Parameter(name="--id")] = ""
    unit: Annotated[str, Parameter(name="--unit")] = ""
    time: Annotated[str, Parameter(name="--time")] = ""
    timezone: Annotated[str, Parameter(name="--timezone")] = ""
    time_unit: Annotated[str, Parameter(name="--time-unit")] = ""
    keep: Annotated[str, Parameter(name="--keep")] = ""

    def naming(self) -> Naming:
        """All that was said."""
        keep = tuple(dict.fromkeys(filter(None, self.keep.split(","))))
        return Naming(
            id=self.id, unit=self.unit, time=self.time, timezone=self.timezone, time_unit=self.time_unit,
            keep=keep,
        )  # fmt: skip


def predict(
    model: str,
    /,
    *,
    input: Annotated[tuple[str, ...], Parameter(name="--input", negative="")],
    output: Annotated[str, Parameter(name="--output")],
    table: Annotated[str, Parameter(name="--table")] = "",
    columns: Columns = Columns(),
    version: Annotated[int | None, Parameter(name="--version")] = None,
    on: Annotated[str, Parameter(name="--on")] = "embedded",
    state: StatePath = DEFAULT_STATE,
    json: Json = False,
) -> None:
    """Answer the rows of files; every answer is in the ledger.

    Give the same command again after it was stopped, or killed: it goes on where it was.

    Parameters
    ----------
    model
        The model; its champion answers.
    input
        A file, a glob, a folder or an address such as s3://bucket/folder; any number of times.
    output
        A file, an address of one, or a database: postgresql://..., sqlite:///FILE, duckdb:///FILE, env:NAME.
    table
        The table of a database; made if it is not there.
    columns
        Which column of the inputs is what.
    version
        Another version than the champion; its answers are recorded, and never judged.
    on
        Where it is computed: embedded, dask or ray; a cluster that runs already as dask:tcp://HOST:8786.
    state
        The state directory.
    json
        Answer as JSON.
    """
    order = Order(
        model=model, inputs=inputs(input), output=open_output(output, table), naming=columns.naming(),
        version=version,
    )  # fmt: skip
    told = _told(home(state), order, on, quiet=json)
    if json:
        print_json(told)
    else:
        print(printable("\n".join(_lines(told))))
    if told["rejected"]:
        sys.stdout.flush()
        sys.exit(SOME_REJECTED)


def _told(found: Home, order: Order, on: str, *, quiet: bool) -> dict[str, Any]:
    """Answer the rows, and say what became of them."""
    before = _counts(found, order.model)
    name, _, address = on.partition(":")
    with (
        Screen(order.inputs, quiet=quiet) as screen,
        open_executor(name, address=address or None) as executor,
    ):
        writer = found.log.writer()
        try:
            report = predict_batch(found, order, writer, executor, tell=screen.show)
        except KeyboardInterrupt:
            screen.say("stopped; give the same command again, and it goes on where it was")
            raise
        finally:
            writer.close()
        folded = _folded(found, report, screen)
    return _answer(report, on=name, folded=folded) | _more(before, _counts(found, order.model))


def _folded(found: Home, report: Report, screen: Screen) -> bool:
    if report.position is None:
        fold_here(found)  # one that was killed may have left predictions that nobody has folded
        return True
    screen.say("folding what was predicted")
    return settle(found, report.position)


class Screen:
    """How far it has come: a bar on a terminal, nothing elsewhere. Use as a context manager."""

    def __init__(self, inputs: Sequence[Input], *, quiet: bool) -> None:
        self._sizes = [each.size for each in inputs]
        self._console = Console(stderr=True, quiet=quiet)
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(),
            TextColumn("{task.fields[rows]:,} rows"), TimeRemainingColumn(), console=self._console,
            transient=True, disable=quiet or not self._console.is_terminal,
        )  # fmt: skip
        self._task = self._bar.add_task("predicting", total=sum(self._sizes) or None, rows=0)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def show(self, rows: int, place: int, share: float) -> None:
        """So many rows are done with, and so much of an input was read."""
        done = sum(self._sizes[:place]) + self._sizes[place] * share
        self._bar.update(self._task, completed=done, rows=rows)

    def say(self, words: str) -> None:
        """Say what begins now."""
        self._console.print(words, style="dim", highlight=False, markup=False)


def _counts(found: Home, model: str) -> Counts:
    state = found.state()
    try:
        return Books(state).counts(model)
    finally:
        state.close()


def _more(before: Counts, after: Counts) -> dict[str, int]:
    """What the loop said to the rows, whoever sent them: it may have had others to fold meanwhile."""
    return {name: getattr(after, name) - getattr(before, name) for name in ("repeats", "conflicts")}


def _answer(report: Report, *, on: str, folded: bool) -> dict[str, Any]:
    batch = report.batch
    return {
        "model": batch.model,
        "version": batch.version,
        "batch": batch.id,
        "on": on,
        "output": batch.output,
        "rows": batch.rows,
        "before": report.before,
        "read": report.read,
        "answered": batch.taken,
        "rejected": batch.rejected,
        "rejects": str(report.rejects) if report.rejects else None,
        "bad": [
            {"input": name, "row": bad.row, "column": bad.column, "reason": bad.reason}
            for name, bad in report.bad
        ],
        "folded": folded,
    }


def _lines(told: dict[str, Any]) -> Iterator[str]:
    for bad in told["bad"]:
        column = f", column {bad['column']}" if bad["column"] else ""
        yield f"{bad['input']}, row {bad['row']}{column}: {bad['reason']}"
    if told["rejects"]:
        yield f"rejected rows are in {told['rejects']}"
    if not told["read"] and told["before"]:
        yield f"{told['before']:,} rows were answered before; nothing was left to do"
    name = f"{told['model']}:{told['version']}"
    yield f"{name} answered {told['answered']:,} rows, {told['rejected']:,} rejected: {told['output']}"
    if told["repeats"]:
        yield f"{told['repeats']:,} of them were known already and change nothing"
    if told["conflicts"]:
        yield f"{told['conflicts']:,} ids were known with another answer; the ledger keeps the first one"
    if not told["folded"]:
        yield "The log holds them; the loop that runs has not come to them yet."
