"""`lossloop check version`: a version held against scenarios, recent traffic and the champion."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich import box
from rich.markup import escape
from rich.table import Table

from lossloop.act.checks import Status
from lossloop.app.cli.backtest import policy_in
from lossloop.app.cli.chart import write_page
from lossloop.app.cli.common import DEFAULT_STATE, Json, StatePath, console, home, print_json
from lossloop.app.cli.fitting import show
from lossloop.app.cli.models import bytes_of, manifest_of
from lossloop.app.versions import Question, Report, check_version
from lossloop.app.versions.page import render
from lossloop.registry import Manifest

_STYLES = {
    Status.PASSED: "green", Status.FAILED: "bold red", Status.REPORTED: "cyan", Status.NOT_TOLD: "yellow",
    Status.SKIPPED: "dim",
}  # fmt: skip


def version(
    model: str,
    version: int | None = None,
    /,
    *,
    manifest: Annotated[Path | None, Parameter(name="--manifest")] = None,
    artifact: Annotated[Path | None, Parameter(name="--artifact")] = None,
    policy: Annotated[Path | None, Parameter(name="--policy")] = None,
    seconds: Annotated[float, Parameter(name="--seconds")] = 1.0,
    html: Annotated[Path | None, Parameter(name="--html")] = None,
    state: StatePath = DEFAULT_STATE,
    json: Json = False,
) -> None:
    """Hold a version to scenarios, recent traffic and the champion before it takes traffic; ends with 0 or 1.

    Parameters
    ----------
    model
        The model.
    version
        The number of a version; left out with --manifest.
    manifest
        The manifest of a version that is not registered yet; left out, its artifact tells.
    artifact
        Its artifact's file.
    policy
        A policy file to hold it to, instead of the policy in force.
    seconds
        For how long latency is measured for each number of rows.
    html
        Write the report into this file, too.
    state
        The state directory.
    json
        Answer as JSON.
    """
    made = None if artifact is None else Manifest()
    found = check_version(home(state), Question(
        model=model, version=version, manifest=made if manifest is None else manifest_of(manifest),
        artifact=None if artifact is None else bytes_of(artifact),
        file="" if artifact is None else artifact.name,
        policy=None if policy is None else policy_in(policy), seconds=seconds,
    ))  # fmt: skip
    if html is not None:
        write_page(html, render(found), option="--html")
    if json:
        print_json(found.plain())
    else:
        screen = console()
        for line in lines(found):
            show(screen, line)
    if found.objections:
        sys.exit(1)


def lines(found: Report) -> Iterator[Table | str]:
    """What was found, line by line."""
    beside = f" beside {found.champion}" if found.champion else ""
    yield f"[bold]{escape(found.name)}[/]{escape(beside)}, on {found.checked.rows:,} recent rows"
    made = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    made.add_column("check", no_wrap=True)
    made.add_column("", no_wrap=True)
    made.add_column("found")
    for each in found.shown:
        finding = each.finding
        status = f"[{_STYLES[finding.status]}]{finding.status.replace('_', ' ')}[/]"
        name = f"{finding.check}{'' if finding.check in found.required else ' (shown only)'}"
        made.add_row(name, status, escape(finding.words))
    yield made
    for each in found.shown:
        for detail in each.details:
            yield f"[bold]{each.finding.check}[/]: {escape(detail.title)}"
            table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=True, padding=(0, 1, 0, 0))
            for name in detail.head:
                table.add_column(escape(name))
            for row in detail.rows:
                table.add_row(*map(escape, row))
            yield table
    if not found.objections:
        yield "[bold green]It may take traffic.[/]"
    for against in found.objections:
        yield f"[bold red]refused: {escape(against)}[/]"
