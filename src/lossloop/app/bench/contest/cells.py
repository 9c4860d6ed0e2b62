"""The nine cells: a risk of .10 becomes .12, .15 or .20 after 0, 2,000 or 10,000 healthy outcomes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]
Detector = Callable[[npt.NDArray[Any]], Array]
"""From losses, shape (streams, outcomes), to when each first alarms, from 1; infinite for never."""

RISK = 0.10
CHANGES = (0.12, 0.15, 0.20)
HEALTHY = (0, 2_000, 10_000)
HORIZON = 10_000
"""Outcomes within which false alarms are counted."""
MOST_FALSE_ALARMS = 0.05


@dataclass(frozen=True)
class Cell:
    """From where on the risk is another."""

    changed: float
    healthy: int

    def __str__(self) -> str:
        return f"{self.changed:.2f} after {self.healthy:,}"


CELLS = tuple(Cell(changed, healthy) for changed in CHANGES for healthy in HEALTHY)


@dataclass(frozen=True)
class Row:
    """How one detector did."""

    detector: str
    false_alarms: float
    """The share of healthy streams with an alarm within the horizon."""
    delays: tuple[float, ...]
    """The median delay in each of CELLS; infinite where most streams had none by the end."""

    @property
    def allowed(self) -> bool:
        """Whether its false alarms are few enough to be compared with."""
        return self.false_alarms <= MOST_FALSE_ALARMS


def stream(cell: Cell, streams: int, until: int, seed: int) -> Flags:
    """Losses of a cell, shape (streams, healthy + until); the same seed gives the same streams."""
    rng = np.random.default_rng([seed, int(1000 * cell.changed), cell.healthy])
    risks = np.full(cell.healthy + until, cell.changed)
    risks[: cell.healthy] = RISK
    return rng.random((streams, len(risks)), dtype=np.float32) < risks


def healthy(streams: int, seed: int) -> Flags:
    """Losses in which nothing changes."""
    return np.random.default_rng([seed, 0]).random((streams, HORIZON), dtype=np.float32) < RISK


def compete(
    name: str, detect: Detector, *, streams: int, until: int, seed: int, alarms_of: int | None = None
) -> Row:
    """Run a detector over healthy streams and every cell.

    Args:
        name: What it is called.
        detect: Runs it.
        streams: How many of each cell, and healthy ones unless `alarms_of` says otherwise.
        until: Outcomes after the change.
        seed: Of the streams; all detectors with one seed see the same.
        alarms_of: How many healthy streams.
    """
    wrong = np.isfinite(detect(healthy(alarms_of or streams, seed))).mean()
    delays = tuple(median_delay(detect(stream(cell, streams, until, seed)), cell) for cell in CELLS)
    return Row(name, float(wrong), delays)


def median_delay(alarms: Array, cell: Cell) -> float:
    """Over streams without a false alarm before the change; infinite where there is none such."""
    waits = alarms[alarms > cell.healthy] - cell.healthy
    return float(np.median(waits)) if len(waits) else np.inf


def ahead(ours: Row, peers: list[Row]) -> list[Cell]:
    """The cells in which ours is faster than every peer whose false alarms are few enough."""
    rivals = [peer.delays for peer in peers if peer.allowed]
    return [
        cell
        for place, cell in enumerate(CELLS)
        if all(ours.delays[place] < delays[place] for delays in rivals)
    ]
