"""The contract of a rebuild: where it works, what is folded there by itself, and what it found."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from lossloop.core.records import Record
from lossloop.ledger.base import Log

Progress = Callable[[int], None]
"""Told how many frames were folded more."""


class Rebuilt(Record, frozen=True):
    """What a rebuild found: decisions by whether the log and the recomputation agree on them."""

    frames: int
    """How many were folded; one that every partition folds counts once for each."""
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


@dataclass(frozen=True, kw_only=True)
class Part:
    """What is folded by itself: a log, and the database file that takes what follows from its facts."""

    log: Log
    fresh: Path


class Bench(Protocol):
    """Where a rebuild works. Whoever has it is the only one who writes the derived state."""

    @property
    def parts(self) -> Sequence[Part]:
        """What is to be folded."""
        ...

    def has_state(self) -> bool:
        """Whether there is derived state from before that could be kept."""
        ...

    def take(self) -> None:
        """Put what was folded in place of the derived state: all parts, or none."""
        ...

    def close(self) -> None:
        """Remove what was not taken, and let others write again."""
        ...


def remove_state(file: Path) -> None:
    """Delete a state database and what lies beside it; none there is fine."""
    for suffix in ("", "-wal", "-shm"):
        file.with_name(file.name + suffix).unlink(missing_ok=True)
    shutil.rmtree(file.with_suffix(".parts"), ignore_errors=True)
