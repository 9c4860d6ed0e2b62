"""From what was counted to what is told: metrics of each group, their intervals and gaps. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lossloop.app.metrics.counting import Parent, Part, Place
from lossloop.app.metrics.kinds import Sums
from lossloop.app.metrics.spread import LeftOut, gaps, intervals, left_out, together
from lossloop.app.recompute.features import SLICE
from lossloop.app.recompute.past import TOLD_BY
from lossloop.core.records import Interval, Record
from lossloop.summaries import Confusion, Lifetimes, Scores

LEVEL = 0.95
Counted = Mapping[Place, Part]


class Estimate(Record, frozen=True):
    """One metric of one group."""

    value: float | None
    """None where there is nothing to divide by, such as the recall without a positive."""
    interval: Interval | None
    """None where blocks are too few, or one of them holds all that is divided by."""
    gap: Interval | None = None
    """This less the metric of the slice `against`; None without slices, and for that slice itself."""
    between: tuple[float, float] | None = None
    """Where the sums do not hold all that the metric takes: the least and the most that it can be."""


class Figure(Record, frozen=True):
    """The metrics of rows that have something in common; None for what they are not told apart by."""

    version: int | None
    role: str | None
    block: str | None
    slice: str | None
    rows: int
    labelled: int
    missing: float
    """The share of the rows without an outcome: they are in no metric."""
    unmeasured: int
    """Rows with an outcome of which nothing can be summed up, such as those that were erased."""
    over: str
    """What the intervals take for independent: ``blocks``, or ``rows`` where there are too few blocks."""
    metrics: dict[str, Estimate]
    detail: list[dict[str, Any]]
    """Of a binary task how far probabilities are right, by tenths; of a multiclass task each class."""


class Telling:
    """How what was counted is told, group by group.

    Args:
        counted: What was counted.
        blocks: The blocks of parents whose clusters are blocks.
        against: The slice that gaps are to.
    """

    def __init__(self, counted: Counted, blocks: Mapping[Parent, Any], against: int | None) -> None:
        self._blocks, self._against = blocks, against
        self._references: dict[tuple[int, ...], LeftOut | None] = {}
        self._parts: dict[tuple[int, ...], dict[int, Part]] = {}
        for place, part in sorted(counted.items(), key=lambda item: item[0]):
            self._parts.setdefault((*place.parent, place.slice), {})[place.cluster] = part
        others = len({key[-1] for key in self._parts}) - 1
        self.level = None if against is None or not others else 1.0 - (1.0 - LEVEL) / others
        """The level of one gap."""
        self.keys = list(self._parts)
        """Version, role, block and slice of each group, ascending."""

    def figure(self, key: tuple[int, ...], said: Mapping[str, Any]) -> Figure:
        """What is told of one group."""
        parts = self._parts[key].values()
        rows, labelled = sum(part.rows for part in parts), sum(part.labelled for part in parts)
        whole = together([part.sums for part in parts])
        return Figure(
            **{name: said.get(name) for name in (*TOLD_BY, SLICE)},
            rows=rows, labelled=labelled, missing=1.0 - labelled / rows, unmeasured=labelled - whole.count,
            over="blocks" if key[:-1] in self._blocks else "rows",
            metrics=self._estimates(key, whole), detail=_detail(whole),
        )  # fmt: skip

    def _estimates(self, key: tuple[int, ...], whole: Sums) -> dict[str, Estimate]:
        mine, others = self._left_out(key), self._reference(key)
        sure = intervals(mine, level=LEVEL) if mine else {}
        apart = gaps(mine, others, level=self.level) if mine and others and self.level else {}
        limits = _between(whole)
        return {
            name: Estimate(
                value=value, interval=sure.get(name), gap=apart.get(name), between=limits.get(name)
            )
            for name, value in whole.metrics().items()
        }

    def _reference(self, key: tuple[int, ...]) -> LeftOut | None:
        """What a group's gaps are to: the slice `against` of the same version, role and block."""
        if self._against in (None, key[-1]):
            return None
        other = (*key[:-1], self._against or 0)
        if other not in self._references:
            self._references[other] = self._left_out(other)
        return self._references[other]

    def _left_out(self, key: tuple[int, ...]) -> LeftOut | None:
        """A group's metrics without each cluster in which there is anything; None where there is nothing."""
        parts = self._parts.get(key, {})
        found = {cluster: part.sums for cluster, part in parts.items() if part.sums.count}
        return left_out(found) if found else None


def _between(sums: Sums) -> dict[str, tuple[float, float]]:
    """Metrics of which bins do not hold all, with the least and the most that they can be."""
    if isinstance(sums, Scores):
        name, found = "auc", sums.auc_bounds()
    elif isinstance(sums, Lifetimes):
        name, found = "concordance", sums.bounds()
    else:
        return {}
    return {} if found is None else {name: found[1:]}


def _detail(sums: Sums) -> list[dict[str, Any]]:
    if isinstance(sums, Scores):
        return [each._asdict() for each in sums.reliability()]
    return [each._asdict() for each in sums.by_class()] if isinstance(sums, Confusion) else []
