"""`lossloop plan`: what a policy will need, before anyone waits for it."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter
from rich import box
from rich.markup import escape
from rich.table import Table

from lossloop.app.backtest import Candidate
from lossloop.app.cli.backtest import policy_in
from lossloop.app.cli.common import DEFAULT_STATE, Json, StatePath, console, home, print_json
from lossloop.app.cli.fitting import show
from lossloop.app.cli.loss import Bar
from lossloop.app.planning import FUTURES, Plan, StepPlan, WatchPlan
from lossloop.app.planning import plan as planned
from lossloop.core.clock import DAY, HOUR, MINUTE, SECOND, Micros


def plan(
    policy: Path,
    /,
    *,
    model: Annotated[str | None, Parameter(name="--model")] = None,
    futures: Annotated[int, Parameter(name="--futures")] = FUTURES,
    state: StatePath = DEFAULT_STATE,
    json: Json = False,
) -> None:
    """Say how many outcomes and how much time verdicts need, and the smallest rise that a week shows.

    Parameters
    ----------
    policy
        The policy file.
    model
        Whose past futures are drawn from; the policy's model if left out.
    futures
        How many are drawn for each figure.
    state
        The state directory.
    json
        Answer as JSON.
    """
    candidate = Candidate(name=policy.name, policy=policy_in(policy))
    with Bar(quiet=json) as bar:
        found = planned(
            home(state), candidate, model or candidate.policy.model, futures=futures, progress=bar.show
        )
    if json:
        print_json(finite(msgspec.to_builtins(found)))
        return
    screen = console()
    for line in lines(found):
        show(screen, line)


def finite(value: Any) -> Any:
    """Plain values with infinities as null, which is what JSON has for them."""
    if isinstance(value, dict):
        return {name: finite(each) for name, each in value.items()}
    if isinstance(value, list):
        return [finite(each) for each in value]
    return None if isinstance(value, float) and math.isinf(value) else value


def lines(found: Plan) -> Iterator[Table | str]:
    """A plan, line by line."""
    yield (
        f"[bold]{escape(found.model)}[/]  {escape(found.policy)}, {found.predictions_per_day:,.0f} "
        f"predictions a day, {found.missing:.1%} without an outcome at the judging age"
    )
    for watch in found.watches:
        yield from _watch(watch)
    if found.rollout:
        yield ""
        yield "rollout: until a challenger that is as good is certified, and one that is worse is given up"
        if found.rollout_promise:
            yield f"the next rollout may use {found.rollout_promise}"
        yield _rollout(found.rollout)
    if found.rollout_unplanned:
        yield f"[yellow]rollout: cannot tell: {escape(found.rollout_unplanned)}[/]"
    for warning in found.warnings:
        yield f"[bold yellow]warning: {escape(warning)}[/]"
    yield f"Drawn {found.futures} times with a seed; half and nine of ten are quantiles of the waits."


def _watch(watch: WatchPlan) -> Iterator[Table | str]:
    yield ""
    yield f"[bold]{escape(watch.watch)}[/]  {watch.asks}, {escape(watch.promise)}"
    if watch.unplanned:
        yield f"[yellow]  cannot tell: {escape(watch.unplanned)}[/]"
        return
    yield (
        f"  mean {watch.mean:.4g}, limit {watch.limit:.4g}; from {escape(watch.source)}; "
        f"{watch.false_in_year:.1%} of healthy years alarm"
    )
    yield _effects(watch)
    yield (
        f"  a week shows a rise of {_share(watch.week_half)} in half of the futures, "
        f"of {_share(watch.week_most)} in nine of ten"
    )
    for warning in watch.warnings:
        yield f"[bold yellow]  warning: {escape(warning)}[/]"


def _effects(watch: WatchPlan) -> Table:
    made = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=True, padding=(0, 1, 0, 0))
    for name in ("rise", "absolute", f"{watch.counts}: half", "nine of ten", "time: half", "nine of ten"):
        made.add_column(name, justify="right", no_wrap=True)
    for each in watch.effects:
        made.add_row(
            f"+{each.share:.0%}", f"{each.rise:.3g}", count(each.half), count(each.most),
            span(each.half_time), span(each.most_time),
        )  # fmt: skip
    return made


def _rollout(steps: tuple[StepPlan, ...]) -> Table:
    made = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=True, padding=(0, 1, 0, 0))
    made.add_column("stage", no_wrap=True)
    for name in ("certify: half", "nine of ten", "time", "refuse: half", "nine of ten", "time"):
        made.add_column(name, justify="right", no_wrap=True)
    for each in steps:
        stage = each.stage if each.stage == "shadow" else f"{each.stage} {each.share:.0%}"
        made.add_row(
            f"{stage}, {each.counts}", count(each.certify_half), count(each.certify_most),
            span(each.certify_time), count(each.refuse_half), count(each.refuse_most), span(each.refuse_time),
        )  # fmt: skip
    return made


def count(number: float) -> str:
    """So many, to three digits; beyond a year ``-``."""
    if math.isinf(number):
        return "-"
    return f"{float(f'{number:.3g}'):,.0f}"


def span(time: Micros | None) -> str:
    """How long, in the unit that fits; beyond a year ``over a year``."""
    if time is None:
        return "over a year"
    for unit, word in ((DAY, "d"), (HOUR, "h"), (MINUTE, "m")):
        if time >= 2 * unit:
            return f"{time / unit:.0f}{word}"
    return f"{time / SECOND:.0f}s"


def _share(share: float | None) -> str:
    return "no size" if share is None else f"+{share:.0%}"
