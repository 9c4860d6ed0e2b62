"""Facts that have expired: of a row only what a fold needs stays, with keyed hashes for its id and unit.

So a state that is folded anew is the one that saw the whole rows, and what is sent about one of them later,
such as a correction or the prediction once more, is known for what it is. Nobody can be shown such a row any
more: its id, its unit and its features are gone, but for those by which slices are told apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

import pyarrow as pa

from lossloop.ledger.frames import Frame, Kind
from lossloop.ledger.joined.identity import (
    CONTENT_KEY,
    KEY_HIGH,
    KEY_LOW,
    UNIT_KEY,
    contents_of,
    keys_of,
    units_of,
)
from lossloop.ledger.joined.keys import Keys
from lossloop.ledger.joined.slicing import SLICE_FEATURES, picked

EXPIRED_KINDS: Mapping[Kind, Kind] = {
    Kind.PREDICTION: Kind.EXPIRED_PREDICTION,
    Kind.OUTCOME: Kind.EXPIRED_OUTCOME,
}
"""What frames of a kind become."""
_TEXTS = (pa.string(), pa.large_string())
_NEEDED: Mapping[Kind, tuple[str, ...]] = {
    Kind.EXPIRED_PREDICTION: ("version", "time", "y_pred"),
    Kind.EXPIRED_OUTCOME: ("y_true", "time"),
}
_TYPES = {"id": _TEXTS, "unit": _TEXTS, "content": (pa.binary(), pa.large_binary())}
"""What is hashed."""
_OPTIONAL = (
    "role", "propensity", "shadow_version", "shadow_y_pred", "reason", "latency_ms", "error"
)  # fmt: skip


_USED = {
    KEY_HIGH, KEY_LOW, UNIT_KEY, CONTENT_KEY, "version", "time", "y_pred", "y_true", "features",
    *_OPTIONAL, *_TYPES,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Needs:
    """What a fold needs to know rows that have expired."""

    keys: Keys
    """Those of the ledger: with others, nobody would know the rows again."""
    features: frozenset[str] = frozenset()
    """The features by which the model's rows are told apart in slices."""


def expired(frame: Frame, needs: Needs) -> Frame:
    """What stays of a frame of predictions or outcomes; of one that has expired already, all of it.

    A frame from elsewhere that lacks what every fold asks for keeps no row.

    Args:
        frame: Of a model.
        needs: What of it has to be known.
    """
    if frame.kind not in EXPIRED_KINDS:
        return frame
    kind = EXPIRED_KINDS[frame.kind]
    return Frame(kind=kind, time=frame.time, batch=_thinned(frame.batch, kind, needs))


def expired_all(frames: Sequence[Frame], needs: Needs) -> list[Frame]:
    """What stays of several frames; rows that are alike are hashed together, however few a frame has."""
    alike: list[tuple[Frame, list[int]]] = []
    for place, frame in enumerate(frames):
        if frame.kind not in EXPIRED_KINDS:
            continue
        same = (places for one, places in alike if _are_alike(one, frame))
        found = next(same, None)
        if found is None:
            alike.append((frame, found := []))
        found.append(place)
    made = list(frames)
    for first, places in alike:
        used = [name for name in first.batch.schema.names if name in _USED]
        rows = first.batch
        if is_whole(rows, EXPIRED_KINDS[first.kind]):
            rows = pa.concat_batches([frames[place].batch.select(used) for place in places])
        thin = expired(Frame(kind=first.kind, time=first.time, batch=rows), needs)
        counts = [frames[place].batch.num_rows if thin.batch.num_rows else 0 for place in places]
        for place, start, count in zip(places, accumulate(counts, initial=0), counts, strict=False):
            batch = thin.batch.slice(start, count)
            made[place] = Frame(kind=thin.kind, time=frames[place].time, batch=batch)
    return made


def _are_alike(one: Frame, other: Frame) -> bool:
    return one.kind is other.kind and bool(one.batch.schema.equals(other.batch.schema, check_metadata=True))


def _thinned(batch: pa.RecordBatch, kind: Kind, needs: Needs) -> pa.RecordBatch:
    there, metadata = batch.schema.names, batch.schema.metadata
    if not is_whole(batch, kind):
        empty = pa.schema([(KEY_HIGH, pa.uint64()), (KEY_LOW, pa.uint64())], metadata=metadata)
        return pa.RecordBatch.from_pylist([], schema=empty)
    high, low = keys_of(batch, needs.keys)
    found = {KEY_HIGH: pa.array(high), KEY_LOW: pa.array(low)}
    if UNIT_KEY in there or "unit" in there:
        found[UNIT_KEY] = pa.array(units_of(batch, needs.keys))
    contents = contents_of(batch)
    if contents is not None:
        found[CONTENT_KEY] = contents
    features = picked(batch, needs.features)
    if features is not None:
        found[SLICE_FEATURES] = features
    kept = [batch.schema.field(name) for name in (*_NEEDED[kind], *_OPTIONAL) if name in there]
    made = [pa.field(name, column.type) for name, column in found.items()]
    columns = [*found.values(), *(batch.column(field.name) for field in kept)]
    return pa.RecordBatch.from_arrays(columns, schema=pa.schema([*made, *kept], metadata=metadata))


def is_whole(batch: pa.RecordBatch, kind: Kind) -> bool:
    """Whether a fold could take the rows.

    Each column that it asks for is there once, and what is hashed is text or bytes.
    """
    there = batch.schema.names
    if any(there.count(name) > 1 for name in (*_OPTIONAL, *_TYPES)):
        return False
    named = KEY_HIGH in there or "id" in there
    return (
        named
        and all(there.count(name) == 1 for name in _NEEDED[kind])
        and all(batch.schema.field(name).type in kinds for name, kinds in _TYPES.items() if name in there)
    )
