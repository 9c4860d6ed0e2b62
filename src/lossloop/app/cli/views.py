"""`lossloop status` and `lossloop decisions`: how models are doing, and what was done."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.markup import escape
from rich.table import Table

from lossloop.app.books import Books
from lossloop.app.cli.arms import arms_lines
from lossloop.app.cli.common import DEFAULT_STATE, Json, StatePath, console, home, print_json
from lossloop.app.cli.fitting import show_table
from lossloop.app.cli.tables import decisions_table
from lossloop.app.importing.progress import recent
from lossloop.app.reading import decisions as all_decisions
from lossloop.app.reading import status as status_of
from lossloop.core.records import Role
from lossloop.core.thresholds import Thresholds

MOST_SHOWN = 5
"""Reasons of failures, the commonest first."""


def status(model: str | None = None, /, *, state: StatePath = DEFAULT_STATE, json: Json = False) -> None:
    """Show versions, traffic, watches, rollout, losses and how answers came, of one model or of all.

    Parameters
    ----------
    model
        The model; all of them if left out.
    state
        The state directory.
    json
        Answer as JSON.
    """
    place = home(state)
    opened = place.state()
    books = Books(opened)
    found = [
        {**status_of(books, name), "imports": recent(place, name)}
        for name in ([model] if model else books.models())
    ]
    opened.close()
    if json:
        print_json(found[0] if model else {"models": found})
    elif not found:
        print(f"No model yet. Next: lossloop policy POLICY.yaml --state {state}")
    else:
        for each in found:
            _show(each)


def decisions(model: str, /, *, state: StatePath = DEFAULT_STATE, json: Json = False) -> None:
    """Show every decision on a model, oldest first.

    Parameters
    ----------
    model
        The model.
    state
        The state directory.
    json
        Answer as JSON.
    """
    opened = home(state).state()
    made = all_decisions(Books(opened), model)
    opened.close()
    if json:
        print_json({"decisions": made})
    elif made:
        show_table(console(), decisions_table(made))
    else:
        print(f"Nothing was decided on {model} yet.")


def _show(found: dict[str, Any]) -> None:
    screen = console()
    frozen = "  [bold red]frozen[/]" if found["frozen"] else ""
    screen.print(
        f"[bold]{escape(found['model'])}[/]  mode {found['mode']}, loss {escape(found['loss'])}{frozen}"
    )
    screen.print(f"  {_traffic(found)}", highlight=False)
    for line in arms_lines(found):
        screen.print(f"  {line}", highlight=False, markup=False, soft_wrap=True)
    if cuts := _thresholds(found):
        screen.print(f"  {cuts}", highlight=False, markup=False, soft_wrap=True)
    counts = found["counts"]
    came = [f"{counts.get(name, 0):,} {name}" for name in ("predictions", "outcomes", "waiting", "conflicts")]
    screen.print(f"  {', '.join(came)}; judged up to {found['clock']}", highlight=False)
    for name, watch in found["watches"].items():
        screen.print(
            f"  watch {escape(name)}: [bold]{watch['kind']}[/] ({escape(watch['reason'])})",
            highlight=False,
            soft_wrap=True,
        )
    for each in found["imports"]:
        screen.print(f"  {_imported(each)}", highlight=False, markup=False, soft_wrap=True)
    for line in _others(found):
        screen.print(f"  {line}", highlight=False, markup=False, soft_wrap=True)
    if found["losses"]:
        show_table(screen, _losses(found))
    if found["answers"]:
        show_table(screen, _answers(found))
        for why, count in sorted(found["errors"].items(), key=lambda each: (-each[1], each[0]))[:MOST_SHOWN]:
            screen.print(f"  failed: {why}: {count:,}", highlight=False, markup=False, soft_wrap=True)


def _others(found: dict[str, Any]) -> Iterator[str]:
    """The losses beside the one that judges, and who judged before."""
    for each in found["beside"]:
        means = [
            f"version {row['version']} {row['mean']:.4f}"
            for row in each["losses"]
            if row["mean"] is not None and row["role"] == Role.CHAMPION
        ]
        unit = f" in {each['unit']}" if each["unit"] else ""
        yield f"beside: {each['loss']}{unit}, judges nothing: {', '.join(means) or 'no outcome yet'}"
    if found["switches"]:
        last = found["switches"][-1]
        why = f": {last['reason']}" if last["reason"] else ""
        yield f"since {last['at']} {last['to']} judges instead of {last['from']}, by {last['by']}{why}"


def _imported(each: dict[str, Any]) -> str:
    """What became of a source of history, or of a label file."""
    how = "imported" if each["finished"] else "not imported to its end"
    words = f"{each['source']}: {how}, {each['taken']:,} {each['kind']}, {each['rejected']:,} rows rejected"
    return f"{words}; {each['error'].removeprefix(each['source']).lstrip()}" if each["error"] else words


def _traffic(found: dict[str, Any]) -> str:
    traffic = found["traffic"] or {}
    if traffic.get("champion") is None:
        return "no champion yet; register a version, then: lossloop promote"
    words = f"champion: version {traffic['champion']}"
    if traffic.get("challenger") is None:
        return words + _over(found["rollout"], traffic["champion"])
    how = "in shadow" if traffic.get("shadow") else f"at {traffic.get('share', 0):.0%} of the traffic"
    return f"{words}; challenger: version {traffic['challenger']} {how}{_shared(found['rollout'])}"


def _thresholds(found: dict[str, Any]) -> str:
    """What the versions in the traffic do at which score."""
    traffic = found["traffic"] or {}
    serving = [traffic.get("champion"), *(arm["version"] for arm in traffic.get("arms", ()))]
    cuts = {each["version"]: each["thresholds"] for each in found["versions"] if each["thresholds"]}
    told = [(each, Thresholds(**cuts[each])) for each in serving if each in cuts]
    return "; ".join(f"version {number}: {each.words}" for number, each in told)


def _shared(rollout: dict[str, Any] | None) -> str:
    """A rollout's part of the error, where all rollouts share one."""
    return f" ({rollout['promise']})" if rollout is not None and rollout.get("number") else ""


def _over(rollout: dict[str, Any] | None, champion: int) -> str:
    """How the last rollout ended, where its version did not become the champion."""
    ends = {"rolled_back": "was rolled back", "refused": "was refused"}
    if rollout is None or rollout["stage"] not in ends or rollout["challenger"] == champion:
        return ""
    return f"; version {rollout['challenger']} {ends[rollout['stage']]}"


def _losses(found: dict[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2))
    for heading in ("  version", "role", "predictions", "outcomes", "mean loss"):
        table.add_column(heading, justify="left" if heading in ("  version", "role") else "right")
    for row in found["losses"]:
        mean = "-" if row["mean"] is None else f"{row['mean']:.4f}"
        table.add_row(
            f"  {row['version']}", row["role"], f"{row['predictions']:,}", f"{row['outcomes']:,}", mean
        )
    return table


def _answers(found: dict[str, Any]) -> Table:
    """How answers came: which failed, and what the others took."""
    table = Table(box=None, pad_edge=False, padding=(0, 2))
    for heading in ("  version", "role", "predictions", "failed", "p50", "p95", "p99", "longest"):
        table.add_column(heading, justify="left" if heading in ("  version", "role") else "right")
    for row in found["answers"]:
        took = row["latency_ms"] or {}
        times = [_ms(took.get(name)) for name in ("p50", "p95", "p99", "max")]
        table.add_row(
            f"  {row['version']}", row["role"], f"{row['predictions']:,}", f"{row['failed']:,}", *times
        )
    return table


def _ms(time: float | None) -> str:
    return "-" if time is None else f"{time:,.3g} ms"
