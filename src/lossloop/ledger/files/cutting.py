"""A consistent cut through a log that is in use: what every segment held up to one moment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from lossloop.core.clock import Micros
from lossloop.ledger.files import manifests
from lossloop.ledger.files.explain import explain_tail
from lossloop.ledger.files.opened import SUFFIX, OpenSegment
from lossloop.ledger.findings import TORN
from lossloop.ledger.frames import HEADER_SIZE, header_of, seed_of


@dataclass(frozen=True, kw_only=True)
class Piece:
    """The first bytes of a file."""

    path: Path
    bytes: int


def cut(log: Path, until: Micros) -> list[Piece]:
    """The files, and how much of each, that hold what was received up to a moment that has passed.

    A fact that another one led to was on disk before that one was received; so the cut never holds an effect
    without its cause. The caller holds the right to change what is sealed: meanwhile nothing is.

    Args:
        log: The directory of segments.
        until: Microseconds since 1970; not in the future.
    """
    pieces = [
        Piece(path=log / path.name, bytes=length)
        for path in sorted(log.glob(f"*{SUFFIX}"))
        if path.is_file() and (length := _length(log, path.name, until))
    ]
    root = manifests.sealed_directory(log)
    for manifest in manifests.manifests(log):
        pieces += [Piece(path=root / blob.path, bytes=blob.bytes) for blob in manifest.blobs]
        pieces.append(whole(manifests.manifest_path(log, manifest.segment)))
    note = root / manifests.NOTE
    return [*pieces, whole(note)] if note.exists() else pieces


def damaged_tails(log: Path, reached: Mapping[str, int]) -> Iterator[tuple[str, int, int]]:
    """Segments, and the range of each, that end in what was a frame once and that no reader can pass.

    Args:
        log: The directory of segments.
        reached: How far each was read.
    """
    for path in sorted(log.glob(f"*{SUFFIX}")):
        segment = OpenSegment(log, path.name)
        start, end = reached.get(path.name, 0), segment.size()
        tail = segment.raw(start, end)
        segment.close()
        if tail and explain_tail(path.name, tail, start, seed_of(path.name)).what != TORN:
            yield path.name, start, end
    for manifest in manifests.manifests(log):
        for each in manifest.damaged:
            if each.start >= manifest.end and not each.torn:
                yield manifest.segment, each.start, each.end


def whole(path: Path) -> Piece:
    """All of a file that does not change."""
    return Piece(path=path, bytes=path.stat().st_size)


def _length(log: Path, name: str, until: Micros) -> int:
    """Where the last frame ends before the first one that was received after a moment."""
    segment = OpenSegment(log, name)
    try:
        size, seed, reached = segment.size(), seed_of(name), 0
        while reached < size:
            header = header_of(segment.raw(reached, reached + HEADER_SIZE), seed)
            if header is None:  # damage goes along; what a crash cut off was never acknowledged
                entries = segment.entries(reached, 1)
                if not entries:
                    tail = explain_tail(name, segment.raw(reached, size), reached, seed)
                    return reached if tail.what == TORN else size
                reached = entries[0].position.offset
            elif header.time > until or reached + header.size > size:
                break
            else:
                reached += header.size
        return reached
    finally:
        segment.close()
