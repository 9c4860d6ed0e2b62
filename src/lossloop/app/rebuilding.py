"""Rebuilding: all derived state deleted and made again from the facts, and compared with what was decided.

Decisions and actions taken are facts. A rebuild repeats none of them: what the log says was decided is not
logged again, and an effect that the log says was carried out is not pending again.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec

from lossloop.app.home import Home
from lossloop.app.loop import Loop
from lossloop.core.clock import SystemClock
from lossloop.core.records import Record
from lossloop.ledger.applier import Applier, ApplierLock
from lossloop.ledger.base import LogReader, Offsets
from lossloop.ledger.frames import Damage, Frame, Kind
from lossloop.ledger.sqlite.state import State

Progress = Callable[[int], None]
"""Told how many frames were folded more."""


class Rebuilt(Record, frozen=True):
    """What a rebuild found: decisions by whether the log and the recomputation agree on them."""

    frames: int
    same: int
    differ: tuple[str, ...] = ()
    """Ids of decisions that the log has with other content."""
    only_logged: tuple[str, ...] = ()
    """Ids that were not decided this time."""
    only_recomputed: tuple[str, ...] = ()
    """Ids that were not decided then."""
    kept: bool = False
    """Whether the state from before was kept, since the recomputation disagrees."""

    @property
    def agrees(self) -> bool:
        """Whether everything was decided as the log says."""
        return not (self.differ or self.only_logged or self.only_recomputed)


def rebuild(home: Home, *, accept: bool = False, progress: Progress | None = None) -> Rebuilt:
    """Fold the log anew, and put the result in place of the derived state.

    Where the recomputation disagrees with the decisions in the log, the state from before stays, unless
    `accept`.

    Raises:
        InUse: `lossloop up` runs over the directory.
    """
    lock = ApplierLock(home.check().lock)
    try:
        fresh = home.path / "rebuilt.db"
        _remove(fresh)
        frames, recomputed = _fold(home, fresh, progress or (lambda _: None))
        log = home.log.reader()
        found = _compared(_logged(log), recomputed, frames=frames)
        log.close()
        if found.agrees or accept or not home.state_file.exists():
            _remove(home.state_file)
            if (parts := fresh.with_suffix(".parts")).exists():
                parts.rename(home.state_file.with_suffix(".parts"))
            fresh.rename(home.state_file)
            return found
        _remove(fresh)
        return msgspec.structs.replace(found, kept=True)
    finally:
        lock.release()


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


def _fold(home: Home, database: Path, progress: Progress) -> tuple[int, dict[str, str]]:
    state = State(database)
    collecting = _Collecting(Loop(state, home.settings()))
    applier = Applier(home.log, state, collecting, SystemClock())
    frames = 0
    try:
        while step := applier.step():
            frames += step
            progress(step)
    finally:
        applier.close()
        state.close()
    return frames, collecting.decisions


def _logged(log: LogReader) -> dict[str, str]:
    """Decisions in the log by their ids; one that was folded again after a crash stands there again."""
    found: dict[str, str] = {}
    after: Offsets = {}
    while entries := list(log.read(after)):
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


def _remove(database: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        database.with_name(database.name + suffix).unlink(missing_ok=True)
    shutil.rmtree(database.with_suffix(".parts"), ignore_errors=True)
