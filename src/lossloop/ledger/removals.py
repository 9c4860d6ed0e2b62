"""Rows that go for good, wherever the log lies: the fact that is left of them, and what is told of it.

Rows go since a person is to be forgotten, or since a policy does not keep them any longer. The fact is part
of the log, so that a rebuild knows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lossloop.core.clock import Micros
from lossloop.core.errors import InputError
from lossloop.core.records import Record

ERASED, EXPIRED = "erased", "expired"
"""Why rows went; the names of the facts that say so."""
Mask = np.ndarray[Any, np.dtype[np.bool_]]
"""Which rows stay. Shape (n,)."""
Stretches = tuple[tuple[int, int], ...]
"""Consecutive numbers, each stretch by its first and its last one; none for all there are."""


class Gone(Record, frozen=True):
    """The body of a fact named ``erased`` or ``expired``: rows of a model that a segment has no more."""

    model: str
    segment: str
    predictions: int = 0
    outcomes: int = 0
    versions: dict[str, int] = {}
    """How many of the predictions were of each version."""
    first: int = 0
    last: int = 0
    """Receipt times of the first and the last of these rows, in microseconds."""
    summary: dict[str, Any] = {}
    """What is still shown of rows of which nothing else is left; whoever removes them knows.

    Of rows that have expired a fold needs none; but what expired in an older release left nothing else.
    """
    frames: Stretches = ()
    """The frames that these rows were in, where the segment may go on: in a database.

    An older release deleted frames that expired, so where a fact `expired` names some, they may be missing.
    """


Summarise = Callable[[str, str, Stretches, Sequence[pa.RecordBatch]], dict[str, Any]]
"""Makes the summary of predictions about to go: of a model, from a segment or some of its frames, by their
ids, or by the keys of those that have expired."""


@dataclass(frozen=True, kw_only=True)
class Pruned:
    """What went, or would go, of a model."""

    model: str
    predictions: int = 0
    outcomes: int = 0
    segments: int = 0
    bytes: int = 0
    """Of what lies there, before less after; of rows that would go, their share of the bytes."""
    first: Micros | None = None
    last: Micros | None = None


@dataclass(kw_only=True)
class Held:
    """What a log holds of a unit in one model."""

    ids: set[str] = field(default_factory=set)
    """Of its predictions: derived state is cleared of these."""
    keys: set[str] = field(default_factory=set)
    """Of its predictions that have expired, in place of their ids."""
    predictions: int = 0
    outcomes: int = 0


Erased = dict[str, Held]
"""By model."""


def check_limits(cutoff: Micros | None, larger_than: int | None) -> None:
    """Raise InputError where nothing says what is too old or too much."""
    if cutoff is None and larger_than is None:
        raise InputError("nothing says what is too old or too much; give --older-than or --larger-than")


def count_versions(counts: dict[str, int], versions: pa.Array | pa.ChunkedArray) -> None:
    """Add to how many predictions there were of each version."""
    for each in pc.value_counts(versions).to_pylist():
        name = str(each["values"])
        counts[name] = counts.get(name, 0) + each["counts"]


def filtered(batch: pa.RecordBatch, stays: pa.Array) -> pa.RecordBatch:
    """The rows of a batch that stay."""
    try:
        return batch.filter(stays)
    except pa.ArrowNotImplementedError:  # Arrow can slice what it cannot filter
        kept = [batch.slice(row, 1) for row, one in enumerate(stays.to_pylist()) if one]
        return pa.concat_batches(kept) if kept else batch.slice(0, 0)


def is_one_of(column: pa.Array | pa.ChunkedArray, wanted: pa.Array) -> Mask:
    """Which values are among the wanted ones. Shape (n,)."""
    found = pc.is_in(column.cast(pa.string()), value_set=wanted)
    return np.asarray(found.to_numpy(zero_copy_only=False), dtype=np.bool_)
