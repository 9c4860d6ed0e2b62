"""A watch judged and its alarm answered: once per incident, until its actions had their time."""

from __future__ import annotations

import msgspec
import numpy as np

from lossloop.act.decide import Standing, answer
from lossloop.app.acting import Acting
from lossloop.app.books import Crowned, Point, WatchState
from lossloop.app.judging import Lens, RiskJudge, no_data
from lossloop.core.calendar import Block
from lossloop.core.errors import InputError
from lossloop.core.records import Verdict, VerdictKind
from lossloop.ledger.joined.columns import Floats
from lossloop.ledger.joined.table import Rows
from lossloop.registry import PREVIOUS, versions


def judge_watch(acting: Acting, lens: Lens, name: str, rows: Rows, block: Block | None) -> None:
    """Judge the champion's rows, one by one, or as one block if they are one; then answer the verdict."""
    crowned = acting.books.crowned(acting.model)
    if crowned is None:
        return
    mine = lens.champion_rows(rows, crowned.version)
    mine = mine.pick(mine.seq > crowned.seq)
    if not len(mine):
        return
    try:
        judge = _judge(acting, lens, name, crowned.version)
    except InputError as error:
        _fail(acting, name, crowned, error)
        return
    state = acting.books.watch(acting.model, name)
    if state is None or state.version != crowned.version or state.since != crowned.at:
        state = WatchState(version=crowned.version, since=crowned.at, judged=judge.start())
    losses = lens.risk_of_rows(mine) if block is None else np.array([lens.risk_of_block(mine)])
    judged, verdict = judge.update(state.judged, losses)
    labelled = lens.labelled(mine)
    if not labelled:
        verdict = no_data(verdict, f"none of {len(mine)} outcomes came in time")
    point = _point(acting, name, verdict, losses, mine, labelled)
    label = "" if block is None else lens.policy.calendar.label(block)
    acting.books.put_point(acting.model, msgspec.structs.replace(point, block=label))
    _answer(acting, lens, name, msgspec.structs.replace(state, judged=judged, verdict=verdict))


def _judge(acting: Acting, lens: Lens, name: str, champion: int) -> RiskJudge:
    return lens.judge(
        lens.policy.watches[name], versions.find(acting.books.documents, acting.model, champion)
    )


def _fail(acting: Acting, name: str, crowned: Crowned, error: InputError) -> None:
    """A watch that cannot judge says so; that is no pass, and stops nothing else."""
    before = acting.books.watch(acting.model, name)
    verdict = Verdict(kind=VerdictKind.ERROR, evidence=0.0, threshold=0.0, count=0, reason=str(error))
    if before is not None and before.verdict is not None:
        acting.books.put_watch(acting.model, name, msgspec.structs.replace(before, verdict=verdict))
    else:
        acting.books.documents.put("watch_error", f"{acting.model}/{name}", verdict)


def _point(acting: Acting, name: str, verdict: Verdict, losses: Floats, rows: Rows, labelled: int) -> Point:
    return Point(
        at=acting.now, watch=name, version=int(rows.version[0]), kind=verdict.kind, evidence=verdict.evidence,
        threshold=verdict.threshold, mean=float(losses.mean()), rows=len(rows), labelled=labelled,
    )  # fmt: skip


def _answer(acting: Acting, lens: Lens, name: str, state: WatchState) -> None:
    if state.incident is not None and _is_over(acting, lens, state.incident):
        judge = _judge(acting, lens, name, state.version)
        state = msgspec.structs.replace(state, judged=judge.start(), incident=None, answered=())
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
