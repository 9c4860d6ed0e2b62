"""The rollout: a small pure machine that moves traffic from champion to challenger, or gives it back.

    shadow ──certified──> canary step 1 ──time──> step 2 ... last step ──certified──> promoted
      │ worse, or not certified in time             │ worse, or not decided in time
      └──────────────> refused                      └──────────────> rolled back

A machine proposes a Move; whether it may happen (mode, freeze, budget, approval) is decided elsewhere, and
only then `apply` carries the machine on. So a proposal that may not happen is made again, never lost.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

import msgspec

from lossloop.act.policy import ErrorOver, Plan
from lossloop.core.clock import Micros, format_duration
from lossloop.core.records import Record, VerdictKind


class Stage(StrEnum):
    """Where a rollout stands."""

    SHADOW = "shadow"
    CANARY = "canary"
    PROMOTED = "promoted"
    ROLLED_BACK = "rolled_back"
    REFUSED = "refused"


RUNNING = (Stage.SHADOW, Stage.CANARY)


class Rollout(Record, frozen=True):
    """One release's way into the traffic."""

    id: str
    model: str
    champion: int
    challenger: int
    salt: str
    plan: Plan
    stage: Stage
    started: Micros
    since: Micros
    """When the present stage or step began."""
    first_seq: int
    """Predictions behind this one belong to the rollout."""
    step: int = 0
    certified: bool = False
    blocks: int = 0
    """Blocks compared in shadow so far."""
    seen: int = 0
    """Outcomes of the challenger judged in the present step: time alone is no pass."""
    heard: tuple[str, ...] = ()
    """Gates that the challenger gave something to judge in the present step."""
    number: int = 0
    """Which of the rollouts that share one error this is, from 1; 0 where it has an error of its own."""
    told: str = ""
    """The last proposal that could not be followed, so that it is recorded once."""
    held_out: float = 0.0
    """The share of units that is not drawn, as they are held out."""

    @property
    def running(self) -> bool:
        return self.stage in RUNNING

    @property
    def share(self) -> float:
        """The challenger's share of the traffic."""
        return self.plan.steps[self.step] if self.stage is Stage.CANARY else 0.0


class Move(Record, frozen=True):
    """What a rollout proposes to do next."""

    verb: str
    """``ramp``, ``promote``, ``roll_back`` or ``refuse``."""
    share: float
    reason: str


def next_number(past: Iterable[Rollout], plan: Plan) -> int:
    """The number of the next rollout under a plan: one more than those of the past that shared one error.

    Rollouts that had an error of their own do not count, and a policy that is set anew does not begin again:
    the shares of all that are numbered never add up to more than the largest `error` among them.
    """
    if plan.error_over is ErrorOver.EACH:
        return 0
    return 1 + sum(each.plan.error_over is ErrorOver.ALL for each in past)


def begin(
    *,
    id: str,
    model: str,
    champion: int,
    challenger: int,
    salt: str,
    plan: Plan,
    at: Micros,
    first_seq: int,
    number: int = 0,
) -> Rollout:
    """A rollout in its first stage: shadow where the plan has one, else the first canary step."""
    return Rollout(
        id=id, model=model, champion=champion, challenger=challenger, salt=salt, plan=plan,
        stage=Stage.SHADOW if plan.shadow else Stage.CANARY, started=at, since=at, first_seq=first_seq,
        number=number,
    )  # fmt: skip


def propose(rollout: Rollout, verdict: VerdictKind | None, *, now: Micros, reason: str = "") -> Move | None:
    """What to do next, given the latest verdict on the comparison; None to go on as it is."""
    if not rollout.running:
        return None
    if rollout.stage is Stage.SHADOW:
        return _from_shadow(rollout, verdict, now, reason)
    return _from_canary(rollout, verdict, now, reason)


def _from_shadow(rollout: Rollout, verdict: VerdictKind | None, now: Micros, reason: str) -> Move | None:
    plan = rollout.plan
    if verdict is VerdictKind.ALARM:
        return Move(verb="refuse", share=0.0, reason=reason or "worse than the champion in shadow")
    if verdict is VerdictKind.BETTER or rollout.certified:
        return Move(verb="ramp", share=plan.steps[0], reason=reason or "certified in shadow")
    if rollout.blocks >= plan.shadow:
        return Move(verb="refuse", share=0.0, reason=f"not certified within {plan.shadow} blocks of shadow")
    # A challenger that cannot answer any more must not stand in the way of the next one for ever.
    return _undecided(rollout, now, "refuse", "not certified" if rollout.blocks else "nothing to compare")


def _from_canary(rollout: Rollout, verdict: VerdictKind | None, now: Micros, reason: str) -> Move | None:
    plan = rollout.plan
    if verdict is VerdictKind.ALARM:
        return Move(verb="roll_back", share=0.0, reason=reason or "worse than the champion")
    if now < rollout.since + plan.step_for:
        return None
    # No data is never a pass: a step of which something has not come goes on.
    if lacking := _lacking(rollout):
        return _undecided(rollout, now, "roll_back", lacking)
    if rollout.step + 1 < len(plan.steps):
        words = f"{format_duration(plan.step_for)} at {rollout.share:.0%} without evidence of harm"
        return Move(verb="ramp", share=plan.steps[rollout.step + 1], reason=words)
    if rollout.certified or verdict is VerdictKind.BETTER:
        return Move(verb="promote", share=1.0, reason="certified, and no evidence of harm on the ramp")
    return _undecided(rollout, now, "roll_back", "not certified")


def _lacking(rollout: Rollout) -> str:
    """What has not come of the challenger in the present step; empty where nothing lacks."""
    if not rollout.seen:
        return "none of the challenger's outcomes came"
    silent = [name for name in rollout.plan.gates if name not in rollout.heard]
    return f"nothing came of the challenger that the gate {silent[0]!r} could judge" if silent else ""


def _undecided(rollout: Rollout, now: Micros, verb: str, what: str) -> Move | None:
    """Give the traffic back where nothing was decided in the time that the plan allows."""
    if now < rollout.started + rollout.plan.decide_within:
        return None
    words = f"{what} within {format_duration(rollout.plan.decide_within)}"
    return Move(verb=verb, share=0.0, reason=words)


def apply(rollout: Rollout, verb: str, *, now: Micros) -> Rollout:
    """The rollout after a move was made."""
    if verb == "ramp":
        step = 0 if rollout.stage is Stage.SHADOW else rollout.step + 1
        return _set(rollout, stage=Stage.CANARY, step=step, since=now, seen=0, heard=(), told="")
    stage = {"promote": Stage.PROMOTED, "roll_back": Stage.ROLLED_BACK, "refuse": Stage.REFUSED}[verb]
    return _set(rollout, stage=stage, since=now, told="")


def certify(rollout: Rollout) -> Rollout:
    """The rollout once its challenger was shown to be no worse than the margin; that is not taken back."""
    return _set(rollout, certified=True)


def count_blocks(rollout: Rollout, blocks: int) -> Rollout:
    """The rollout after so many blocks of shadow were compared."""
    return _set(rollout, blocks=blocks)


def count_outcomes(rollout: Rollout, outcomes: int) -> Rollout:
    """The rollout after so many more outcomes of the challenger were judged."""
    return _set(rollout, seen=rollout.seen + outcomes)


def hear(rollout: Rollout, gate: str) -> Rollout:
    """The rollout once the challenger gave a gate something to judge."""
    return rollout if gate in rollout.heard else _set(rollout, heard=(*rollout.heard, gate))


def remember(rollout: Rollout, told: str) -> Rollout:
    """The rollout with a proposal that could not be followed."""
    return _set(rollout, told=told)


def _set(rollout: Rollout, **changes: object) -> Rollout:
    return msgspec.structs.replace(rollout, **changes)
