"""`lossloop check ...`: files held against the past before they are put in force."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import Parameter
from rich import box
from rich.markup import escape
from rich.table import Table

from lossloop.act.policy import read_policy
from lossloop.app.backtest import Candidate
from lossloop.app.cli.common import DEFAULT_STATE, Json, StatePath, console, home, print_json
from lossloop.app.cli.fitting import show
from lossloop.app.cli.models import text_of
from lossloop.app.cli.plan import count, finite
from lossloop.app.planning import WatchPlan
from lossloop.app.proposing import Change, Checked, Span, check_policy
from lossloop.core.clock import format_duration


def policy(
    file: Path,
    /,
    *,
    model: Annotated[str | None, Parameter(name="--model")] = None,
    write: Annotated[bool, Parameter(name="--write", negative="")] = False,
    state: StatePath = DEFAULT_STATE,
    json: Json = False,
) -> None:
    """Hold a policy against the past: block, tolerance and limits, and what others would cost in delay.

    Parameters
    ----------
    file
        The policy file.
    model
        Whose past; the policy's model if left out.
    write
        Write the proposal into the file.
    state
        The state directory.
    json
        Answer as JSON.
    """
    text = text_of(file)
    candidate = Candidate(name=file.name, policy=read_policy(text, source=file.name))
    found = check_policy(home(state), candidate, model or candidate.policy.model, text)
    if write and found.text != text:
        file.write_text(found.text)
    if json:
        print_json({**finite(msgspec.to_builtins(found)), "fine": found.fine})
    else:
        screen = console()
        for line in lines(found, written=write):
            show(screen, line)
    if not found.fine:
        sys.exit(1)


def lines(found: Checked, *, written: bool) -> Iterator[Table | str]:
    """What was found, line by line."""
    yield f"[bold]{escape(found.model)}[/]  {escape(found.policy)}, measured on {found.rows:,} outcomes"
    yield _spans(found.spans)
    for change in found.changes:
        key, proposed = escape(".".join(change.path)), escape(change.proposed)
        yield f"[bold]{key}[/]: {escape(change.present)} -> {proposed}"
        yield escape(f"  {change.why}.")
        if change.before is not None and change.after is not None:
            yield _costs(change, change.before, change.after)
    for warning in found.warnings:
        yield f"[bold yellow]warning: {escape(warning)}[/]"
    if found.diff:
        yield ""
        yield escape(found.diff.rstrip("\n"))
    if found.fine:
        yield "Nothing to change: the policy can keep what it promises."
    elif written and found.diff:
        yield escape(f"{found.policy} was written.")


def _spans(spans: tuple[Span, ...]) -> Table:
    made = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for name in ("block", "blocks", "design effect", "carries over", ""):
        made.add_column(name, justify="left" if not name else "right", no_wrap=True)
    for each in spans:
        said = "may be judged" if each.enough else "depends on the one before"
        made.add_row(
            format_duration(each.block), f"{each.blocks:,}", f"{each.design_effect:.3g}",
            f"{each.carries_over:.2f}", said,
        )  # fmt: skip
    return made


def _costs(change: Change, before: WatchPlan, after: WatchPlan) -> Table | str:
    if before.unplanned or after.unplanned:
        return escape(f"  what it costs in delay cannot be told: {before.unplanned or after.unplanned}")
    made = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=True, padding=(0, 1, 0, 0))
    made.add_column("rise", justify="right")
    for words in (change.present, change.proposed):
        made.add_column(f"{after.counts} at {words}, nine of ten", justify="right", no_wrap=True)
    for one, other in zip(before.effects, after.effects, strict=True):
        made.add_row(f"+{one.share:.0%}", count(one.most), count(other.most))
    return made
