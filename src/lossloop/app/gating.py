"""The gates of a canary: does the challenger answer as reliably and as fast as the champion?

Judged on arrival, on randomised rows, each unit once: what the judge of losses takes, with whether a row was
slow, or failed, in the place of its loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import msgspec
import numpy as np
import pyarrow as pa

from lossloop.act.gates import AnyGate, LatencyGate
from lossloop.act.policy import Plan
from lossloop.act.rollout import Rollout, Stage, hear
from lossloop.app.acting import Acting
from lossloop.app.arriving import shown
from lossloop.app.books import Point
from lossloop.app.drawing import among_arms, in_rollout
from lossloop.app.gated import Gated, gated, put_gated
from lossloop.app.releases import part_of_test
from lossloop.app.rolling import move
from lossloop.app.watches import Arrived
from lossloop.app.watches.answering import slow
from lossloop.core.clock import format_duration
from lossloop.core.records import Verdict, VerdictKind
from lossloop.judges import Assigned, Canary
from lossloop.ledger.facts import optional
from lossloop.ledger.joined.columns import Floats, numbers
from lossloop.ledger.joined.join import Arrivals
from lossloop.ledger.joined.units import Units

ASSUMPTION = "each row was assigned at random, afresh; rows that do not say are left out, alike in both arms"


def judge_gates(
    acting: Acting, units: Units, rollout: Rollout, batch: pa.RecordBatch, arrived: Sequence[Arrivals]
) -> None:
    """Judge new predictions that could have gone to either arm, in prediction order."""
    for new in arrived:
        sent = optional(batch, "propensity")
        propensity = np.ones(len(new)) if sent is None else numbers(sent)[new.place]
        mine = (new.seq > rollout.first_seq) & in_rollout(
            new.role, new.version, propensity, champion=rollout.champion, challenger=rollout.challenger,
            held_out=rollout.held_out,
        )  # fmt: skip
        mine[mine] = units.first(new.unit[mine])
        if not mine.any():
            continue
        rows, canary = shown(batch, new, mine), new.version[mine] == rollout.challenger
        own = among_arms(propensity[mine], rollout.held_out)
        chance = np.where(canary, own, 1.0 - own)
        for name, gate in rollout.plan.gates.items():
            said = _said(gate, rows)
            evidence = Assigned(loss=said, is_canary=canary, propensity=chance)
            if bool((canary & ~np.isnan(said)).any()):
                rollout = hear(rollout, name)
                acting.books.put_rollout(rollout)
            _judge(acting, rollout, name, evidence)
            present = acting.books.rollout(acting.model)
            if present is None or present.stage is not Stage.CANARY:
                return
            rollout = present


def _said(gate: AnyGate, rows: Arrived) -> Floats:
    """1 for a row that is of the gate's kind, 0 for one that is not, NaN for one that does not say."""
    if isinstance(gate, LatencyGate):
        return slow(rows, gate.slower_than / 1000.0)
    return rows.failed.astype(np.float64)


def _judge(acting: Acting, rollout: Rollout, name: str, evidence: Assigned) -> None:
    judge = judge_of(rollout.plan, name, rollout.number)
    documents = acting.books.documents
    before = gated(documents, acting.model).get(name)
    judged, comparison = judge.update(judge.start() if before is None else before.judged, evidence)
    verdict = _told(name, rollout.plan.gates[name], comparison.roll_back)
    put_gated(documents, acting.model, name, Gated(judged=judged, verdict=verdict))
    known = int(np.count_nonzero(~np.isnan(evidence.loss)))
    point = Point(
        at=acting.now, watch=f"rollout: {name}", version=rollout.challenger, kind=verdict.kind,
        evidence=verdict.evidence, threshold=verdict.threshold, rows=len(evidence), labelled=known,
        effect=verdict.effect,
    )  # fmt: skip
    acting.books.put_point(acting.model, point)
    if verdict.kind is VerdictKind.ALARM:
        move(acting, rollout, verdict)


def judge_of(plan: Plan, name: str, number: int) -> Canary:
    """The judge of a gate of rollout `number`, of which only the test to roll back is asked."""
    part = part_of_test(plan, number)
    return _made(plan.gates[name].worse_by, part.error, part.words)


@lru_cache(maxsize=64)
def _made(margin: float, error: float, words: str) -> Canary:
    return Canary(
        bound=1.0, roll_back_if_worse_by=margin, promote_if_within=margin, error=error, words=words,
        missing="same_in_both_arms",
    )  # fmt: skip


def _told(name: str, gate: AnyGate, verdict: Verdict) -> Verdict:
    slower = f"slower than {format_duration(gate.slower_than)}" if isinstance(gate, LatencyGate) else ""
    reason = f"gate {name!r}, share {slower or 'that failed'}: {verdict.reason}"
    return msgspec.structs.replace(verdict, assumption=ASSUMPTION, reason=reason)
