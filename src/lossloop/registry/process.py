"""What a manifest says about the process in which a version's own code runs."""

from __future__ import annotations

import re

from lossloop.core.errors import InputError
from lossloop.core.records import Record

_ENTRY = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*(?::[A-Za-z_]\w*)?")
LEAST_MEMORY, MOST_MEMORY = 1 << 26, 1 << 40


class Process(Record, frozen=True):
    """How a version's code is run.

    Raises:
        InputError: A limit lies outside of what is possible, or the entry is no name.
    """

    entry: str = "model"
    """``module`` or ``module:name`` of a function or a class, for the runtime ``python``."""
    python: str = ""
    """An interpreter, by its name in the settings; empty for the one that Lossloop runs on."""
    memory: int = 2 << 30
    """Bytes in memory at which the process is exchanged for a fresh one."""
    seconds: float = 10.0
    """How long a call may take; then the process is killed."""
    start_seconds: float = 60.0
    """How long loading may take."""

    network: bool = False
    """Whether it may open connections."""

    def __post_init__(self) -> None:
        if not _ENTRY.fullmatch(self.entry):
            raise InputError(f"{self.entry!r} is no module or module:name", field="process.entry")
        if not LEAST_MEMORY <= self.memory <= MOST_MEMORY:
            raise InputError(
                f"memory lies between {LEAST_MEMORY} and {MOST_MEMORY} bytes", field="process.memory"
            )
        for name in ("seconds", "start_seconds"):
            if not 0 < getattr(self, name) <= 3600:
                raise InputError("must lie above 0, and be at most 3600", field=f"process.{name}")
