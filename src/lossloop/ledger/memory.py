"""A log and a store in memory: for tests, and for folding what need not survive."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import msgspec
import pyarrow as pa

from lossloop.core.ids import new_id
from lossloop.ledger.base import Entry, Offsets, Position, merged
from lossloop.ledger.buffered import GONE, BufferedStore, Changes, Key, text_of
from lossloop.ledger.frames import Frame
from lossloop.ledger.store import Chunk

T = TypeVar("T")


class MemoryLog:
    """Segments as lists of frames; an offset counts frames."""

    def __init__(self) -> None:
        self.segments: dict[str, list[Frame]] = {}

    def writer(self) -> MemoryWriter:
        return MemoryWriter(self)

    def reader(self) -> MemoryReader:
        return MemoryReader(self)


class MemoryWriter:
    """Appends to a segment of its own."""

    def __init__(self, log: MemoryLog) -> None:
        self._frames: list[Frame] = []
        self._segment = new_id()
        log.segments[self._segment] = self._frames

    def append(self, frames: Sequence[Frame]) -> Position:
        self._frames.extend(frames)
        return Position(segment=self._segment, offset=len(self._frames))

    def close(self) -> None:
        """Nothing is held."""


class MemoryReader:
    """Reads all segments; `most` does not matter, since everything is in memory already."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log

    def read(self, after: Offsets, *, most: int = 1 << 62) -> Iterator[Entry]:
        found: dict[str, list[Entry]] = {}
        for segment in sorted(self._log.segments):
            start = after.get(segment, 0)
            frames = list(self._log.segments[segment][start:])
            found[segment] = [
                Entry(position=Position(segment=segment, offset=index), frame=frame)
                for index, frame in enumerate(frames, start + 1)
            ]
        yield from merged(found, set())

    def behind(self, after: Offsets) -> bool:
        return any(len(frames) > after.get(name, 0) for name, frames in self._log.segments.items())

    def sync(self, segments: Sequence[str]) -> None:
        """Nothing here outlives the process."""

    def close(self) -> None:
        """Nothing is held."""


@dataclass(kw_only=True)
class Memory:
    """What stores in memory have committed; several may share it, as connections share a database."""

    documents: dict[Key, str] = field(default_factory=dict)
    offsets: dict[str, int] = field(default_factory=dict)
    streams: dict[str, dict[int, pa.RecordBatch]] = field(default_factory=dict)
    commits: int = 0


class MemoryStore(BufferedStore):
    """Derived state in memory."""

    def __init__(self, memory: Memory | None = None) -> None:
        super().__init__()
        self._memory = memory or Memory()
        self._own = 0

    def change(self) -> int:
        return self._memory.commits - self._own

    def close(self) -> None:
        """Nothing is held."""

    def _commit(self, changes: Changes) -> None:
        memory = self._memory
        texts = {name: GONE if value is GONE else text_of(value) for name, value in changes.documents.items()}
        for name, text in texts.items():
            if isinstance(text, str):
                memory.documents[name] = text
            else:
                memory.documents.pop(name, None)
        memory.offsets |= changes.offsets
        for stream, changed in changes.streams.items():
            kept = {f: batch for f, batch in memory.streams.get(stream, {}).items() if changed.keeps(f)}
            memory.streams[stream] = dict(sorted({**kept, **changed.chunks}.items()))
        memory.commits += 1
        self._own += 1

    def _committed_document(self, kind: str, key: str, type: type[T]) -> T | None:
        text = self._memory.documents.get((kind, key))
        return None if text is None else msgspec.json.decode(text, type=type, strict=False)

    def _committed_documents(self, kind: str, type: type[T], prefix: str) -> Mapping[str, T]:
        return {
            key: msgspec.json.decode(text, type=type, strict=False)
            for (its_kind, key), text in sorted(self._memory.documents.items())
            if its_kind == kind and key.startswith(prefix)
        }

    def _committed_offsets(self) -> Offsets:
        return self._memory.offsets

    def _committed_streams(self, prefix: str) -> Sequence[str]:
        return [name for name, chunks in self._memory.streams.items() if chunks and name.startswith(prefix)]

    def _committed_chunks(self, stream: str, after: int) -> Iterator[Chunk]:
        for first, batch in list(self._memory.streams.get(stream, {}).items()):
            if first > after:
                yield Chunk(first=first, batch=batch)
