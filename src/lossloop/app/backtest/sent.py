"""What was sent with past predictions, frame by frame as it came; the log is read once, in its order."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from lossloop.core.calendar import Int64
from lossloop.ledger.base import LogReader
from lossloop.ledger.facts import optional
from lossloop.ledger.frames import Damage, Kind
from lossloop.ledger.joined.columns import Floats, numbers
from lossloop.ledger.joined.identity import keys_of
from lossloop.ledger.joined.keys import Keys, UInt64
from lossloop.ledger.joined.places import Came, first_places
from lossloop.ledger.store import Store

_AHEAD = 64
"""Frames of a model that may be met before one that belongs in front of them; then it is gone."""
_Place = tuple[str, int]


@dataclass(frozen=True, kw_only=True)
class Said:
    """What was sent with some rows."""

    features: pa.Array | None = None
    """None where none were sent; null of a row that was erased."""
    latency_ms: Floats | None = None
    """None where no row says it; NaN of a row that was erased."""
    gone: int = 0
    """How many rows' frames are not there any more, or hold no such things since they expired."""


@dataclass(kw_only=True)
class Sent:
    """What was sent with a model's rows; frames are asked for in the order in which they came.

    Args:
        log: Holds them.
        keys: How ids became keys.
        store: Knows where frames lie.
        model: Whose.
        frames: Those that may be asked for.
    """

    log: LogReader
    keys: Keys
    store: Store
    model: str
    frames: Sequence[Came]
    _found: dict[_Place, pa.RecordBatch | None] = field(default_factory=dict)
    _coming: Iterator[tuple[_Place, pa.RecordBatch | None]] | None = None

    def of(self, frame: Came, low: UInt64) -> Said:
        """What was sent with rows of a frame, by the low halves of their keys. Shape (n,)."""
        batch = self._batch(frame)
        if batch is None:
            return Said(gone=len(low))
        places = _places(keys_of(batch, self.keys)[1], low)
        taken = pa.array(places, mask=places < 0)
        features, took = (optional(batch, name) for name in ("features", "latency_ms"))
        return Said(
            features=None if features is None else features.take(taken),
            latency_ms=None if took is None else numbers(took.take(taken)),
        )

    def _batch(self, frame: Came) -> pa.RecordBatch | None:
        """A frame's rows; None where it is gone, or has expired."""
        if self._coming is None:
            self._coming = self._read()
        place = frame.segment, frame.start
        while place not in self._found and len(self._found) < _AHEAD:
            met = next(self._coming, None)
            if met is None:
                break
            self._found[met[0]] = met[1]
        return self._found.pop(place, None)

    def _read(self) -> Iterator[tuple[_Place, pa.RecordBatch | None]]:
        wanted = {(frame.segment, frame.start) for frame in self.frames}
        firsts = np.array([frame.first for frame in self.frames], np.int64)
        after = {**self.store.offsets(), **first_places(self.store, self.model, firsts)}
        while entries := deque(self.log.read(after)):
            while entries:
                entry = entries.popleft()
                segment, end = entry.position.segment, entry.position.offset
                place = segment, after.get(segment, 0) if entry.start is None else entry.start
                after[segment] = end
                if place in wanted and not isinstance(entry.frame, Damage):
                    yield place, entry.frame.batch if entry.frame.kind is Kind.PREDICTION else None


def _places(sent: UInt64, low: UInt64) -> Int64:
    """Where each key stands first among those that were sent, -1 where it does not. Shape (n,)."""
    if len(sent) == len(low) and (sent == low).all():
        return np.arange(len(low))
    order = np.argsort(sent, kind="stable")
    found = np.minimum(np.searchsorted(sent[order], low), len(sent) - 1)
    places = order[found]
    return np.where((sent[places] == low) & (low != 0), places, -1)
