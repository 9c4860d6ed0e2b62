"""How much is measured."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """Counts of rows, batches and repetitions; the figures' names are those of FULL."""

    repeats: int
    """Repetitions, of which the median is told."""
    warm_up: int
    """Requests before the clock starts, as large as those that are measured."""
    arrow_requests: int
    json_requests: int
    single_requests: int
    """Requests a repetition."""
    open: int
    """Predictions without an outcome, where outcomes are joined."""
    large_batch: int
    large_batches: int
    small_batch: int
    small_batches: int
    """Batches a repetition."""
    sustained_s: float
    rate: float
    """Seconds, and requests a second each way."""
    many: int
    """Predictions in memory, and of which a loss is recomputed."""
    written: int
    """Small batches that each writer to PostgreSQL appends a repetition."""
    open_on_postgres: int


FULL = Sizes(
    repeats=3, warm_up=50, arrow_requests=1_200, json_requests=300, single_requests=6_000,
    open=5_000_000, large_batch=100_000, large_batches=3, small_batch=1_000, small_batches=100,
    sustained_s=25, rate=125, many=10_000_000,
    written=400, open_on_postgres=2_000_000,
)  # fmt: skip
QUICK = Sizes(
    repeats=1, warm_up=2, arrow_requests=8, json_requests=8, single_requests=64,
    open=20_000, large_batch=2_000, large_batches=2, small_batch=100, small_batches=4,
    sustained_s=1, rate=10, many=20_000,
    written=10, open_on_postgres=10_000,
)  # fmt: skip
"""Enough to see that everything works; its figures say nothing about speed."""
