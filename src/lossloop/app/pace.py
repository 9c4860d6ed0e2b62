"""How often who looks for news does so: all the time while some comes, seldom after a long silence."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Steps = Sequence[tuple[float, float]]
"""Seconds of silence up to which it is looked again after so many seconds; the last one holds for ever."""


@dataclass(kw_only=True)
class Pace:
    """The pause before the next look.

    Args:
        steps: Pauses by how long nothing came.
        now: Seconds of a clock that only goes on.
    """

    steps: Steps
    now: Callable[[], float] = time.monotonic

    def __post_init__(self) -> None:
        self._since = self.now()

    def news(self) -> None:
        """Something came."""
        self._since = self.now()

    def pause(self) -> float:
        """Seconds until it is looked again."""
        silence = self.now() - self._since
        return next((pause for until, pause in self.steps if silence < until), self.steps[-1][1])
