"""The contract of a part of a bench: it makes a few figures that are measured together."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

from lossloop.app.bench.figure import Figure
from lossloop.app.bench.house import House
from lossloop.app.bench.screen import Screen
from lossloop.app.bench.sizes import Sizes
from lossloop.app.bench.target import Target


@dataclass(frozen=True, kw_only=True)
class Bench:
    """What a part of the ledger's bench has at hand.

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


BenchT = TypeVar("BenchT")


@dataclass(frozen=True, kw_only=True)
class Part(Generic[BenchT]):
    """Figures that are measured together.

    Args:
        ids: Their ids, in order.
        measure: Measures them, one after the other, with what a part of this bench has at hand.
        house: The name of the state directory that they are measured in, if any.
    """

    ids: tuple[str, ...]
    measure: Callable[[BenchT], Iterator[Figure]]
    house: str = ""


def measured(part: Part[BenchT], bench: BenchT, targets: Mapping[str, Target]) -> Iterator[Figure]:
    """A part's figures; where it fails, those that are missing say why."""
    told = set()
    try:
        for each in part.measure(bench):
            told.add(each.id)
            yield each
    except Exception as error:  # noqa: BLE001 - whatever one part ends with, the figures of the others stay
        problem = f"{type(error).__name__}: {error}"
        yield from (targets[id].figure(id, None, problem=problem) for id in part.ids if id not in told)


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
