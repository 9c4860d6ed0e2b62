"""How much of the cores each process took, and how much went to what has nothing to do with the bench."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path

from lossloop.app.up import Up

_PROC = Path("/proc")


class Usage:
    """Seconds of processor time since it was made; says nothing on systems without /proc."""

    def __init__(self, up: Up) -> None:
        self._up = up
        self._since = time.perf_counter()
        self._before = self._now()

    def shares(self, **known: float) -> dict[str, float]:
        """How many cores each part was busy on, and `others`: what neither a part nor `known` took.

        Args:
            known: Processor seconds of further processes of the bench.
        """
        now, seconds = self._now(), time.perf_counter() - self._since
        if not now or not self._before:
            return {}
        taken = {name: now[name] - self._before.get(name, 0.0) for name in now} | known
        everything = taken.pop("all")
        taken["others"] = max(0.0, everything - sum(taken.values()))
        return {f"{name}_cpu": value / seconds for name, value in taken.items()}

    def _now(self) -> Mapping[str, float]:
        try:
            parts = {part: seconds_of(pid) for part, pid in self._up.pids().items()}
            return {**parts, "bench": time.process_time(), "all": _busy()}
        except (OSError, ValueError, IndexError):
            return {}


def seconds_of(pid: int) -> float:
    """Processor time of a process and of those that it started and that still run."""
    fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    own = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    children = (_PROC / str(pid) / "task" / str(pid) / "children").read_text().split()
    return own + sum(seconds_of(int(child)) for child in children)


def _busy() -> float:
    """Of all cores together: everything but idling and waiting for a disk."""
    user, nice, system, _, _, interrupts, soft = map(int, (_PROC / "stat").read_text().split()[1:8])
    return (user + nice + system + interrupts + soft) / os.sysconf("SC_CLK_TCK")
