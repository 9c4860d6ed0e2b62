"""A rollout judged and moved: randomised rows while it is a canary, blocks of pairs in shadow."""

from __future__ import annotations

from lossloop.act.rollout import Rollout, certify, count_blocks, count_outcomes, propose
from lossloop.app.acting import Acting
from lossloop.app.books import Point
from lossloop.app.drawing import in_rollout
from lossloop.app.judging import Lens
from lossloop.app.references import version_under
from lossloop.core.records import Verdict, VerdictKind
from lossloop.judges import CanaryState, Comparison, Difference
from lossloop.ledger.joined.table import Rows
from lossloop.ledger.joined.units import Units


def judge_canary(acting: Acting, units: Units, lens: Lens, rollout: Rollout, rows: Rows) -> None:
    """Judge rows that could have gone to either arm, in prediction order."""
    fresh = _first_of_their_units(units, rollout, rows)
    if not len(fresh):
        return
    judge = lens.canary(rollout.plan, _centre(acting, lens, rollout), number=rollout.number)
    documents = acting.books.documents
    judged = documents.get("canary", acting.model, CanaryState) or judge.start()
    judged, comparison = judge.update(judged, lens.assigned(fresh, rollout))
    documents.put("canary", acting.model, judged)
    theirs = fresh.pick(fresh.version == rollout.challenger)
    rollout = count_outcomes(rollout, lens.labelled(theirs))
    _compared(acting, rollout, comparison, rows=len(fresh), labelled=lens.labelled(fresh))


def judge_shadow(acting: Acting, lens: Lens, rollout: Rollout, rows: Rows) -> None:
    """Judge a whole block of pairs."""
    pairs = lens.pairs(rows, rollout)
    if pairs is None:
        return
    judge, documents = lens.shadow(rollout.plan, number=rollout.number), acting.books.documents
    judged = documents.get("shadow", acting.model, Difference) or judge.start()
    judged, comparison = judge.update(judged, pairs)
    documents.put("shadow", acting.model, judged)
    rollout = count_blocks(rollout, rollout.blocks + 1)
    block = lens.policy.calendar.label(int(rows.block[0]))
    _compared(acting, rollout, comparison, rows=len(rows), labelled=lens.labelled(rows), block=block)


def move(acting: Acting, rollout: Rollout, verdict: Verdict | None) -> None:
    """Let a rollout take its next move; several where time has passed over several."""
    kind, why = (None, "") if verdict is None else (verdict.kind, verdict.reason)
    while proposed := propose(rollout, kind, now=acting.now, reason=why):
        before = rollout
        rollout = acting.follow(rollout, proposed, verdict)
        if rollout.since == before.since and rollout.stage is before.stage:
            return
        kind, why, verdict = None, "", None


def _centre(acting: Acting, lens: Lens, rollout: Rollout) -> float | None:
    reference = version_under(acting.books.documents, lens, rollout.champion).manifest.reference
    return None if reference is None or not lens.is_of(reference.loss) else reference.mean


def _first_of_their_units(units: Units, rollout: Rollout, rows: Rows) -> Rows:
    """Rows that were assigned at random: the first of each unit, since its later ones are not drawn again."""
    mine = in_rollout(
        rows.role, rows.version, rows.propensity, champion=rollout.champion, challenger=rollout.challenger,
        held_out=rollout.held_out,
    )  # fmt: skip
    drawn = rows.pick(mine & (rows.seq > rollout.first_seq))
    return drawn.pick(units.first(drawn.unit))


def _compared(
    acting: Acting, rollout: Rollout, comparison: Comparison, *, rows: int, labelled: int, block: str = ""
) -> None:
    for name, verdict in (("roll back", comparison.roll_back), ("promote", comparison.promote)):
        point = Point(
            at=acting.now, watch=f"rollout: {name}", version=rollout.challenger, kind=verdict.kind,
            evidence=verdict.evidence, threshold=verdict.threshold, rows=rows, labelled=labelled, block=block,
            effect=verdict.effect,
        )  # fmt: skip
        acting.books.put_point(acting.model, point)
    if comparison.promote.kind is VerdictKind.BETTER:
        rollout = certify(rollout)
    acting.books.put_rollout(rollout)
    move(acting, rollout, comparison.verdict)
