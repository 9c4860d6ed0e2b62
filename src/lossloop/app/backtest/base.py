"""What a backtest is asked, and what it answers. Times are microseconds since 1970, losses in their unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lossloop.act.policy import Policy
from lossloop.app.books import Point
from lossloop.core.clock import Micros
from lossloop.core.records import Record


class Incident(Record, frozen=True):
    """A span in which something was wrong, as people marked it; `end` does not belong to it."""

    text: str
    start: Micros
    end: Micros


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A policy to try, and what it is called."""

    name: str
    policy: Policy


class Alarm(Record, frozen=True):
    """A watch would have fired."""

    at: Micros
    """When: by then the deciding predictions had reached their judging age."""
    made: Micros
    """When the last of the deciding predictions was made."""
    version: int
    block: str
    """The block that decided; empty where rows are judged."""
    evidence: float
    threshold: float
    mean: float | None
    count: int
    """How many blocks or outcomes the watch had judged of this champion."""
    reason: str = ""
    """What it said; of drift and of slices which ones."""


class Day(Record, frozen=True):
    """What a block of a champion's predictions lost: the outcomes that were known at the judging age."""

    block: str
    first: Micros
    """When its first prediction was made."""
    last: Micros
    version: int
    rows: int
    labelled: int
    mean: float | None
    """The mean loss of those with an outcome."""


class Replayed(Record, frozen=True):
    """What one watch would have said."""

    watch: str
    asks: str
    promise: str
    counts: str
    """What its promise counts: ``blocks`` or ``outcomes``."""
    points: tuple[Point, ...] = ()
    alarms: tuple[Alarm, ...] = ()
    made: tuple[Micros, ...] = ()
    """When the last prediction behind each point was made."""
    problems: tuple[str, ...] = ()
    """Why it could not judge some champions, or all."""

    def judged(self, points: Sequence[Point]) -> int:
        """How many blocks or outcomes some of its points are about."""
        return len(points) if self.counts == "blocks" else sum(point.rows for point in points)


class Saving(Record, frozen=True):
    """The loss that an action at the alarm could have saved, or why that cannot be told."""

    rows: int = 0
    """Outcomes between the alarm and the incident's end."""
    estimate: float | None = None
    """In the loss's unit, summed over those rows."""
    low: float | None = None
    """The 95% interval over blocks; None where there are too few."""
    high: float | None = None
    against: str = ""
    """What the loss is compared with."""
    why: str = ""
    """Why it cannot be told."""


class Met(Record, frozen=True):
    """What became of one incident under one watch."""

    incident: str
    alarm: Micros | None
    """When it would have fired first; None if it would not."""
    delay: Micros | None
    """From the incident's start."""
    judged: int
    """Blocks or outcomes of the incident that were judged by then, or in all."""
    saving: Saving


class Account(Record, frozen=True):
    """One watch of one policy: what it would have said, and what that is worth."""

    replayed: Replayed
    met: tuple[Met, ...] = ()
    false_alarms: int | None = None
    """Alarms outside every incident; None where none was marked."""
    quiet: int = 0
    """Blocks or outcomes judged outside every incident."""


class Outcome(Record, frozen=True):
    """One policy tried on the past."""

    policy: str
    loss: str
    unit: str
    in_force: bool
    """Whether it judges as the policy in force does."""
    accounts: tuple[Account, ...] = ()
    days: tuple[Day, ...] = ()
    notes: tuple[str, ...] = ()


class Backtest(Record, frozen=True):
    """Policies side by side over the same past."""

    model: str
    since: Micros
    until: Micros
    rows: int
    incidents: tuple[Incident, ...]
    outcomes: tuple[Outcome, ...]
    seconds: float = 0.0
