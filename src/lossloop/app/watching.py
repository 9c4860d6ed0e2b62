"""A watch judged and its alarm answered: once per incident, until its actions had their time."""

from __future__ import annotations

from typing import Any

import msgspec

from lossloop.act.decide import Standing, answer
from lossloop.app.acting import Acting
from lossloop.app.books import WatchState
from lossloop.app.eras import era
from lossloop.app.experiments import under_way
from lossloop.app.judging import Lens
from lossloop.app.references import version_under
from lossloop.app.stepping import again, begun, goes_on, is_over, step
from lossloop.app.watches import Found, judge_of, of_outcomes
from lossloop.core.calendar import Block
from lossloop.core.errors import InputError
from lossloop.core.records import Verdict, VerdictKind
from lossloop.judges.base import Judge
from lossloop.ledger.joined.table import Rows
from lossloop.registry import PREVIOUS, versions

BROKEN = (
    InputError, msgspec.DecodeError, ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError,
    ValueError,
)  # fmt: skip
"""What a watch may fail with, the same whenever it is folded: one that is broken must not stop the loop for
every model. A full disk or memory are none of these."""


def judge_outcomes(acting: Acting, lens: Lens, name: str, rows: Rows, block: Block | None) -> None:
    """Judge the champion's rows at their judging age: one by one, or as one block if they are one.

    A watch that looks at arrivals has nothing to do here.
    """
    watch = lens.policy.watches[name]
    kind, crowned = of_outcomes(watch), acting.books.crowned(acting.model)
    if kind is None or crowned is None:
        return
    mine = lens.champion_rows(rows, crowned.version)
    mine = mine.pick(mine.seq > max(crowned.seq, era(acting.books.documents, acting.model).seq))
    if not len(mine):
        return
    champion = version_under(acting.books.documents, lens, crowned.version)
    try:
        found = kind.evidence(lens, watch, champion, mine, block)
    except BROKEN as error:
        fail(acting, name, error)
        return
    judge_found(acting, lens, name, found, rows=len(mine), block=block)


def judge_found(
    acting: Acting, lens: Lens, name: str, found: Found, *, rows: int, block: Block | None
) -> None:
    """Judge evidence on the champion, draw its point and answer the verdict."""
    crowned, watch = acting.books.crowned(acting.model), lens.policy.watches[name]
    if crowned is None:
        return
    try:
        judge = judge_of(lens, watch, version_under(acting.books.documents, lens, crowned.version))
        state = acting.books.watch(acting.model, name)
        if state is None or not goes_on(state, crowned):
            state = begun(judge, crowned)
        label = "" if block is None else lens.policy.calendar.label(block)
        state, point = step(judge, state, found, watch=name, now=acting.now, rows=rows, block=label)
    except BROKEN as error:
        fail(acting, name, error)
        return
    acting.books.put_point(acting.model, point)
    _answer(acting, lens, name, judge, state)


def fail(acting: Acting, name: str, error: Exception) -> None:
    """A watch that cannot judge says so; that is no pass, and stops nothing else."""
    before = acting.books.watch(acting.model, name)
    reason = str(error) if isinstance(error, InputError) else f"it failed: {type(error).__name__}: {error}"
    verdict = Verdict(kind=VerdictKind.ERROR, evidence=0.0, threshold=0.0, count=0, reason=reason)
    if before is not None and before.verdict is not None:
        acting.books.put_watch(acting.model, name, msgspec.structs.replace(before, verdict=verdict))
    else:
        acting.books.documents.put("watch_error", f"{acting.model}/{name}", verdict)


def _answer(
    acting: Acting, lens: Lens, name: str, judge: Judge[Any, Any, Verdict], state: WatchState
) -> None:
    waits = bool(under_way(acting.books.documents, acting.model))
    if is_over(state, now=acting.now, cooldown=lens.policy.cooldown, waits=waits):
        state = again(judge, state)
    elif state.verdict is not None and state.verdict.kind is VerdictKind.ALARM:
        state = _follow_alarm(acting, lens, name, state, state.verdict)
    acting.books.put_watch(acting.model, name, state)


def _follow_alarm(acting: Acting, lens: Lens, name: str, state: WatchState, verdict: Verdict) -> WatchState:
    """Propose what the alarm asks for; what was done or said in this incident is not said again."""
    answered = list(state.answered)
    for proposal in answer(lens.policy, name, _standing(acting), now=acting.now):
        key = f"{proposal.verb}:{proposal.target}"
        if f"{key}:done" in answered or f"{key}:{acting.status(proposal.verb)}" in answered:
            continue
        answered.append(f"{key}:{acting.propose(proposal, name, verdict)}")
    incident = acting.now if state.incident is None else state.incident
    return msgspec.structs.replace(state, incident=incident, answered=tuple(answered))


def _standing(acting: Acting) -> Standing:
    crowned = acting.books.crowned(acting.model)
    return Standing(
        previous=versions.alias(acting.books.documents, acting.model, PREVIOUS),
        promoted_at=crowned.at if crowned is not None and crowned.by_rollout else None,
    )
