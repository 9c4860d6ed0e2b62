"""A fold that adds up the ticks it is given, and a process that applies it until it is killed.

python -m tests.ledger.folding DIRECTORY
"""

from __future__ import annotations

import sys
from pathlib import Path

from lossloop.core.clock import SystemClock
from lossloop.ledger.applier import Applier, ApplierLock
from lossloop.ledger.files.segments import SegmentLog
from lossloop.ledger.frames import Frame
from lossloop.ledger.sqlite.state import State


class Adding:
    """Counts frames and adds up their times; every third frame is worth a decision."""

    def __init__(self, state: State) -> None:
        self._state = state
        self.places: list[tuple[str, int]] = []
        self._times: list[int] = []

    def fold(self, frame: Frame, *, segment: str, start: int) -> list[tuple[str, str]]:
        self.places.append((segment, start))
        self._times.append(frame.time)
        count = (self._state.get("sum", "count", int) or 0) + 1
        self._state.put("sum", "count", count)
        self._state.put("sum", "total", (self._state.get("sum", "total", int) or 0) + frame.time)
        return [(f"m/{count:06d}", f'{{"count": {count}}}')] if count % 3 == 0 else []

    def flush(self) -> None:
        """Only now is the list of times written."""
        known = self._state.get("sum", "times", list[int]) or []
        self._state.put("sum", "times", [*known, *self._times])
        self._times.clear()


def applied(state: State) -> tuple[int, int]:
    """How many frames were folded, and the sum of their times."""
    return state.get("sum", "count", int) or 0, state.get("sum", "total", int) or 0


def main(directory: Path) -> None:
    """Apply for ever; say so once the lock is held."""
    ApplierLock(directory / "lock")  # held until this process is gone
    state = State(directory / "state.db")
    applier = Applier(SegmentLog(directory / "log"), state, Adding(state), SystemClock())
    print("applying", flush=True)
    while True:
        applier.step()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
