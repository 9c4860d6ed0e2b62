"""An experiment begun, judged and moved: every arm against the champion, on rows drawn at random.

Between one arm and the champion a row that went to either had the chance of the arm's share in both shares
together. The shares never change under way: units of an arm that was given up get the champion's answers, and
are no evidence on it. So each arm has a comparison like that of a canary.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lossloop.act.decide import AWAITS_APPROVAL, DONE, Proposal
from lossloop.act.experiment import Contender, Experiment, Step, apply, judged, propose, remember, rest
from lossloop.act.policy import EXPERIMENT, ExperimentPlan
from lossloop.app.acting import Acting, check_free
from lossloop.app.books import Books, Point
from lossloop.app.drawing import in_experiment
from lossloop.app.experiments import experiment_of, past_experiments, put_experiment
from lossloop.app.holdouts import held_share, only_words
from lossloop.app.judging import MOST, Lens
from lossloop.app.references import version_under
from lossloop.app.releases import part_of_arm
from lossloop.core.clock import Micros
from lossloop.core.errors import InputError
from lossloop.core.ids import digest
from lossloop.core.records import Verdict, VerdictKind
from lossloop.core.traffic import Arm
from lossloop.judges import Assigned, Canary, CanaryState
from lossloop.ledger.joined.table import Rows
from lossloop.ledger.joined.units import Units

_KIND = "experiment_arm"
MOST_ARMS = 20
LEAST_SHARE = 0.0001


def start(acting: Acting, wanted: Sequence[Arm], plan: ExperimentPlan, *, reason: str, by: str) -> Experiment:
    """Give versions their shares of the traffic, side by side.

    Raises:
        Conflict: There is no champion to compare with, it is one of them, or units are drawn already.
        InputError: The shares leave nothing to the champion, or the arms could not be judged.
    """
    champion = check_free(acting, [arm.version for arm in wanted])
    arms = tuple(Contender(version=arm.version, share=arm.share) for arm in wanted)
    _check_shares(arms)
    books = acting.books
    number = len(past_experiments(books.documents, acting.model)) + 1
    experiment = Experiment(
        id=f"{number:06d}", model=acting.model, champion=champion, arms=arms, plan=plan, started=acting.now,
        since=acting.now, first_seq=acting.last_seq, held_out=held_share(books.documents, acting.model),
        salt=digest(acting.salt, acting.model, EXPERIMENT, str(number))[:16],
    )  # fmt: skip
    judge_of(books.lens(acting.model), experiment, None)
    _drop_evidence(acting, experiment)
    acting.judge_rows_from_here()
    put_experiment(books.documents, experiment)
    for arm in arms:
        acting.record(
            action="start_experiment", status=DONE, reason=reason, watch=EXPERIMENT, version=arm.version,
            share=arm.share, by=by,
        )  # fmt: skip
    acting.route()
    return experiment


def _check_shares(arms: tuple[Contender, ...]) -> None:
    if not 1 <= len(arms) <= MOST_ARMS:
        raise InputError(f"an experiment has 1 to {MOST_ARMS} arms beside the champion", field="arms")
    if len({arm.version for arm in arms}) < len(arms):
        raise InputError("an arm is named twice", field="arms")
    for arm in arms:
        if not LEAST_SHARE <= arm.share < 1:
            raise InputError(
                f"the share of version {arm.version} must lie between {LEAST_SHARE:.2%} and 100%, not at "
                f"{arm.share:g}",
                field="arms",
            )
    if rest(arms) < LEAST_SHARE:
        raise InputError(
            f"the arms have {1 - rest(arms):.0%} together; leave some to the champion, for comparison",
            field="arms",
        )


def judge_experiment(acting: Acting, units: Units, lens: Lens, experiment: Experiment, rows: Rows) -> None:
    """Judge rows that were drawn, each unit's first in the experiment, in prediction order."""
    mine = in_experiment(
        rows.role, rows.version, rows.propensity, shares=experiment.shares, held_out=experiment.held_out
    )
    drawn = rows.pick(mine & (rows.seq > experiment.first_seq))
    fresh = drawn.pick(units.first(drawn.unit))
    found: dict[int, tuple[Verdict, bool]] = {}
    seen: dict[int, int] = {}
    for arm in experiment.arms:
        two = fresh.pick(np.isin(fresh.version, (experiment.champion, arm.version)))
        if arm.closed or not len(two):
            continue
        found[arm.version] = _judge_arm(acting, lens, experiment, arm, two)
        seen[arm.version] = lens.labelled(two.pick(two.version == arm.version))
    if found:
        put_experiment(acting.books.documents, judged(experiment, seen, found))


def _judge_arm(
    acting: Acting, lens: Lens, experiment: Experiment, arm: Contender, rows: Rows
) -> tuple[Verdict, bool]:
    """What rows of an arm and the champion say, and whether the arm was shown to be better."""
    documents, key = acting.books.documents, f"{acting.model}/{arm.version:09d}"
    judge = judge_of(lens, experiment, _centre(acting, lens, experiment))
    chance = arm.share / (arm.share + rest(experiment.arms))
    evidence = Assigned(
        loss=lens.matured_scores(rows), is_canary=rows.version == arm.version,
        propensity=np.full(len(rows), chance),
    )  # fmt: skip
    state, comparison = judge.update(documents.get(_KIND, key, CanaryState) or judge.start(), evidence)
    documents.put(_KIND, key, state)
    for name, verdict in (("roll back", comparison.roll_back), ("promote", comparison.promote)):
        acting.books.put_point(acting.model, Point(
            at=acting.now, watch=f"{EXPERIMENT}: {name}", version=arm.version, kind=verdict.kind,
            evidence=verdict.evidence, threshold=verdict.threshold, rows=len(rows),
            labelled=lens.labelled(rows), effect=verdict.effect,
        ))  # fmt: skip
    return comparison.verdict, comparison.promote.kind is VerdictKind.BETTER


def judge_of(lens: Lens, experiment: Experiment, centre: float | None) -> Canary:
    """The judge of each arm of an experiment."""
    if not lens.is_bounded:
        raise InputError(
            f"arms are compared by a bounded loss of at most {MOST:g}; write {lens.loss.name} with a cap",
            field="loss",
        )
    plan, part = experiment.plan, part_of_arm(experiment.plan, len(experiment.arms))
    return Canary(
        floor=lens.floor, bound=lens.bound, roll_back_if_worse_by=plan.worse_by,
        promote_if_within=-plan.better_by, error=part.error, centre=centre,
        words=part.words, missing=str(lens.policy.labels.missing),
    )  # fmt: skip


def moves(books: Books, model: str, now: Micros) -> bool:
    """Whether time alone moves an experiment."""
    experiment = experiment_of(books.documents, model)
    return experiment is not None and not experiment.told and propose(experiment, now=now) is not None


def move_experiment(acting: Acting) -> None:
    """Let an experiment take its next steps."""
    while True:
        before = experiment_of(acting.books.documents, acting.model)
        step = None if before is None else propose(before, now=acting.now)
        if before is None or step is None or not _follow(acting, before, step):
            return


def _follow(acting: Acting, experiment: Experiment, step: Step) -> bool:
    """Make a step, or record once why it may not be made; whether it was made."""
    status, reason = acting.status(step.verb), step.reason
    if step.verb == "promote" and experiment.plan.only and status == DONE:
        status, reason = AWAITS_APPROVAL, f"{reason}; judged only {only_words(experiment.plan.only)}"
    told = f"{step.verb}:{step.version}:{status}"
    if status != DONE and experiment.told == told:
        return False
    arm = next((each for each in experiment.arms if each.version == step.version), None)
    acting.record(
        action=step.verb, status=status, reason=reason, watch=EXPERIMENT, version=step.version,
        share=(1.0 if step.verb == "promote" else 0.0) if status == DONE else None,
        verdict=None if arm is None else arm.verdict,
    )  # fmt: skip
    done = status == DONE
    moved = apply(experiment, step, now=acting.now) if done else remember(experiment, told)
    put_experiment(acting.books.documents, moved)
    if done:
        if step.verb == "promote" and step.version is not None:
            acting.enthrone(step.version, reason="promoted by its experiment", by_rollout=True)
        if not moved.running:
            _drop_evidence(acting, moved)
        acting.route()
    _tell(acting, step, status, reason)
    return done


def end(acting: Acting, champion: int | None) -> bool:
    """Take a running experiment off the traffic, as an operator's act asks for, who may name a champion.

    Returns whether one was running.
    """
    experiment = experiment_of(acting.books.documents, acting.model)
    if experiment is None or not experiment.running:
        return False
    won = any(arm.version == champion for arm in experiment.arms)
    step = Step(verb="promote" if won else "stop", version=champion, reason="")
    put_experiment(acting.books.documents, apply(experiment, step, now=acting.now))
    _drop_evidence(acting, experiment)
    return True


def _drop_evidence(acting: Acting, experiment: Experiment) -> None:
    for arm in experiment.arms:
        acting.books.documents.drop(_KIND, f"{acting.model}/{arm.version:09d}")


def _tell(acting: Acting, step: Step, status: str, reason: str) -> None:
    words = f"{step.verb.replace('_', ' ')} ({status.replace('_', ' ')}): {reason}"
    for entry in acting.books.policy(acting.model).on.get(EXPERIMENT, ()):
        for verb, target in entry.items():
            acting.propose(Proposal(verb=verb, target=target, reason=words), EXPERIMENT, None)


def _centre(acting: Acting, lens: Lens, experiment: Experiment) -> float | None:
    reference = version_under(acting.books.documents, lens, experiment.champion).manifest.reference
    return None if reference is None or not lens.is_of(reference.loss) else reference.mean
