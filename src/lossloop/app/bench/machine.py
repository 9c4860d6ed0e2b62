"""The machine that figures were measured on: without it they say nothing."""

from __future__ import annotations

import os
import platform
import statistics
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from lossloop.ledger.files.opened import sync

_BLOCK = b"\0" * 4096
_WRITES = 200


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What a figure depends on most."""

    cores: int
    fdatasync_ms: float | None
    """Median time to make 4 KiB durable in the directory that was measured in; None where none was."""
    fdatasync_p99_ms: float | None
    memory_gb: float | None
    python: str
    system: str

    @classmethod
    def here(cls, directory: Path | None = None, *, writes: int = _WRITES) -> Machine:
        """This machine, and the disk that a directory lies on."""
        times = [] if directory is None else synced(directory, writes)
        return cls(
            cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
            fdatasync_ms=statistics.median(times) if times else None,
            fdatasync_p99_ms=sorted(times)[int(0.99 * len(times))] if times else None,
            memory_gb=_memory_gb(),
            python=platform.python_version(),
            system=platform.system(),
        )

    def plain(self) -> dict[str, Any]:
        """As plain values, rounded."""
        found = asdict(self)
        return {name: round(value, 3) if isinstance(value, float) else value for name, value in found.items()}


def synced(directory: Path, writes: int) -> list[float]:
    """Milliseconds that each of some appends of 4 KiB needs to be durable."""
    times = []
    with tempfile.TemporaryFile(dir=directory, buffering=0) as file:
        for _ in range(writes):
            file.write(_BLOCK)
            started = time.perf_counter()
            sync(file.fileno())
            times.append(1000 * (time.perf_counter() - started))
    return times


def _memory_gb() -> float | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    except (AttributeError, OSError, ValueError):
        return None
