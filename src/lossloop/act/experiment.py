"""The experiment: several versions beside the champion at fixed shares, until one is shown to be better.

    running ──time is over, or every arm is decided──> promoted: the best of those shown to be better
       │                                         └───> stopped: none was
       └──an arm is shown to be worse──> it is given up; the others go on

Every arm is compared with the champion, and `error` is shared out among the arms alike: so the chance that
any arm is promoted which is not better, and the chance that any is given up which is not worse, stay what
they say however often anyone looks and whichever arm is taken in the end.

As a rollout, it proposes a step; whether that may happen is decided elsewhere, then `apply` carries it on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import StrEnum

import msgspec

from lossloop.act.policy import ExperimentPlan
from lossloop.core.clock import Micros, format_duration
from lossloop.core.records import Record, Verdict, VerdictKind


class Course(StrEnum):
    """Where an experiment stands."""

    RUNNING = "running"
    PROMOTED = "promoted"
    STOPPED = "stopped"


class Contender(Record, frozen=True):
    """An arm beside the champion, and how it stands."""

    version: int
    share: float
    closed: bool = False
    """It was given up."""
    certified: bool = False
    """It was shown to be better; that is not taken back."""
    seen: int = 0
    """Its outcomes that were judged."""
    verdict: Verdict | None = None
    """The last one on it against the champion."""


class Experiment(Record, frozen=True):
    """One comparison of several versions with the champion."""

    id: str
    model: str
    champion: int
    arms: tuple[Contender, ...]
    salt: str
    plan: ExperimentPlan
    started: Micros
    since: Micros
    """When it ended, or an arm was given up last."""
    first_seq: int
    """Predictions behind this one belong to the experiment."""
    course: Course = Course.RUNNING
    held_out: float = 0.0
    """The share of units that is not drawn, as they are held out."""
    told: str = ""
    """The last proposal that could not be followed, so that it is recorded once."""

    @property
    def running(self) -> bool:
        return self.course is Course.RUNNING

    @property
    def shares(self) -> dict[int, float]:
        """The share of each version among the units that are drawn; those of arms given up stay apart."""
        return {self.champion: rest(self.arms), **{arm.version: arm.share for arm in self.arms}}

    @property
    def best(self) -> Contender | None:
        """The arm with the least loss as it looks now, among those that go on; None before any was judged."""
        looked = [
            arm for arm in self.arms if not arm.closed and arm.verdict is not None and arm.verdict.effect
        ]
        return min(looked, key=_estimate, default=None)

    @property
    def winner(self) -> Contender | None:
        """Of the arms shown to be better than the champion, the one that looks best; None without any."""
        shown = [arm for arm in self.arms if arm.certified and not arm.closed]
        return min(shown, key=_estimate, default=None)


class Step(Record, frozen=True):
    """What an experiment proposes to do next."""

    verb: str
    """``promote``, ``roll_back`` (an arm is given up) or ``stop``."""
    reason: str
    version: int | None = None
    """The arm that it concerns."""


def rest(arms: tuple[Contender, ...]) -> float:
    """The champion's share."""
    return 1.0 - math.fsum(arm.share for arm in arms)


def propose(experiment: Experiment, *, now: Micros) -> Step | None:
    """What to do next; None to go on as it is."""
    if not experiment.running:
        return None
    going = [arm for arm in experiment.arms if not arm.closed]
    for arm in going:
        if arm.verdict is not None and arm.verdict.kind is VerdictKind.ALARM:
            return Step(verb="roll_back", version=arm.version, reason=arm.verdict.reason)
    if not going:
        return Step(verb="stop", reason="every arm was given up")
    over = now >= experiment.started + experiment.plan.decide_within
    if not over and not all(arm.certified for arm in going):
        return None
    span = format_duration(experiment.plan.decide_within)
    winner = experiment.winner
    if winner is None:
        return Step(verb="stop", reason=f"no arm was shown to be better within {span}")
    said = "" if winner.verdict is None else f": {winner.verdict.reason}"
    of = "the only arm" if len(going) == 1 else f"the best of {sum(arm.certified for arm in going)}"
    return Step(verb="promote", version=winner.version, reason=f"{of} shown to be better{said}")


def apply(experiment: Experiment, step: Step, *, now: Micros) -> Experiment:
    """The experiment after a step was made."""
    if step.verb == "roll_back":
        arms = tuple(
            msgspec.structs.replace(arm, closed=True) if arm.version == step.version else arm
            for arm in experiment.arms
        )
        return msgspec.structs.replace(experiment, arms=arms, since=now, told="")
    course = Course.PROMOTED if step.verb == "promote" else Course.STOPPED
    return msgspec.structs.replace(experiment, course=course, since=now, told="")


def judged(
    experiment: Experiment, seen: Mapping[int, int], found: Mapping[int, tuple[Verdict, bool]]
) -> Experiment:
    """The experiment after some arms were judged.

    Args:
        experiment: Before.
        seen: How many more outcomes of each version were judged.
        found: By version, what was said of it, and whether it was shown to be better.
    """
    arms = tuple(
        msgspec.structs.replace(
            arm, seen=arm.seen + seen.get(arm.version, 0), verdict=found[arm.version][0],
            certified=arm.certified or found[arm.version][1],
        ) if arm.version in found else arm
        for arm in experiment.arms
    )  # fmt: skip
    return msgspec.structs.replace(experiment, arms=arms)


def remember(experiment: Experiment, told: str) -> Experiment:
    """The experiment with a proposal that could not be followed."""
    return msgspec.structs.replace(experiment, told=told)


def _estimate(arm: Contender) -> tuple[float, int]:
    """How an arm looks beside the champion; of two that look alike the older version is first."""
    effect = None if arm.verdict is None else arm.verdict.effect
    return (math.inf if effect is None else effect.estimate), arm.version
