"""A process that writes to a log and says on standard output what was acknowledged; tests disturb it.

python -m tests.ledger.writing DIRECTORY for-ever | limited | full
"""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
from itertools import count
from pathlib import Path

import msgspec

from lossloop.core.errors import StorageFull
from lossloop.ledger.files.segments import SegmentLog, SegmentWriter
from tests.ledger.samples import numbers, tick_frame

LIMIT = 2000
"""Bytes that a file may have in the mode `limited`: a few frames."""


class Report(msgspec.Struct):
    """What became of appends of pairs of frames."""

    acknowledged: list[int] = []
    refused: list[int] = []
    messages: list[str] = []
    files: int = 0
    """In the directory while the disk was full."""
    found: list[int] = []
    """What a reader found in the end, where only this process can read."""

    def append(self, writer: SegmentWriter, number: int) -> None:
        """Append a pair and note what became of it."""
        pair = [2 * number, 2 * number + 1]
        try:
            writer.append([tick_frame(each) for each in pair])
        except StorageFull as error:
            self.refused += pair
            self.messages.append(str(error))
        else:
            self.acknowledged += pair


def for_ever(directory: Path) -> None:
    """Append until killed; each number is printed once it is acknowledged."""
    writer = SegmentLog(directory).writer()
    for number in count():
        writer.append([tick_frame(number)])
        print(number, flush=True)


def limited(directory: Path) -> None:
    """Append under a limit on the size of files, as some file systems have one; lift it in the end."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, resource.RLIM_INFINITY))
    writer, report = SegmentLog(directory).writer(), Report()
    for number in range(12):
        report.append(writer, number)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    for number in range(12, 20):
        report.append(writer, number)
    print(msgspec.json.encode(report).decode())


def full(directory: Path) -> None:
    """Append on a file system of its own until that is full, and go on once there is room."""
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(directory)], check=True)
    ballast = directory / "ballast"
    ballast.write_bytes(b"x" * 200_000)
    log, report = SegmentLog(directory / "log"), Report()
    writer, pairs = log.writer(), count()
    while len(report.messages) < 5:
        report.append(writer, next(pairs))
    report.files = len(list(log.directory.iterdir()))
    ballast.unlink()
    report.append(writer, next(pairs))
    report.found = numbers([entry.frame for entry in log.reader().read({})])
    print(msgspec.json.encode(report).decode())


MODES = {"for-ever": for_ever, "limited": limited, "full": full}

if __name__ == "__main__":
    MODES[sys.argv[2]](Path(sys.argv[1]))
