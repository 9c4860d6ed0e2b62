"""Looking at processes from outside, as an operator or the kernel does. Linux: it reads /proc."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.app.server import within

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def alive(pid: int) -> bool:
    """Whether a process runs; one that ended and was not waited for does not.

    A process whose first thread has ended keeps its files, and so its locks, until its last thread has.
    """
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        threads = len(os.listdir(f"/proc/{pid}/task"))
    except OSError:
        return False
    return state != "Z" or threads > 1


def children(pid: int) -> list[int]:
    """The processes that a process has started, whichever of its threads did, and theirs."""
    found: list[int] = []
    for told in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):  # a thread that has ended meanwhile
            found += [int(child) for child in told.read_text().split()]
    return found + [deeper for each in found for deeper in children(each)]


def gone(pids: Sequence[int]) -> bool:
    return not any(alive(pid) for pid in pids)


@dataclass(frozen=True, kw_only=True)
class Started:
    """`lossloop up` as a process of its own."""

    process: subprocess.Popen[str]
    url: str
    pids: dict[str, int]

    def everyone(self) -> list[int]:
        return [self.process.pid, *children(self.process.pid)]


@contextmanager
def started(state: Path, *, before: Sequence[str] = ()) -> Iterator[Started]:
    """Run `lossloop up` over a state directory; nothing of it is left behind."""
    command = [
        *before,
        sys.executable,
        "-m",
        "lossloop",
        "up",
        "--state",
        str(state),
        "--port",
        "0",
        "--json",
    ]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True)
    try:
        told = _first_answer(process)
        yield Started(process=process, url=told["url"], pids=told["pids"])
    finally:
        left = children(process.pid) if alive(process.pid) else []
        process.kill()
        process.communicate()
        within(lambda: gone(left))


def _first_answer(process: subprocess.Popen[str]) -> dict[str, Any]:
    """The JSON document that it prints once it is ready."""
    assert process.stdout is not None
    text = ""
    for line in process.stdout:
        text += line
        if line.startswith("}"):
            found: dict[str, Any] = json.loads(text)
            return found
    raise AssertionError(f"it ended with {process.wait()} and said {text!r}")


def lossloop(*arguments: str, state: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command line to its end."""
    environment = {**os.environ, **({"LOSSLOOP_STATE": str(state)} if state else {})}
    command = [sys.executable, "-m", "lossloop", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
