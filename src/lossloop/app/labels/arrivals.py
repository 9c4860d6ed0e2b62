"""When a model's labels came, counted from the columns of its tables; nothing else of them is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from lossloop.core.clock import Micros
from lossloop.judges.delay import Delays
from lossloop.ledger.joined.columns import NEVER, Array, Int64, columns_of
from lossloop.ledger.joined.table import LABELS, ROWS
from lossloop.ledger.store import Chunk, Store

_READ = ("version", "at", "y_pred")


class Due(NamedTuple):
    """Of predictions that have reached the judging age: how many, and how many of them had no label then."""

    predictions: int = 0
    missing: int = 0

    def plus(self, other: Due) -> Due:
        """Both together."""
        return Due(self.predictions + other.predictions, self.missing + other.missing)


@dataclass(frozen=True, kw_only=True)
class Arrivals:
    """What is known of a table's labels at one moment."""

    delays: Delays = field(default_factory=Delays)
    absent: int = 0
    """Predictions whose label is that none came within the policy's `after`."""
    late: int = 0
    """Predictions whose label came behind the judging age."""
    versions: Mapping[int, Due] = field(default_factory=dict)

    @property
    def due(self) -> Due:
        """Of all versions."""
        found = Due()
        for each in self.versions.values():
            found = found.plus(each)
        return found


@dataclass(frozen=True, kw_only=True)
class Looking:
    """How a policy looks at labels, at a moment."""

    now: Micros
    age: Micros
    """The judging age."""
    absent_after: Micros | None = None


def read_arrivals(store: Store, table: str, looking: Looking | None = None, *, age: Micros = 0) -> Arrivals:
    """Count a table's labels.

    Args:
        store: Where it lies.
        table: A model's name, or that of its history.
        looking: When, and by which rules; None for the last moment that the table knows of.
        age: The judging age, where `looking` is None.
    """
    # The labels first: what they belong to is then among the rows.
    told = [
        columns_of(chunk.batch.select(["seq", "labelled_at"])) for chunk in store.chunks(f"{LABELS}/{table}")
    ]
    chunks = list(store.chunks(f"{ROWS}/{table}"))
    labelled_at = np.full(chunks[-1].end if chunks else 0, NEVER)
    for label in told:
        labelled_at[label["seq"] - 1] = label["labelled_at"]
    if looking is None:
        looking = Looking(now=_last(chunks, labelled_at), age=age)
    found = Arrivals()
    for chunk in chunks:
        moments = labelled_at[chunk.first : chunk.end]
        found = _added(found, _count(_columns(chunk), moments, looking))
    return found


def _columns(chunk: Chunk) -> Mapping[str, Array]:
    return columns_of(chunk.batch.select([name for name in _READ if name in chunk.batch.schema.names]))


def _last(chunks: Sequence[Chunk], labelled_at: Int64) -> Micros:
    """The last moment that a table knows of; 0 where it has no rows."""
    moments = [labelled_at[labelled_at != NEVER], *(_columns(chunk)["at"] for chunk in chunks[-1:])]
    return max(int(each.max(initial=0)) for each in moments)


def _count(rows: Mapping[str, Array], labelled_at: Int64, looking: Looking) -> Arrivals:
    # Of one that was erased nothing is known any more, and one that failed waits for no label.
    there = ~np.isnan(rows["y_pred"] if rows["y_pred"].ndim == 1 else rows["y_pred"][:, 0])
    if not there.all():
        rows, labelled_at = {name: values[there] for name, values in rows.items()}, labelled_at[there]
    at, version = rows["at"], rows.get("version", np.zeros(len(labelled_at), np.int64))
    came = labelled_at != NEVER
    absent = came & (labelled_at == at + (looking.absent_after or NEVER // 2))
    took = np.where(came & ~absent, labelled_at - at, NEVER)
    due, in_time = at + looking.age <= looking.now, labelled_at <= at + looking.age
    return Arrivals(
        delays=Delays().add(took, np.maximum(looking.now - at, 0)),
        absent=int(absent.sum()), late=int((due & came & ~in_time).sum()),
        versions=_by_version(version[due], ~in_time[due]),
    )  # fmt: skip


def _by_version(version: Int64, missing: Array) -> dict[int, Due]:
    numbers, places = np.unique(version, return_inverse=True)
    of, lacking = np.bincount(places), np.bincount(places, weights=missing)
    return {
        int(number): Due(int(of[place]), int(lacking[place])) for place, number in enumerate(numbers.tolist())
    }


def _added(one: Arrivals, other: Arrivals) -> Arrivals:
    return Arrivals(
        delays=one.delays.merge(other.delays), absent=one.absent + other.absent, late=one.late + other.late,
        versions={
            number: one.versions.get(number, Due()).plus(other.versions.get(number, Due()))
            for number in sorted({*one.versions, *other.versions})
        },
    )  # fmt: skip
