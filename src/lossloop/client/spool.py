"""Where rows lie from their hand-over until the server has taken them: a directory, shared by processes."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from lossloop.core.errors import InputError, StateError

GIB = 1024**3


@dataclass(frozen=True)
class Spool:
    """A directory in which rows outlive the process that handed them over.

    Processes may share a directory; each writes to a file of its own, and takes over those of processes that
    have died.

    Args:
        path: The directory; it is made if it is not there.
        most_bytes: What the files of one process may take, with those that it took over and `refused.jsonl`.
        sync: Whether a hand-over returns only once its rows are on disk. Without it they are with the
            operating system: they outlive a crash of the process, not one of the machine.
        wait: Seconds that a hand-over waits for room while the spool is full; then it raises SpoolFull.
    """

    path: Path | str
    most_bytes: int = field(default=GIB, kw_only=True)
    sync: bool = field(default=False, kw_only=True)
    wait: float = field(default=0.0, kw_only=True)

    def __post_init__(self) -> None:
        if self.most_bytes < 1:
            raise InputError("a spool must hold something; write most_bytes=1 << 30", field="most_bytes")
        if self.wait < 0:
            raise InputError("wait is a number of seconds, 0 not to wait", field="wait")

    @property
    def directory(self) -> Path:
        return Path(self.path)

    @property
    def blocks(self) -> bool:
        """Whether a hand-over may take longer than writing to memory does."""
        return self.sync or self.wait > 0

    def make(self) -> None:
        """Make the directory, readable by its owner alone.

        Raises:
            StateError: It cannot be made, or not be written to.
        """
        try:
            self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise StateError(f"cannot make the spool {self.path}: {error.strerror}") from error
        if not os.access(self.directory, os.R_OK | os.W_OK | os.X_OK):
            raise StateError(f"cannot write to the spool {self.path}; choose another directory")
