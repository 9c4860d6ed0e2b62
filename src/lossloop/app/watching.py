"""A watch judged and its alarm answered: once per incident, until its actions had their time."""

from __future__ import annotations

from typing import Any

import msgspec

from lossloop.act.decide import Standing, answer
from lossloop.app.acting import Acting
from lossloop.app.books import Crowned, Point, WatchState
from lossloop.app.judging import Lens
from lossloop.app.watches import OF_OUTCOMES, Found, judge_of
from lossloop.core.calendar import Block
from lossloop.core.errors import InputError
from lossloop.core.records import Verdict, VerdictKind
from lossloop.ledger.joined.table import Rows
from lossloop.registry import PREVIOUS, versions


def judge_outcomes(acting: Acting, lens: Lens, name: str, rows: Rows, block: Block | None) -> None:
    """Judge the champion's rows at their judging age: one by one, or as one block if they are one.

    A watch that looks at arrivals has nothing to do here.
    """
    watch = lens.policy.watches[name]
    kind, crowned = OF_OUTCOMES.get(type(watch)), acting.books.crowned(acting.model)
    if kind is None or crowned is None:
        return
    mine = lens.champion_rows(rows, crowned.version)
    mine = mine.pick(mine.seq > crowned.seq)
    if not len(mine):
        return
    champion = versions.find(acting.books.documents, acting.model, crowned.version)
    try:
        found = kind.evidence(lens, watch, champion, mine, block)
    except InputError as error:
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
        judge = judge_of(lens, watch, versions.find(acting.books.documents, acting.model, crowned.version))
    except InputError as error:
        fail(acting, name, error)
        return
    state = acting.books.watch(acting.model, name)
    if state is None or not _goes_on(state, crowned):
        judged = as_json(judge.start())
        state = WatchState(version=crowned.version, since=crowned.at, judged=judged)
    before = msgspec.json.decode(state.judged, type=type(judge.start()))
    after, verdict = judge.update(before, found.evidence)
    if found.labelled == 0:
        verdict = _no_data(verdict, f"none of {rows} outcomes came in time")
    point = Point(
        at=acting.now, watch=name, version=crowned.version, kind=verdict.kind, evidence=verdict.evidence,
        threshold=verdict.threshold, mean=found.mean, rows=rows, labelled=found.labelled or 0,
        block="" if block is None else lens.policy.calendar.label(block), effect=verdict.effect,
    )  # fmt: skip
    acting.books.put_point(acting.model, point)
    _answer(acting, lens, name, msgspec.structs.replace(state, judged=as_json(after), verdict=verdict))


def as_json(state: Any) -> msgspec.Raw:
    """A judge's state as it is kept."""
    return msgspec.Raw(msgspec.json.encode(state))


def fail(acting: Acting, name: str, error: InputError) -> None:
    """A watch that cannot judge says so; that is no pass, and stops nothing else."""
    before = acting.books.watch(acting.model, name)
    verdict = Verdict(kind=VerdictKind.ERROR, evidence=0.0, threshold=0.0, count=0, reason=str(error))
    if before is not None and before.verdict is not None:
        acting.books.put_watch(acting.model, name, msgspec.structs.replace(before, verdict=verdict))
    else:
        acting.books.documents.put("watch_error", f"{acting.model}/{name}", verdict)


def _goes_on(state: WatchState, crowned: Crowned) -> bool:
    """Whether evidence adds to what was judged of this reign."""
    return state.version == crowned.version and state.since == crowned.at


def _no_data(verdict: Verdict, why: str) -> Verdict:
    """The same evidence, but an honest answer: outcomes were due and none came, which is never a pass."""
    if verdict.kind is VerdictKind.ALARM:
        return verdict
    return msgspec.structs.replace(verdict, kind=VerdictKind.NO_DATA, reason=f"{why}; {verdict.reason}")


def _answer(acting: Acting, lens: Lens, name: str, state: WatchState) -> None:
    if state.incident is not None and _is_over(acting, lens, state.incident):
        champion = versions.find(acting.books.documents, acting.model, state.version)
        judge = judge_of(lens, lens.policy.watches[name], champion)
        state = msgspec.structs.replace(state, judged=as_json(judge.start()), incident=None, answered=())
    elif state.verdict is not None and state.verdict.kind is VerdictKind.ALARM:
        state = _follow_alarm(acting, lens, name, state, state.verdict)
    acting.books.put_watch(acting.model, name, state)


def _is_over(acting: Acting, lens: Lens, incident: int) -> bool:
    """Whether an incident's actions had their time: then the watch begins anew and may alarm again."""
    rollout = acting.books.rollout(acting.model)
    waits = rollout is not None and rollout.running
    return not waits and acting.now >= incident + lens.policy.cooldown


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
