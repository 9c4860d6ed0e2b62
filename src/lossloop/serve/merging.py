"""Merging: what waits together for the disk becomes few frames.

A row a request is then as cheap to fold as a batch, and as cheap to make: its columns become Arrow only here,
together with those of the others.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from lossloop.core.clock import Micros
from lossloop.ledger.facts import outcomes, predictions
from lossloop.ledger.frames import Frame, Kind
from lossloop.serve.runtimes import Columns

MOST_BYTES = 8 * 1024 * 1024
"""Of a merged frame: a reader takes a frame whole."""
_ROW = 128
"""What a row of a draft takes, about."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Draft:
    """Rows that will be a frame: columns of predictions, or of outcomes, as lists of equal length.

    What most drafts say nothing of, such as what was cut, is no column of theirs.
    """

    kind: Kind
    time: Micros
    model: str
    count: int
    columns: Mapping[str, list[Any]]
    features: Columns | None = None
    """Of predictions that were made here: as the runtime was given them."""

    def frame(self) -> Frame:
        """The frame."""
        columns = self.columns
        if self.kind is Kind.PREDICTION:
            if self.features:
                columns = {**columns, "features": _struct(self.features)}
            batch = predictions(columns, model=self.model)
        else:
            id, y_true, time, reason = (columns[name] for name in ("id", "y_true", "time", "reason"))
            batch = outcomes(id, y_true, time, reason, model=self.model)
        return Frame(kind=self.kind, time=self.time, batch=batch)


Item = Frame | Draft


def size_of(item: Item) -> int:
    """Bytes that it takes, about."""
    if isinstance(item, Frame):
        return int(item.batch.nbytes)
    size = _ROW * item.count
    for column in (item.features or {}).values():
        size += column.nbytes
        if column.dtype == object:
            size += sum(len(text) for text in column.tolist() if text is not None)
    texts = item.columns.get("features", ())
    return size + sum(len(text) for text in texts if text is not None)


def merged(items: Sequence[tuple[Item, int]]) -> list[Frame]:
    """The same rows in fewer frames: predictions, and outcomes, of one model and schema one below the other.

    A merged frame stands where its first one stood and has the latest receipt time. Rows of one kind and
    model keep their order as far as their schemas agree; other frames stay what they are.

    Args:
        items: Frames and drafts, each with its size.
    """
    runs: list[_Run] = []
    unfinished: dict[tuple[Any, ...], _Run] = {}
    for item, size in items:
        key = _key(item)
        run = None if key is None else unfinished.get(key)
        if run is not None and run.takes(item, size):
            run.items.append(item)
            run.size += size
            continue
        runs.append(_Run(item, size))
        if key is not None:
            unfinished[key] = runs[-1]
    return [run.frame() for run in runs]


def _key(item: Item) -> tuple[Any, ...] | None:
    """What items that become one frame have in common, but for the types of their columns."""
    if isinstance(item, Draft):
        return item.kind, item.model, tuple(item.columns), *(item.features or ())
    if item.kind not in (Kind.PREDICTION, Kind.OUTCOME):
        return None
    schema = item.batch.schema
    return item.kind, (schema.metadata or {}).get(b"model"), *schema.names


class _Run:
    """Items that become one frame."""

    def __init__(self, item: Item, size: int) -> None:
        self.items = [item]
        self.size = size

    def takes(self, item: Item, size: int) -> bool:
        if self.size + size > MOST_BYTES:
            return False
        first = self.items[0]
        if isinstance(item, Draft) or isinstance(first, Draft):
            return True
        return bool(item.batch.schema.equals(first.batch.schema, check_metadata=True))

    def frame(self) -> Frame:
        first, time = self.items[0], max(item.time for item in self.items)
        if isinstance(first, Draft):
            return _joined([item for item in self.items if isinstance(item, Draft)], time).frame()
        if len(self.items) == 1:
            return first
        batch = pa.concat_batches([item.batch for item in self.items if isinstance(item, Frame)])
        return Frame(kind=first.kind, time=time, batch=batch)


def _joined(drafts: Sequence[Draft], time: Micros) -> Draft:
    first = drafts[0]
    if len(drafts) == 1:
        return first
    columns = {name: [value for draft in drafts for value in draft.columns[name]] for name in first.columns}
    features = first.features
    if features is not None:
        features = {
            name: np.concatenate([draft.features[name] for draft in drafts if draft.features is not None])
            for name in features
        }
    count = sum(draft.count for draft in drafts)
    return Draft(
        kind=first.kind, time=time, model=first.model, count=count, columns=columns, features=features
    )


def _struct(features: Columns) -> pa.Array:
    """Columns as one struct array: null where they have none."""
    made = [
        pa.array(each, pa.string())
        if each.dtype == object
        else pa.array(each, pa.float64(), from_pandas=True)
        for each in features.values()
    ]
    return pa.StructArray.from_arrays(made, names=list(features))
