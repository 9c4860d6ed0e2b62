"""A server with all that it starts: its processor time and memory, found by a mark in its environment."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from uuid import uuid4

_PROC = Path("/proc")
_MARK = "BENCH_MARK"


class Tree:
    """The processes that carry a mark, whoever their parents are by now."""

    def __init__(self, mark: str) -> None:
        self._mark = f"{_MARK}={mark}".encode()

    def pids(self) -> list[int]:
        """Those that run now."""
        return [pid for pid in map(int, filter(str.isdigit, os.listdir(_PROC))) if self._is_ours(pid)]

    def cpu(self, *, but: str = "\0") -> float:
        """Seconds of processor time, of those whose command line does not have the word."""
        return sum(_cpu(pid) for pid in self.pids() if but not in _command(pid))

    def memory_mb(self) -> float:
        """Proportional set size: what they share is counted once."""
        return sum(_pss(pid) for pid in self.pids()) / 1024.0

    def end(self) -> None:
        """End them all."""
        deadline = time.monotonic() + 15.0
        number = signal.SIGTERM
        while pids := self.pids():
            for pid in pids:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            time.sleep(0.2)
            if time.monotonic() > deadline:
                number = signal.SIGKILL

    def _is_ours(self, pid: int) -> bool:
        with contextlib.suppress(OSError):
            return self._mark in (_PROC / str(pid) / "environ").read_bytes().split(b"\0")
        return False


@contextlib.contextmanager
def started(
    command: Sequence[str], environment: Mapping[str, str], folder: Path, log: Path
) -> Iterator[tuple[Tree, subprocess.Popen[bytes]]]:
    """A command and all that it starts, ended with the block."""
    mark = uuid4().hex
    tree = Tree(mark)
    with log.open("wb") as file:
        process = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=file, stderr=file,
            env={**os.environ, **environment, _MARK: mark},
        )  # fmt: skip
        try:
            yield tree, process
        finally:
            tree.end()
            process.wait()


def _cpu(pid: int) -> float:
    with contextlib.suppress(OSError):
        fields = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def _command(pid: int) -> str:
    with contextlib.suppress(OSError):
        return (_PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    return ""


def _pss(pid: int) -> float:
    with contextlib.suppress(OSError):
        for line in (_PROC / str(pid) / "smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return float(line.split()[1])
    return 0.0
