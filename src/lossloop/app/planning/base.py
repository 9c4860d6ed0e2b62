"""What a plan says. It counts as the promise does, outcomes or blocks; infinite where a year is too short."""

from __future__ import annotations

from lossloop.core.clock import Micros
from lossloop.core.records import Record


class Effect(Record, frozen=True):
    """A rise of the loss, and how long until a watch tells it."""

    share: float
    """Of the mean loss: .05 for +5%."""
    rise: float
    """In the loss's unit."""
    half: float
    """Blocks or outcomes that are enough in half of the futures; infinite where a year is not."""
    most: float
    """Enough in nine of ten."""
    half_time: Micros | None
    """How long that is at the present traffic; None where it is infinite, or nobody knows the traffic."""
    most_time: Micros | None


class WatchPlan(Record, frozen=True):
    """What to expect of one watch."""

    watch: str
    asks: str
    promise: str
    counts: str
    unplanned: str = ""
    """Why nothing can be said, if nothing can."""
    source: str = ""
    """What the losses of the futures are drawn from."""
    mean: float = 0.0
    """The mean loss of a healthy future."""
    limit: float = 0.0
    per_day: float = 0.0
    """Blocks or outcomes a day, at the present traffic."""
    false_in_year: float = 0.0
    """The share of healthy years with an alarm."""
    effects: tuple[Effect, ...] = ()
    week_half: float | None = None
    """The least rise, as a share of the mean, that a week shows in half of the futures; None if none does."""
    week_most: float | None = None
    """In nine of ten."""
    warnings: tuple[str, ...] = ()


class StepPlan(Record, frozen=True):
    """One stage of a rollout."""

    stage: str
    """``shadow``, or ``canary``."""
    share: float
    counts: str
    certify_half: float
    """Blocks or outcomes until a challenger that is as good is certified, in half of the futures."""
    certify_most: float
    refuse_half: float
    """Until one that is worse by twice the margin is given up."""
    refuse_most: float
    certify_time: Micros | None
    """How long the certificate takes in nine of ten futures."""
    refuse_time: Micros | None


class Plan(Record, frozen=True):
    """What a policy will need, before anyone waits for it."""

    model: str
    policy: str
    loss: str
    unit: str
    predictions_per_day: float
    missing: float
    """The share of predictions without an outcome at the judging age."""
    watches: tuple[WatchPlan, ...] = ()
    rollout: tuple[StepPlan, ...] = ()
    rollout_unplanned: str = ""
    rollout_promise: str = ""
    """What the next rollout may use of the error that all rollouts share; empty where each has its own."""
    warnings: tuple[str, ...] = ()
    futures: int = 0
