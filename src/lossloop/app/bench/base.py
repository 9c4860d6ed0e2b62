"""The contract of a part of a bench: it makes a few figures that are measured together."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lossloop.app.bench.figure import Figure
from lossloop.app.bench.house import House
from lossloop.app.bench.screen import Screen
from lossloop.app.bench.sizes import Sizes


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What a part has at hand.

    Args:
        directory: On the disk that is measured; whoever runs the bench removes it.
        sizes: How much to measure.
        screen: Where to say what goes on.
        house: The state directory to measure in; parts that name the same one come after each other in it.
    """

    directory: Path
    sizes: Sizes
    screen: Screen
    house: House


@dataclass(frozen=True, kw_only=True)
class Part:
    """Figures that are measured together.

    Args:
        ids: Their ids, in order.
        house: The name of the state directory that they are measured in.
        measure: Measures them, one after the other.
    """

    ids: tuple[str, ...]
    house: str
    measure: Callable[[Bench], Iterator[Figure]]


@dataclass(frozen=True, kw_only=True)
class Spread:
    """What several repetitions gave."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(median=statistics.median(values), low=min(values), high=max(values))


def quantile(values: Sequence[float], share: float) -> float:
    """The value that this share of the values stays below."""
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]
