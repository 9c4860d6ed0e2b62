"""A policy checked against the past of its model: what it would have to say to keep what it promises."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import msgspec

from lossloop.act.policy import Policy
from lossloop.act.watches import GuardrailWatch, RegressionWatch, Watch
from lossloop.app.backtest.base import Candidate
from lossloop.app.home import Home
from lossloop.app.planning.asking import seen_under
from lossloop.app.planning.past import Seen
from lossloop.app.planning.watches import plan_watch
from lossloop.app.proposing.base import Change, Checked, Span
from lossloop.app.proposing.editing import diff, edited
from lossloop.app.proposing.measuring import rounded_up, spans
from lossloop.app.watches import by_rows, judge_of, of_outcomes
from lossloop.core.clock import format_duration
from lossloop.core.errors import InputError
from lossloop.judges import Regression, reference_of_blocks
from lossloop.judges.reference import MOST_DESIGN_EFFECT

FUTURES = 100
PER_BLOCKS = "1 per 3650 blocks"
"""What is proposed where rows may not be judged: ten years, where a block is a day."""
SHARES = (0.1, 0.2, 0.5)
"""Rises whose delay is told before and after a change."""


def check_policy(home: Home, candidate: Candidate, model: str, text: str) -> Checked:
    """Hold a policy against what the ledger has of its model's champion.

    Args:
        home: The state directory.
        candidate: The policy.
        model: Whose past.
        text: The policy file, which the proposal changes.

    Raises:
        UnknownName: There is no such model.
        InputError: There is no champion, or too little of it to measure; says how much it needs.
    """
    seen = seen_under(home, candidate, model)
    policy = candidate.policy
    measured = spans(seen.known, seen.at, policy.block, policy.timezone)
    changes = [*_block(policy, measured, seen)]
    warnings = [*_no_block(policy, measured)]
    for name, watch in policy.watches.items():
        if of_outcomes(watch) is None:
            continue
        try:
            changes += _of_watch(name, watch, seen, measured)
        except InputError as error:
            warnings.append(f"watch {name!r} cannot judge {seen.champion.name}: {error}")
    after = edited(text, changes)
    return Checked(
        model=model, policy=candidate.name, rows=len(seen.known), spans=tuple(measured),
        changes=tuple(changes), warnings=tuple(warnings), text=after, diff=diff(text, after, candidate.name),
    )  # fmt: skip


def _block(policy: Policy, measured: list[Span], seen: Seen) -> Iterator[Change]:
    """The shortest block that may be taken for independent of the next, where the policy's may not."""
    own = next(span for span in measured if span.block == policy.block)
    if own.enough:
        return
    longer = [span for span in measured if span.block > policy.block and span.enough]
    if longer:
        fresh = "; versions need a reference over the new blocks" if seen.champion.manifest.reference else ""
        yield Change(
            path=("block",), present=format_duration(policy.block),
            proposed=format_duration(longer[0].block), why=f"{_carries(own)}{fresh}",
        )  # fmt: skip


def _no_block(policy: Policy, measured: list[Span]) -> Iterator[str]:
    """A warning where neither the policy's block nor a longer one may be taken for independent."""
    own = next(span for span in measured if span.block == policy.block)
    if not any(span.enough for span in measured if span.block >= policy.block):
        yield (
            f"{_carries(own)}; no longer one that these {own.blocks:,} blocks can be put together to is free "
            "of it. It takes a longer past, or a limit that follows what is predictable"
        )


def _carries(own: Span) -> str:
    return (
        f"a block's mean carries over to the next (correlation {own.carries_over:.2f}): "
        "blocks that depend on each other raise more false alarms than promised"
    )


def _of_watch(name: str, watch: Watch, seen: Seen, measured: list[Span]) -> Iterator[Change]:
    own = next(span for span in measured if span.block == seen.lens.policy.block)
    if by_rows(watch) and own.design_effect > MOST_DESIGN_EFFECT:
        yield Change(
            path=("watches", name, "promise"), present=watch.promise, proposed=PER_BLOCKS,
            why=f"rows of one block vary together (design effect {own.design_effect:.3g}): judge blocks",
        )  # fmt: skip
        return
    judge = judge_of(seen.lens, watch, seen.champion)
    if isinstance(watch, RegressionWatch) and isinstance(judge, Regression):
        yield from _tolerance(name, watch, judge, seen)
    elif isinstance(watch, GuardrailWatch):
        yield from _limit(name, watch, seen)


def _tolerance(name: str, watch: RegressionWatch, judge: Regression, seen: Seen) -> Iterator[Change]:
    width = judge.reference.upper - judge.reference.estimate
    hidden = seen.missing * max(judge.reference.estimate - judge.floor, 0.0)
    least = max(width, hidden)
    if watch.tolerance >= least * (1.0 - 1e-9):
        return
    what = (
        f"the reference ({judge.reference.count:,} {judge.reference.counts}) is only sure to {width:.3g}"
        if width >= hidden
        else f"missing outcomes ({seen.missing:.1%}) can hide {hidden:.3g}"
    )
    yield _with_costs(
        name, watch, {"tolerance": rounded_up(least)}, seen,
        why=f"{what}, which is more than the tolerance: a smaller one promises what is not known",
    )  # fmt: skip


def _limit(name: str, watch: GuardrailWatch, seen: Seen) -> Iterator[Change]:
    """A limit that the champion's own past is above would alarm without a change."""
    sample = list(seen.rows) if by_rows(watch) else seen.blocks.get(name, [])
    if len(sample) < 2:
        return
    reference = reference_of_blocks(sample)
    if watch.limit > reference.upper:
        return
    proposed = reference.upper + max(rounded_up(reference.upper - reference.estimate), 1e-9)
    yield _with_costs(
        name, watch, {"limit": float(f"{proposed:.3g}")}, seen,
        why=f"the champion loses {reference.estimate:.4g} on average, for all its past is sure of up to "
        f"{reference.upper:.4g}: it would alarm without any change",
    )  # fmt: skip


def _with_costs(name: str, watch: Watch, key: dict[str, Any], seen: Seen, *, why: str) -> Change:
    """A change, and how long rises take to be told before and after it."""
    ((field, value),) = key.items()
    changed = msgspec.structs.replace(watch, **key)
    policy = seen.lens.policy
    lens = replace(
        seen.lens, policy=msgspec.structs.replace(policy, watches={**policy.watches, name: changed})
    )
    before, after = (
        plan_watch(name, each, seen_by, futures=FUTURES, shares=SHARES, week=False)
        for each, seen_by in ((watch, seen), (changed, replace(seen, lens=lens)))
    )
    return Change(
        path=("watches", name, field), present=f"{getattr(watch, field):g}", proposed=f"{value:g}", why=why,
        before=before, after=after,
    )  # fmt: skip
