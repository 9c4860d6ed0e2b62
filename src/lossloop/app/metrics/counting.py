"""From a slab of history to its sums by group: the work that is done once per piece. Pure.

Each group is kept in up to CLUSTERS parts, of which intervals are made: neighbouring blocks together, or
where there are too few blocks, rows dealt out in turn.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import numpy as np

from lossloop.app.metrics.kinds import Sums, measured
from lossloop.app.recompute.features import SLICE
from lossloop.app.recompute.history import Columns, Slab, Span
from lossloop.app.recompute.past import TOLD_BY
from lossloop.app.recompute.scoring import BATCH_ROWS, inside
from lossloop.app.recompute.tally import Groups
from lossloop.core.tasks import Task
from lossloop.judges.intervals import FEWEST
from lossloop.ledger.joined.columns import Int64

CLUSTERS = 30
Parent = tuple[int, ...]
"""Version, role and block of a group, 0 for what rows are not told apart by; its slices share clusters."""


class Place(NamedTuple):
    """Where rows are counted."""

    parent: Parent
    slice: int
    cluster: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """What was counted in one place."""

    rows: int
    labelled: int
    sums: Sums
    """Of rows that have an outcome and can be summed up."""

    def merge(self, other: Part) -> Part:
        """Both together."""
        return Part(
            rows=self.rows + other.rows,
            labelled=self.labelled + other.labelled,
            sums=self.sums.merge(other.sums),  # type: ignore[arg-type]  # of one task, so of one kind
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Counting:
    """What is asked of each row.

    by: What rows are told apart by, of TOLD_BY; slices come beside.
    blocks: The blocks of each parent that has enough of them, ascending.
    """

    task: Task
    empty: Sums
    span: Span
    by: Sequence[str]
    blocks: Mapping[Parent, Int64]

    def clusters(self, parent: Parent, blocks: Int64) -> Int64:
        """The cluster of each of a parent's rows: of its block, or in turn. Shape (n,)."""
        known = self.blocks.get(parent)
        if known is None:
            return np.arange(len(blocks)) % CLUSTERS
        place = np.searchsorted(known, blocks)
        return place * min(CLUSTERS, len(known)) // len(known)


def blocks_of(slabs: Iterable[Slab], span: Span, by: Sequence[str]) -> dict[Parent, Int64]:
    """The blocks in which each parent has rows, of parents with at least FEWEST of them."""
    found: dict[Parent, set[int]] = {}
    for rows in _batches(slabs, span):
        groups = Groups([*_parents(rows, by), rows["block"]])
        for key in groups.keys[groups.count(groups.codes) > 0].tolist():
            found.setdefault(tuple(key[:-1]), set()).add(key[-1])
    return {parent: np.array(sorted(each)) for parent, each in found.items() if len(each) >= FEWEST}


def count(slab: Slab, *, counting: Counting) -> dict[Place, Part]:
    """The sums of a slab's rows that lie in the span, by place."""
    found: dict[Place, Part] = {}
    for rows in _batches([slab], counting.span):
        for place, part in _counted(rows, counting):
            merge_into(found, place, part)
    return found


def merge_into(found: dict[Place, Part], place: Place, part: Part) -> None:
    """Add a part to what was counted in its place."""
    before = found.get(place)
    found[place] = part if before is None else before.merge(part)


def _batches(slabs: Iterable[Slab], span: Span) -> Iterator[Columns]:
    for slab in slabs:
        yield from inside(slab.batches(BATCH_ROWS), span)


def _parents(rows: Columns, by: Sequence[str]) -> list[Int64]:
    nothing = np.zeros(len(rows["version"]), np.int64)
    return [rows[name].astype(np.int64) if name in by else nothing for name in TOLD_BY]


def _counted(rows: Columns, counting: Counting) -> Iterator[tuple[Place, Part]]:
    """Rows in their places: sorted once, so that each place is a run of neighbours."""
    parents = _parents(rows, counting.by)
    cluster = np.zeros(len(rows["version"]), np.int64)
    for parent, mine in _runs(parents):
        cluster[mine] = counting.clusters(parent, rows["block"][mine])
    y_true = rows["y_true"]
    known = ~np.isnan(y_true if y_true.ndim == 1 else y_true[:, 0])
    values, fits = measured(counting.task, y_true, rows["y_pred"])
    fits &= known
    for key, mine in _runs([*parents, rows.get(SLICE, np.zeros_like(cluster)), cluster]):
        place = Place(parent=key[:-2], slice=key[-2], cluster=key[-1])
        part = Part(
            rows=len(mine),
            labelled=int(np.count_nonzero(known[mine])),
            sums=counting.empty.add(values[mine[fits[mine]]]),
        )
        yield place, part


def _runs(columns: Sequence[Int64]) -> Iterator[tuple[tuple[int, ...], Int64]]:
    """What rows have in common, and which rows have it, in order."""
    groups = Groups(columns)
    order = np.argsort(groups.codes, kind="stable")
    starts = np.flatnonzero(np.diff(groups.codes[order], prepend=-1))
    keys = groups.keys
    for start, end in zip(starts, islice((*starts, len(order)), 1, None), strict=True):
        mine = order[start:end]
        yield tuple(keys[groups.codes[mine[0]]].tolist()), mine
