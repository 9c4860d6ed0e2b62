"""Predictions drawn at random from the log, with the features that were sent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lossloop.core.clock import Micros
from lossloop.ledger.base import LogReader, entries_of
from lossloop.ledger.facts import TIME, model_of, optional
from lossloop.ledger.frames import Damage, Kind
from lossloop.registry import Feature, FeatureKind
from lossloop.serve.runtimes import Columns
from lossloop.serve.schema import TYPES

SEED = 7
"""The same log gives the same sample."""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which predictions are drawn.

    Args:
        model: Whose.
        version: That answered.
        rows: How many at most.
        since: From when on they were made.
        ids: Only these, where any are named.
    """

    model: str
    version: int
    rows: int
    since: Micros | None = None
    ids: pa.Array | None = None


@dataclass(frozen=True, kw_only=True)
class Sampled:
    """Predictions: n of each.

    y_pred: What the model said, before any limit. Shape (n,) or (n, k).
    features: What was sent; of a feature that was not, null.
    seen: How many there are in all.
    """

    ids: list[str]
    y_pred: np.ndarray[Any, Any]
    features: Columns
    seen: int

    def __len__(self) -> int:
        return len(self.ids)


def sample(log: LogReader, wanted: Wanted, features: Sequence[Feature]) -> Sampled:
    """Draw predictions; little besides those drawn lies in memory."""
    chance, seen = np.random.default_rng(SEED), 0
    kept: list[tuple[float, dict[str, Any]]] = []
    most = np.inf
    for batch in _batches(log, wanted):
        seen += batch.num_rows
        drawn = chance.random(batch.num_rows)
        places = np.flatnonzero(drawn < most)
        if len(places):
            kept += zip(drawn[places].tolist(), _rows(batch.take(pa.array(places))), strict=True)
        if len(kept) > 2 * wanted.rows:
            kept = sorted(kept, key=_draw)[: wanted.rows]
            most = kept[-1][0]
    rows = {row["id"]: row for _, row in sorted(kept, key=_draw)[: wanted.rows]}
    return Sampled(
        ids=list(rows),
        y_pred=np.array([row["y_pred"] for row in rows.values()], np.float64),
        features={each.name: _column(each, list(rows.values())) for each in features},
        seen=seen,
    )


def _draw(pair: tuple[float, dict[str, Any]]) -> float:
    return pair[0]


def _batches(log: LogReader, wanted: Wanted) -> Iterator[pa.RecordBatch]:
    """Predictions that are meant, as they lie in the log; those that failed are none."""
    for entry in entries_of(log):
        frame = entry.frame
        if isinstance(frame, Damage) or frame.kind is not Kind.PREDICTION:
            continue
        batch = frame.batch
        if model_of(batch) != wanted.model or "features" not in batch.schema.names:
            continue
        fit = pc.and_(pc.equal(batch.column("version"), wanted.version), batch.column("y_pred").is_valid())
        if wanted.since is not None:
            since = pa.scalar(wanted.since, pa.int64()).cast(TIME)
            fit = pc.and_(fit, pc.greater_equal(batch.column("time").cast(TIME), since))
        if wanted.ids is not None:
            fit = pc.and_(fit, pc.is_in(batch.column("id"), value_set=wanted.ids))
        found = batch.filter(fit)
        if found.num_rows:
            yield found


def _rows(batch: pa.RecordBatch) -> Iterator[dict[str, Any]]:
    said = optional(batch, "raw_y_pred")
    y_pred = batch.column("y_pred").to_pylist()
    before = [None] * len(y_pred) if said is None else said.to_pylist()
    for id, answer, unlimited, features in zip(
        batch.column("id").to_pylist(), y_pred, before, batch.column("features").to_pylist(), strict=True
    ):
        yield {"id": id, "y_pred": answer if unlimited is None else unlimited, "features": _object(features)}


def _object(features: Any) -> dict[str, Any]:
    found = msgspec.json.decode(features) if isinstance(features, str) else features
    return found if isinstance(found, dict) else {}


def _column(feature: Feature, rows: Sequence[dict[str, Any]]) -> np.ndarray[Any, Any]:
    values = [row["features"].get(feature.name) for row in rows]
    if feature.kind is FeatureKind.NUMBER:
        values = [value if isinstance(value, int | float) else None for value in values]
    column = np.empty(len(values), TYPES[feature.kind])
    column[:] = values
    return column
