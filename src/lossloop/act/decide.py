"""From a verdict to decisions: pure. What may not be done is a decision too; its status says why."""

from __future__ import annotations

from collections.abc import Iterable

from lossloop.act.policy import Mode, Policy, Verb
from lossloop.core.clock import Micros
from lossloop.core.records import Decision, Record

DONE, WOULD_HAVE, FROZEN = "done", "would_have", "frozen"
OVER_BUDGET, AWAITS_APPROVAL, SKIPPED = "over_budget", "awaits_approval", "skipped"


class Proposal(Record, frozen=True):
    """An action that an alarm asks for."""

    verb: str
    reason: str
    version: int | None = None
    target: str = ""


class Standing(Record, frozen=True):
    """What has to be known of a model to answer an alarm."""

    promoted_at: Micros | None = None
    """When a rollout made it champion; None for a first champion."""
    previous: int | None = None
    """The champion before it."""


def answer(policy: Policy, watch: str, standing: Standing, *, now: Micros) -> list[Proposal]:
    """What an alarm asks for: back to `previous` within probation, else what the policy lists.

    Only a version that was champion is gone back to, and only soon after it was replaced: later the world
    has moved, and the cure is a new model.
    """
    listed = [(verb, target) for entry in policy.on.get(watch, ()) for verb, target in entry.items()]
    proposals: list[Proposal] = []
    on_probation = standing.promoted_at is not None and now < standing.promoted_at + policy.probation
    if on_probation and standing.previous is not None:
        reason = f"alarm of {watch!r} within probation: back to version {standing.previous}"
        proposals.append(Proposal(verb="roll_back", version=standing.previous, reason=reason))
        listed = [(verb, target) for verb, target in listed if verb is not Verb.RETRAIN]
    proposals += [Proposal(verb=verb, target=target, reason=f"alarm of {watch!r}") for verb, target in listed]
    return proposals


def gate(policy: Policy, verb: str, past: Iterable[Decision], *, frozen: bool, now: Micros) -> str:
    """Whether an action may be done now: its status as a decision.

    To notify is always allowed: people are told also of what was not done. To ramp and to refuse need no
    approval of their own, since they belong to a rollout that somebody or something allowed.
    """
    if verb == "notify":
        return OVER_BUDGET if _spent(policy, verb, past, now) else DONE
    if frozen:
        return FROZEN
    if policy.mode is Mode.OBSERVE:
        return WOULD_HAVE
    if verb in policy.approve:
        return AWAITS_APPROVAL
    return OVER_BUDGET if _spent(policy, verb, past, now) else DONE


def _spent(policy: Policy, verb: str, past: Iterable[Decision], now: Micros) -> bool:
    quota = policy.budget.get(verb)
    if quota is None:
        return False
    recent = [
        d
        for d in past
        if d.action == verb and d.status == DONE and d.by == "policy" and d.at > now - quota.span
    ]
    return len(recent) >= quota.most
