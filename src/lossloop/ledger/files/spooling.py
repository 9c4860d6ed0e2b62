"""Frames from elsewhere as ordinary segment files, one at a time, for a bundle.

A segment lies in a file without a name until it is packed: of a process that is killed, nothing stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryFile

from lossloop.core.clock import Micros
from lossloop.ledger.files.bundle import Held
from lossloop.ledger.files.segments import ROLL_AT, name_after
from lossloop.ledger.frames import Frame, encode, seed_of


def spooled(frames: Iterable[Frame], folder: Path, *, roll_at: int = ROLL_AT) -> Iterator[Held]:
    """Segments that hold these frames, and are read in this order; each is finished before the next begins.

    Across segments the order is that of receipt times. So the first frame of a segment gets the latest
    receipt time of those before it, where its own is earlier; no other frame changes.

    Args:
        frames: In the order in which they are to be read.
        folder: On the disk that has room for a segment; nothing is seen there.
        roll_at: Bytes from which on another segment begins.
    """
    latest: Micros = 0
    segment = _Segment("", folder)
    try:
        for frame in frames:
            if segment.bytes >= roll_at:
                yield segment.held()
                segment.close()
                segment = _Segment(segment.name, folder)
            segment.add(frame if segment.bytes else replace(frame, time=max(frame.time, latest)))
            latest = max(latest, frame.time)
        if segment.bytes:
            yield segment.held()
    finally:
        segment.close()


class _Segment:
    """A segment that is being written."""

    def __init__(self, before: str, folder: Path) -> None:
        self.name = name_after(before)
        self.bytes = 0
        self._seed = seed_of(self.name)
        self._file = TemporaryFile(dir=folder)  # noqa: SIM115  (its life is that of the segment)

    def add(self, frame: Frame) -> None:
        data = encode(frame, self._seed)
        self._file.write(data)
        self.bytes += len(data)

    def held(self) -> Held:
        return Held(name=f"log/{self.name}", file=self._file, bytes=self.bytes)

    def close(self) -> None:
        """Give the bytes back; closing twice is harmless."""
        self._file.close()
