"""A rebuild, step by step: fold anew, compare with the log, and take the result or leave it."""

from __future__ import annotations

from contextlib import closing

import msgspec

from lossloop.act.settings import Settings
from lossloop.app.home import Home
from lossloop.app.loop import Loop
from lossloop.app.rebuilding.base import Bench, Part, Progress, Rebuilt
from lossloop.app.rebuilding.database import DatabaseBench
from lossloop.app.rebuilding.files import FileBench
from lossloop.core.clock import SystemClock
from lossloop.ledger.applier import Applier
from lossloop.ledger.base import Log, Offsets
from lossloop.ledger.frames import Damage, Frame, Kind
from lossloop.ledger.sqlite.state import State


def rebuild(home: Home, *, accept: bool = False, progress: Progress | None = None) -> Rebuilt:
    """Fold the log anew, and put the result in place of the derived state.

    Where the recomputation disagrees with the decisions in the log, the state from before stays, unless
    `accept`. So it does where this process is killed.

    Raises:
        InUse: `lossloop up` runs over the directory, or over the database.
        StateError: The database went away, or another applier took a partition over; nothing has changed.
    """
    settings = home.check().settings()
    with closing(_bench(home)) as bench:
        frames, recomputed = 0, dict[str, str]()
        for part in bench.parts:
            folded, decided = _fold(part, settings, progress or (lambda _: None))
            frames += folded
            recomputed |= decided
        found = _compared(_logged(home.log), recomputed, frames=frames)
        if found.agrees or accept or not bench.has_state():
            bench.take()
            return found
        return msgspec.structs.replace(found, kept=True)


def _bench(home: Home) -> Bench:
    return FileBench(home) if home.database is None else DatabaseBench(home, home.database)


class _Collecting:
    """A loop whose decisions are noted, and not logged."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self.decisions: dict[str, str] = {}

    def fold(self, frame: Frame, *, segment: str, start: int) -> list[tuple[str, str]]:
        for decision in self._loop.fold(frame, segment=segment, start=start):
            self.decisions[decision.id] = msgspec.json.encode(decision).decode()
        return []

    def flush(self) -> None:
        self._loop.flush()


def _fold(part: Part, settings: Settings, progress: Progress) -> tuple[int, dict[str, str]]:
    frames = 0
    with closing(State(part.fresh)) as state:
        collecting = _Collecting(Loop(state, settings))
        with closing(Applier(part.log, state, collecting, SystemClock())) as applier:
            while step := applier.step():
                frames += step
                progress(step)
    return frames, collecting.decisions


def _logged(log: Log) -> dict[str, str]:
    """Decisions in the log by their ids; one that was folded again after a crash stands there again."""
    found: dict[str, str] = {}
    after: Offsets = {}
    with closing(log.reader()) as reader:
        while entries := list(reader.read(after)):
            after = {**after, **{entry.position.segment: entry.position.offset for entry in entries}}
            for entry in entries:
                frame = entry.frame
                if not isinstance(frame, Damage) and frame.kind is Kind.DECISION:
                    columns = frame.batch.to_pydict()
                    for id, body in zip(columns["id"], columns["body"], strict=True):
                        found.setdefault(id, body)
    return found


def _compared(logged: dict[str, str], recomputed: dict[str, str], *, frames: int) -> Rebuilt:
    both = sorted({*logged} & {*recomputed})
    differ = tuple(id for id in both if logged[id] != recomputed[id])
    return Rebuilt(
        frames=frames,
        same=len(both) - len(differ),
        differ=differ,
        only_logged=tuple(sorted({*logged} - {*recomputed})),
        only_recomputed=tuple(sorted({*recomputed} - {*logged})),
    )
