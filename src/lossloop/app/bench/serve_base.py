"""What a part of the bench of serving has at hand, and how much it measures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from lossloop.app.bench.screen import Screen


@dataclass(frozen=True, kw_only=True)
class ServeSizes:
    """Counts of requests and repetitions."""

    repeats: int
    """Repetitions, of which the median is told."""
    warm_up: int
    """Requests before the clock starts."""
    singles: int
    many: int
    """Requests a repetition, of one row and of 64."""
    connections: int
    rate: float
    """Requests a second while versions are moved."""
    swaps: int
    rollbacks: int
    """How many of the swapped versions are rolled back first."""


FULL = ServeSizes(
    repeats=5, warm_up=2_000, singles=20_000, many=3_000, connections=64, rate=2_000, swaps=20, rollbacks=5
)
QUICK = ServeSizes(repeats=1, warm_up=20, singles=60, many=20, connections=4, rate=50, swaps=2, rollbacks=1)
"""Enough to see that everything works; its figures say nothing about speed."""


@dataclass(frozen=True, kw_only=True)
class ServeBench:
    """Where to measure, how much, and where to say what goes on."""

    directory: Path
    sizes: ServeSizes
    screen: Screen
