"""How much is measured of the judges."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class JudgeSizes:
    """Counts of outcomes and streams; the figures' names are those of FULL."""

    repeats: int
    """Repetitions, of which the median is told."""
    outcomes: int
    """Of one stream, in batches."""
    single: int
    """Of one stream, one at a time."""
    streams: int
    """Side by side."""
    delays: int
    """Streams over which a mean delay is taken."""
    healthy: int
    """Streams over which false alarms of a promise are counted."""
    horizon: int
    """Outcomes within which they are counted."""
    states: int
    """Of the chain that gives the oracle's mean delay."""
    peers: int
    """Streams that every peer sees, in each cell."""
    slow: int
    """The same of a peer that takes long."""
    until: int
    """Outcomes after the change within which a delay is looked for."""


FULL = JudgeSizes(
    repeats=5, outcomes=2_000_000, single=50_000, streams=10_000, delays=4_000, healthy=1_000,
    horizon=10_000, states=1_200, peers=200, slow=50, until=20_000,
)  # fmt: skip
QUICK = JudgeSizes(
    repeats=1, outcomes=20_000, single=200, streams=200, delays=40, healthy=40,
    horizon=500, states=100, peers=10, slow=5, until=500,
)  # fmt: skip
"""Enough to see that everything works; its figures say nothing."""
