"""`lossloop metrics`: metrics that are no means of rows, in the terminal."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter
from rich import box
from rich.table import Table
from rich.text import Text

from lossloop.app.cli.common import DEFAULT_STATE, Json, StatePath, console, home, print_json
from lossloop.app.cli.fitting import show_table
from lossloop.app.cli.loss import Bar, names_in
from lossloop.app.metrics import Question, measure
from lossloop.app.metrics.kinds import RAISED_BY_CHANCE
from lossloop.app.recompute.past import TOLD_BY
from lossloop.app.words import signed
from lossloop.core.errors import UnknownName
from lossloop.pipelines.executors import open_executor


def metrics(
    model: str,
    /,
    *,
    since: Annotated[str | None, Parameter(name="--since")] = None,
    until: Annotated[str | None, Parameter(name="--until")] = None,
    by: Annotated[str, Parameter(name="--by")] = "version,role",
    metric: Annotated[str | None, Parameter(name="--metric")] = None,
    against: Annotated[str | None, Parameter(name="--against")] = None,
    threshold: Annotated[float, Parameter(name="--threshold")] = 0.5,
    state: StatePath = DEFAULT_STATE,
    json: Json = False,
) -> None:
    """Show accuracy, F1, AUC, calibration and the like, by version and slice.

    Parameters
    ----------
    model
        The model.
    since
        From when predictions were made: a moment, a day, or how long ago, such as 30d.
    until
        Until before when they were made, likewise.
    by
        What predictions are told apart by: version, role, block, and names of features.
    metric
        Show one metric only, with intervals, and between slices its gaps.
    against
        The slice that gaps are to, such as carrier=AA; left out, the one with the most outcomes.
    threshold
        From which probability on a prediction counts as a 1.
    state
        The state directory.
    json
        Answer as JSON.
    """
    question = Question(
        model=model, since=since, until=until, by=names_in(by), against=against, threshold=threshold
    )
    with Bar(quiet=json) as bar, open_executor("embedded") as executor:
        found = measure(home(state), question, executor, progress=bar.show).plain()
    known = list(found["figures"][0]["metrics"])
    if metric is not None and metric not in known:
        raise UnknownName(f"metric of a {found['task']} task", metric, known, field="metric")
    if json:
        print_json(found)
        return
    screen = console()
    at = "" if found["threshold"] is None else f", called 1 from {found['threshold']:g} on"
    screen.print(f"{model}  {found['task']}{at}", highlight=False, markup=False)
    show_table(screen, metrics_table(found, metric))
    for line in notes(found, metric):
        screen.print(line, highlight=False, markup=False)


def metrics_table(found: dict[str, Any], metric: str | None) -> Table:
    """One metric of each group with its gap; or all metrics, of up to FEW groups with their intervals."""
    figures = found["figures"]
    by = [name for name in (*TOLD_BY, "slice") if figures[0][name] is not None]
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    if metric is not None:
        _fill_with_one(table, found, by, metric)
    elif len(figures) <= FEW:
        _fill_with_groups(table, figures, by)
    else:
        _fill_with_metrics(table, figures, by)
    return table


FEW = 3
"""Groups that fit beside each other."""
_COMPACT = {
    "accuracy": "accuracy", "balanced_accuracy": "balanced", "macro_precision": "precision", "macro_f1": "f1",
    "precision": "precision", "recall": "recall", "f1": "f1", "auc": "auc", "calibration_error": "ece",
    "mae": "mae", "rmse": "rmse", "bias": "bias", "wape": "wape", "r2": "r2", "events": "events",
    "concordance": "concordance",
}  # fmt: skip
"""Metrics that are shown of many groups, by short names."""


def _fill_with_one(table: Table, found: dict[str, Any], by: list[str], metric: str) -> None:
    _add_columns(table, [*by, "labelled"], [f"{metric} [95%]"])
    if found["gap_level"] is not None:
        table.add_column(Text(f"less {found['against']}"), no_wrap=True)
    for figure in found["figures"]:
        told = figure["metrics"][metric]
        cells = [_sure(told["value"], told["interval"], figure["over"], signs=metric == "bias")]
        if found["gap_level"] is not None:
            gap = told["gap"]
            cells.append(_sure(gap and gap["estimate"], gap, figure["over"], signs=True))
        table.add_row(*map(Text, _group(figure, by)), f"{figure['labelled']:,}", *cells)


def _fill_with_groups(table: Table, figures: list[dict[str, Any]], by: list[str]) -> None:
    _add_columns(table, ["metric"], [" ".join(_group(figure, by)) or "all" for figure in figures])
    for count in ("rows", "labelled"):
        table.add_row(count, *(f"{figure[count]:,}" for figure in figures))
    for name in figures[0]["metrics"]:
        told = [(figure["metrics"][name], figure["over"]) for figure in figures]
        bias = name == "bias"
        table.add_row(
            name, *(_sure(each["value"], each["interval"], over, signs=bias) for each, over in told)
        )


def _fill_with_metrics(table: Table, figures: list[dict[str, Any]], by: list[str]) -> None:
    names = [name for name in figures[0]["metrics"] if name in _COMPACT]
    names = [name for name in names if name != "bias" or "mae" in names]
    _add_columns(table, [*by, "labelled"], [_COMPACT[name] for name in names])
    for figure in figures:
        values = [figure["metrics"][name]["value"] for name in names]
        said = ["-" if value is None else f"{value:.4g}" for value in values]
        table.add_row(*map(Text, _group(figure, by)), f"{figure['labelled']:,}", *said)


def _add_columns(table: Table, names: list[str], told: list[str]) -> None:
    for name in (*names, *told):
        table.add_column(Text(name), justify="right" if name == "labelled" else "left", no_wrap=True)


def _group(figure: dict[str, Any], by: list[str]) -> list[str]:
    return [str(figure[name]) for name in by]


def _sure(value: float | None, interval: dict[str, Any] | None, over: str, *, signs: bool = False) -> Text:
    """A value with its interval; `~` where the interval takes rows for independent."""
    if value is None:
        return Text("-")

    def said(number: float) -> str:
        return signed(number, decimals=4) if signs else f"{number:.4f}"

    if interval is None:
        return Text(said(value))
    mark = " ~" if over == "rows" else ""
    return Text.assemble(said(value), (f" [{said(interval['low'])}, {said(interval['high'])}]{mark}", "dim"))


def notes(found: dict[str, Any], metric: str | None) -> list[str]:
    """What has to be said beside the table."""
    figures, said = found["figures"], []
    absent = sum(figure["rows"] - figure["labelled"] for figure in figures)
    if absent:
        rows = sum(figure["rows"] for figure in figures)
        said.append(f"{absent:,} of {rows:,} predictions have no outcome; they are in no metric.")
    if unmeasured := sum(figure["unmeasured"] for figure in figures):
        said.append(f"{unmeasured:,} predictions with an outcome cannot be measured; they are in no metric.")
    if found["gone"]:
        said.append(f"{found['gone']:,} further predictions were erased or have expired.")
    said += [
        f"{name} is counted in bins: of the rows themselves it differs by at most {wide / 2:.2g}."
        for name in ([metric] if metric else figures[0]["metrics"])
        if (wide := _width(figures, name))
    ]
    if metric in RAISED_BY_CHANCE:
        said.append(
            f"{metric} lies above the truth where rows are few: it has no interval, miscalibration has."
        )
    with_intervals = metric is not None or len(figures) <= FEW
    if with_intervals and any(figure["over"] == "rows" for figure in figures):
        said.append("~ too few blocks for an interval over blocks: rows are taken for independent.")
    if metric is not None and found["gap_level"] is not None:
        said.append("Gaps have intervals that hold together: 95% for all slices of one metric.")
    return said


def _width(figures: list[dict[str, Any]], name: str) -> float:
    """How far apart the least and the most are that a metric can be, where that is widest."""
    limits = [figure["metrics"][name]["between"] for figure in figures]
    return max((each[1] - each[0] for each in limits if each is not None), default=0.0)
