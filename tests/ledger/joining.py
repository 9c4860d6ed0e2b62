"""A fold that joins and counts, and a process that applies it, in large chunks, until it is killed.

python -m tests.ledger.joining DIRECTORY
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

from lossloop.core.calendar import Calendar
from lossloop.core.clock import DAY, SystemClock
from lossloop.ledger import applier
from lossloop.ledger.applier import Applier, ApplierLock
from lossloop.ledger.facts import micros
from lossloop.ledger.files.segments import SegmentLog
from lossloop.ledger.frames import Frame, Kind
from lossloop.ledger.joined import columns, stream, table
from lossloop.ledger.joined.join import Join
from lossloop.ledger.joined.keys import Keys
from lossloop.ledger.joined.places import Places
from lossloop.ledger.sqlite.state import State

MODEL = "m"
KEYS = Keys(b"secret")
CALENDAR = Calendar(span=DAY)
AGE = 40
OUTCOMES = ("outcomes", "corrections", "waiting", "repeats")
"""Where an outcome that was received is counted."""


SMALL: dict[ModuleType, dict[str, int]] = {
    applier: {"READ_AT_ONCE": 200_000},
    stream: {"_GATHERED": 3},
    columns: {"PART_ROWS": 1 << 14},
    table: {"PART_ROWS": 1 << 14},
}


class Joining:
    """Takes predictions and outcomes; keeps how many of each there were."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._join = Join(state, MODEL, KEYS)
        self._places = Places(state, MODEL)

    def fold(self, frame: Frame, *, segment: str, start: int) -> list[tuple[str, str]]:
        at = micros(frame.batch.column("time"))
        if frame.kind is Kind.PREDICTION:
            self._places.note(len(self._join.table), segment, start)
            taken = self._join.take_predictions(frame.batch, at=at, calendar=CALENDAR)
            new = {"predictions": taken.predictions, "again": taken.repeats, "conflicts": taken.conflicts}
            new |= {"outcomes": taken.outcomes, "waiting": taken.waiting}
        else:
            taken = self._join.take_outcomes(frame.batch, at=at, age=AGE)
            new = {name: getattr(taken, name) for name in OUTCOMES}
        counts = counted(self._state)
        counts.update(new)
        self._state.put("test", "counts", dict(counts))
        return []

    def flush(self) -> None:
        self._join.flush()
        self._places.flush()
        table.keep_within([self._join.table], 0)


def counted(state: State) -> Counter[str]:
    """What was counted so far."""
    return Counter(state.get("test", "counts", dict[str, int]) or {})


def main(directory: Path) -> None:
    """Apply for ever, a frame or two at a time; chunks are files, and are merged and leave memory early."""
    for module, changes in SMALL.items():
        vars(module).update(changes)
    ApplierLock(directory / "lock")  # held until this process is gone
    state = State(directory / "state.db")
    found = Applier(SegmentLog(directory / "log"), state, Joining(state), SystemClock())
    print("applying", flush=True)
    while True:
        found.step()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
