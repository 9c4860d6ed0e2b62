"""The gates of a canary: what else a challenger may not be worse at, by more than a margin, to go on.

They ask what a shadow cannot tell, of rows as they arrive: whether answers come, and how fast.
"""

from __future__ import annotations

from collections.abc import Iterator

from lossloop.act.watches import Wrong
from lossloop.core.clock import Duration
from lossloop.core.records import Record
from lossloop.core.written import Share


class Gate(Record, frozen=True, tag_field="kind"):
    """A share that may be larger for the challenger than for the champion by `worse_by` at most."""

    worse_by: Share

    def problems(self) -> Iterator[Wrong]:
        """What is wrong with the gate, by key."""
        yield from ()


class ErrorsGate(Gate, frozen=True, tag="errors"):
    """Of all predictions, those that failed."""


class LatencyGate(Gate, frozen=True, tag="latency"):
    """Of all answers, those that took longer than `slower_than`."""

    slower_than: Duration

    def problems(self) -> Iterator[Wrong]:
        """See `Gate`."""
        if self.slower_than <= 0:
            yield "slower_than", "must be longer than nothing, such as 200ms"


AnyGate = ErrorsGate | LatencyGate
"""Every kind there is; strict reading picks one by its tag."""
