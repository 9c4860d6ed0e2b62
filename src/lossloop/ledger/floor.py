"""The floor under a writer's receipt times: what comes later in the log is not said to have come before.

Facts of several writers are ordered by receipt time. A machine that starts with a clock that stands an hour
back would put a correction before what it corrects, whenever the log is read from its beginning. So a fact
whose receipt time lies before what was there when its writer began gets the next microsecond instead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from lossloop.core.clock import Micros
from lossloop.ledger.frames import Frame

Newest = Callable[[], Micros]
"""The latest receipt time in a log; 0 where it is empty."""


class Floor:
    """Lifts frames of one writer over what was there before it.

    Args:
        newest: Asked once, before the first frame; without it nothing is lifted.
    """

    def __init__(self, newest: Newest | None) -> None:
        self._newest = newest
        self._last: Micros | None = None

    def lifted(self, frames: Sequence[Frame]) -> Sequence[Frame]:
        """The frames, none of them from before the log was as it was."""
        if self._newest is None:
            return frames
        last = self._newest() if self._last is None else self._last
        found = []
        for frame in frames:
            if frame.time <= last:
                last += 1
                found.append(replace(frame, time=last))
            else:
                found.append(frame)
        self._last = last
        return found
