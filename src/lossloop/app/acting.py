"""Decisions carried out on our own state, in the transaction of the facts that they follow from.

Outside effects (retrain, notify) only go into the outbox here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from lossloop.act import outbox
from lossloop.act.decide import AWAITS_APPROVAL, DONE, SKIPPED, Proposal, gate
from lossloop.act.policy import ROLLOUT, Plan
from lossloop.act.rollout import Move, Rollout, Stage, apply, begin, next_number, remember
from lossloop.app.books import Books, Crowned
from lossloop.app.experiments import experiment_of, under_way
from lossloop.app.gated import drop_gated
from lossloop.app.holdouts import held_out, held_share, only_words
from lossloop.app.judging import Lens
from lossloop.app.reading import plain
from lossloop.app.reigns import crown
from lossloop.app.watches import needs_rows
from lossloop.core.clock import Micros
from lossloop.core.errors import Conflict
from lossloop.core.ids import digest
from lossloop.core.records import Decision, Verdict
from lossloop.core.traffic import Arm, Traffic
from lossloop.registry import CHALLENGER, CHAMPION, PREVIOUS, versions


class Acting:
    """Carries out what was decided for one model, at one moment of the fold."""

    def __init__(self, books: Books, model: str, *, now: Micros, last_seq: int, salt: str) -> None:
        self.books = books
        self.model = model
        self.now = now
        self.last_seq = last_seq
        self.salt = salt
        self.decided: list[Decision] = []

    # What a verdict asks for.

    def status(self, verb: str) -> str:
        """Whether an action may be done now."""
        past = self.books.decisions(self.model)
        return gate(
            self.books.policy(self.model), verb, past, frozen=self.books.frozen() is not None, now=self.now
        )

    def follow(self, rollout: Rollout, move: Move, verdict: Verdict | None) -> Rollout:
        """Make a rollout's move, or record once why it may not be made."""
        status, reason = self.status(move.verb), move.reason
        if move.verb == "promote" and rollout.plan.only and status == DONE:
            # The rest of the rows has never met it: that is for a person to decide.
            status, reason = AWAITS_APPROVAL, f"{reason}; judged only {only_words(rollout.plan.only)}"
        told = f"{move.verb}:{status}"
        if status != DONE and rollout.told == told:
            return rollout
        # The decision comes first: what it says about the outcomes and the share is of this moment.
        self.record(
            action=move.verb, status=status, reason=reason, watch="rollout", version=rollout.challenger,
            share=move.share if status == DONE else None, verdict=verdict,
        )  # fmt: skip
        moved = apply(rollout, move.verb, now=self.now) if status == DONE else remember(rollout, told)
        self.books.put_rollout(moved)
        if status == DONE:
            self._after(moved)
        self._tell(move, status, verdict)
        return moved

    def _tell(self, move: Move, status: str, verdict: Verdict | None) -> None:
        """Notify whom the policy names of a rollout's end, or of one that may not come about by itself."""
        if move.verb == "ramp":
            return
        reason = f"{move.verb.replace('_', ' ')} ({status.replace('_', ' ')}): {move.reason}"
        for entry in self.books.policy(self.model).on.get(ROLLOUT, ()):
            for verb, target in entry.items():
                self.propose(Proposal(verb=verb, target=target, reason=reason), ROLLOUT, verdict)

    def _after(self, rollout: Rollout) -> None:
        if rollout.stage is Stage.PROMOTED:
            self.enthrone(rollout.challenger, reason="promoted by its rollout", by_rollout=True)
        if rollout.stage is Stage.CANARY:
            self.books.documents.drop("shadow", self.model)
        if not rollout.running:
            self._dethrone_challenger(reason=f"rollout {rollout.stage}")
        self.route()

    def propose(self, proposal: Proposal, watch: str, verdict: Verdict | None) -> str:
        """Do what an alarm asks for, or say why not; return the status."""
        status, reason = self.status(proposal.verb), proposal.reason
        if status == DONE and proposal.verb == "retrain" and (obstacle := self._obstacle()):
            status, reason = SKIPPED, f"{reason}; {obstacle}"
        decision = self.record(
            action=proposal.verb, status=status, reason=reason, watch=watch, version=proposal.version,
            target=proposal.target, verdict=verdict,
        )  # fmt: skip
        if status == DONE:
            self._do(proposal, decision)
        return status

    def _obstacle(self) -> str:
        if going := under_way(self.books.documents, self.model):
            return f"{going} is under way"
        if any(e.verb == "retrain" and e.model == self.model for e in outbox.pending(self.books.documents)):
            return "a retraining is under way"
        return ""

    def _do(self, proposal: Proposal, decision: Decision) -> None:
        if proposal.verb == "roll_back" and proposal.version is not None:
            self.go_back(proposal.version, reason=proposal.reason)
            self.route()
        else:
            self._enqueue(decision)

    def _enqueue(self, decision: Decision) -> None:
        effect = outbox.Effect(
            key=decision.id, verb=decision.action, model=self.model, target=decision.target, at=self.now,
            body=plain(decision),
        )  # fmt: skip
        outbox.enqueue(self.books.documents, effect)

    # What changes our own state.

    def enthrone(self, version: int, *, reason: str, by_rollout: bool = False) -> None:
        """Make a version the champion; its watches begin anew, against its own reference."""
        versions.enthrone(self.books.documents, self.model, version, at=self.now, reason=reason)
        self._crown(version, by_rollout=by_rollout)

    def go_back(self, version: int, *, reason: str) -> None:
        """Make a champion of before the champion again."""
        versions.dethrone(self.books.documents, self.model, version, at=self.now, reason=reason)
        self._crown(version, by_rollout=False)

    def _crown(self, version: int, *, by_rollout: bool) -> None:
        crowned = Crowned(version=version, at=self.now, seq=self.last_seq, by_rollout=by_rollout)
        crown(self.books.documents, self.model, crowned)

    def start_rollout(self, version: int, plan: Plan, *, reason: str, by: str) -> Rollout:
        """Put a version on its way into the traffic.

        Raises:
            Conflict: There is no champion to compare with, it is this version, or a rollout is under way.
            InputError: The challenger could not be judged under this plan.
        """
        champion = check_free(self, (version,))
        past = self.books.past_rollouts(self.model)
        shared, number = next_number(past, plan), len(past) + 1
        _check_judges(self.books.lens(self.model), plan, shared)
        rollout = begin(
            id=f"{number:06d}", model=self.model, champion=champion, challenger=version, plan=plan,
            at=self.now, first_seq=self.last_seq, salt=digest(self.salt, self.model, str(number))[:16],
            number=shared,
        )  # fmt: skip
        rollout = msgspec.structs.replace(rollout, held_out=held_share(self.books.documents, self.model))
        self._drop_evidence()
        self.books.put_rollout(rollout)
        self.judge_rows_from_here()
        versions.move(self.books.documents, self.model, CHALLENGER, version, at=self.now, reason=reason)
        self.record(
            action="start_rollout", status=DONE, reason=reason, watch="rollout", version=version,
            share=rollout.share, by=by,
        )  # fmt: skip
        self.route()
        return rollout

    def command(
        self, action: str, version: int | None, reason: str, *, share: float | None = None,
        by: str = "operator", watch: str = "operator",
    ) -> None:  # fmt: skip
        """Record what an operator, or a server, had done."""
        self.record(
            action=action, status=DONE, reason=reason, version=version, share=share, by=by, watch=watch
        )

    def end_rollout(self, stage: str) -> None:
        """Take a running rollout off the traffic, as an operator's act asks for."""
        rollout = self.books.rollout(self.model)
        if rollout is not None and rollout.running:
            self.books.put_rollout(apply(rollout, stage, now=self.now))
            self._dethrone_challenger(reason=f"rollout ended by an operator ({stage})")

    def route(self) -> None:
        """Write the traffic that champion and rollout ask for; the servers follow it."""
        champion = versions.alias(self.books.documents, self.model, CHAMPION)
        policy = self.books.policy(self.model)
        previous = versions.alias(self.books.documents, self.model, PREVIOUS)
        traffic = Traffic(
            model=self.model, task=policy.task, champion=champion, serving=policy.serving,
            previous=previous if policy.serving.fallback.previous else None,
        )  # fmt: skip
        if (run := held_out(self.books.documents, self.model)) is not None:
            traffic = msgspec.structs.replace(traffic, holdout_salt=run.salt)
        rollout, experiment = self.books.rollout(self.model), experiment_of(self.books.documents, self.model)
        if experiment is not None and experiment.running:
            arms = tuple(Arm(version=e.version, share=e.share, closed=e.closed) for e in experiment.arms)
            traffic = msgspec.structs.replace(
                traffic, arms=arms, salt=experiment.salt, only=experiment.plan.only
            )
        elif rollout is not None and rollout.running:
            traffic = msgspec.structs.replace(
                traffic, arms=(Arm(version=rollout.challenger, share=rollout.share),),
                shadow=rollout.stage is Stage.SHADOW, salt=rollout.salt, only=rollout.plan.only,
            )  # fmt: skip
        self.books.documents.put("traffic", self.model, traffic)

    def _drop_evidence(self) -> None:
        for kind in ("shadow", "canary"):
            self.books.documents.drop(kind, self.model)
        drop_gated(self.books.documents, self.model)

    def judge_rows_from_here(self) -> None:
        """Pass over rows from before, which say nothing about what begins, unless something needs them."""
        lens = self.books.lens(self.model)
        if not needs_rows(lens) and held_out(self.books.documents, self.model) is None:
            cursor = msgspec.structs.replace(self.books.cursor(self.model), seq=self.last_seq)
            self.books.documents.put("cursor", self.model, cursor)

    def _dethrone_challenger(self, *, reason: str) -> None:
        self._drop_evidence()
        versions.move(self.books.documents, self.model, CHALLENGER, None, at=self.now, reason=reason)

    def record(self, **fields: Any) -> Decision:
        """Keep a decision."""
        number = self.books.counts(self.model).decisions
        decision = Decision(
            id=f"{self.model}/{number:06d}", at=self.now, model=self.model,
            outcomes=self.books.counts(self.model).outcomes, **fields,
        )  # fmt: skip
        self.books.documents.put("decision", decision.id, decision)
        self.books.add_counts(self.model, decisions=1)
        self.decided.append(decision)
        return decision


def check_free(acting: Acting, wanted: Iterable[int]) -> int:
    """The champion, where some versions may take a part of its traffic.

    Raises:
        UnknownName: There is no such version.
        Conflict: There is no champion to compare with, it is one of them, or others have a part already.
    """
    for version in wanted:
        versions.find(acting.books.documents, acting.model, version)
        champion = versions.alias(acting.books.documents, acting.model, CHAMPION)
        if champion is None:
            command = f"lossloop promote {acting.model} {version}"
            raise Conflict(f"{acting.model} has no champion to compare with; run: {command}")
        if champion == version:
            raise Conflict(f"version {version} is the champion already")
    if going := under_way(acting.books.documents, acting.model):
        raise Conflict(f"{going} is under way; roll it back or wait")
    return versions.alias(acting.books.documents, acting.model, CHAMPION) or 0


def _check_judges(lens: Lens, plan: Plan, number: int) -> None:
    """Raise InputError where a rollout could not be judged: a plan may be changed for one release."""
    lens.canary(plan, None, number=number)
    if plan.shadow:
        lens.shadow(plan, number=number)
