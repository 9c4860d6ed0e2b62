"""A holdout judged: all other units against those that kept one version, each unit once in a period.

What is compared is what the two groups got: not one champion with the version that is held, but all that was
rolled out to everybody else since the period began, challengers among it. The chance to be held out does not
depend on rollouts, so neither does the comparison.
"""

from __future__ import annotations

import msgspec
import numpy as np

from lossloop.act.decide import Proposal
from lossloop.act.policy import HOLDOUT
from lossloop.app.acting import Acting
from lossloop.app.books import Books, Point
from lossloop.app.drawing import held_and_served
from lossloop.app.experiments import under_way
from lossloop.app.holdouts import HeldOut, held_out, held_share, holds, keep, retire
from lossloop.app.judging import Lens
from lossloop.app.references import version_under
from lossloop.core.clock import Micros
from lossloop.core.documents import Documents
from lossloop.core.errors import Conflict, InputError
from lossloop.core.ids import digest
from lossloop.core.records import Verdict, VerdictKind
from lossloop.judges import Assigned, Canary
from lossloop.ledger.joined.table import Rows
from lossloop.ledger.joined.units import Units
from lossloop.registry import versions


def renew(acting: Acting, *, anew: bool = False) -> None:
    """Begin another period where the policy asks for one, time is over, or all begins `anew`."""
    documents, model = acting.books.documents, acting.model
    wanted, before = acting.books.policy(model).serving.holdout, held_out(documents, model)
    if before is not None and not anew and holds(before, wanted, acting.now):
        return
    if before is None and wanted is None:
        return
    number = retire(documents, model) + 1
    if wanted is not None:
        acting.judge_rows_from_here()
        salt = digest(acting.salt, model, HOLDOUT, str(number))[:16]
        keep(documents, model, HeldOut(
            number=number, holdout=wanted, salt=salt, since=acting.now, first_seq=acting.last_seq,
        ))  # fmt: skip
    acting.route()


def is_over(documents: Documents, model: str, now: Micros) -> bool:
    """Whether time alone ends the present period."""
    run = held_out(documents, model)
    return run is not None and not holds(run, run.holdout, now)


def check_holdout(lens: Lens, books: Books) -> None:
    """Refuse a holdout that could not be kept or judged, by the view of a policy that is to be in force.

    Raises:
        UnknownName: It keeps a version that does not exist.
        Conflict: The share of those who are drawn among arms would change under way.
        InputError: The loss has no bounds.
    """
    wanted, model = lens.policy.serving.holdout, lens.policy.model
    share = 0.0 if wanted is None else wanted.share
    if share != held_share(books.documents, model) and (going := under_way(books.documents, model)):
        raise Conflict(
            f"{going} is under way; the share that is held out cannot change before its end",
            field="serving.holdout.share",
        )
    if wanted is not None:
        versions.find(books.documents, model, wanted.version)
        judge_of(lens, wanted.error, None)


def judge_of(lens: Lens, error: float, centre: float | None) -> Canary:
    """The judge of all others against the held out: whether they are worse, and whether they are better."""
    if not lens.is_bounded:
        raise InputError(
            f"a holdout is compared by a bounded loss; {lens.loss.name} has no bound that can be weighed: "
            "write one with a cap",
            field="serving.holdout",
        )
    return Canary(
        bound=lens.bound, floor=lens.floor, centre=centre, error=error, roll_back_if_worse_by=0.0,
        promote_if_within=0.0, missing=str(lens.policy.labels.missing),
    )  # fmt: skip


def judge_holdout(acting: Acting, units: Units, lens: Lens, run: HeldOut, rows: Rows) -> None:
    """Judge rows of units that are seen for the first time in this period, in prediction order."""
    held, others = held_and_served(rows.role, rows.propensity, share=run.holdout.share)
    held &= rows.version == run.holdout.version
    drawn = rows.pick((held | others) & (rows.seq > run.first_seq))
    fresh = drawn.pick(units.first(drawn.unit))
    if not len(fresh):
        return
    judge = judge_of(lens, run.holdout.error, _centre(acting, lens, run))
    served = held_and_served(fresh.role, fresh.propensity, share=run.holdout.share)[1]
    evidence = Assigned(
        loss=lens.matured_scores(fresh),
        is_canary=served,
        propensity=np.full(len(fresh), 1.0 - run.holdout.share),
    )
    judged, comparison = judge.update(run.judged or judge.start(), evidence)
    worse, better = comparison.roll_back, comparison.promote
    for name, verdict in (("worse", worse), ("better", better)):
        acting.books.put_point(acting.model, Point(
            at=acting.now, watch=f"{HOLDOUT}: {name}", version=run.holdout.version, kind=verdict.kind,
            evidence=verdict.evidence, threshold=verdict.threshold, rows=len(fresh),
            labelled=lens.labelled(fresh), effect=verdict.effect,
        ))  # fmt: skip
    alarms = worse.kind is VerdictKind.ALARM and not run.told
    if alarms:
        _tell(acting, run, worse)
    keep(acting.books.documents, acting.model, msgspec.structs.replace(
        run, judged=judged, worse=worse, better=better, told=run.told or alarms,
        held=run.held + int((~served).sum()), others=run.others + int(served.sum()),
    ))  # fmt: skip


def _tell(acting: Acting, run: HeldOut, verdict: Verdict) -> None:
    """Notify whom the policy names, once in a period."""
    reason = f"all others are worse than version {run.holdout.version}, which is held out: {verdict.reason}"
    for entry in acting.books.policy(acting.model).on.get(HOLDOUT, ()):
        for verb, target in entry.items():
            acting.propose(Proposal(verb=verb, target=target, reason=reason), HOLDOUT, verdict)


def _centre(acting: Acting, lens: Lens, run: HeldOut) -> float | None:
    reference = version_under(acting.books.documents, lens, run.holdout.version).manifest.reference
    return None if reference is None or not lens.is_of(reference.loss) else reference.mean
