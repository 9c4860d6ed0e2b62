"""Transactions that gather what changes in memory and hand it to an engine once, when they are whole.

An engine reads what was committed and takes a whole `Changes`. Blocks within blocks, what a block sees of its
own changes, and what is left where one fails, are here, once for every engine.
"""

from __future__ import annotations

import abc
import heapq
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec
import pyarrow as pa

from lossloop.ledger.base import Offsets
from lossloop.ledger.frames import Frame
from lossloop.ledger.store import Chunk

T = TypeVar("T")
Key = tuple[str, str]
"""Kind and key of a document."""


class Gone:
    """In place of a document that was dropped."""


GONE = Gone()
_EVERY_ROW = (-(1 << 63), (1 << 63) - 1)


@dataclass(kw_only=True)
class StreamChanges:
    """What happened to a stream: committed chunks that begin in a cut are gone, and these are there."""

    cuts: list[tuple[int, int]] = field(default_factory=list)
    chunks: dict[int, pa.RecordBatch] = field(default_factory=dict)

    def cut(self, low: int, high: int) -> None:
        """Chunks that begin at `low` or behind it and before `high` are gone."""
        self.cuts.append((low, high))
        for first in [first for first in self.chunks if low <= first < high]:
            del self.chunks[first]

    def absorb(self, later: StreamChanges) -> None:
        """What a block within this one changed."""
        for low, high in later.cuts:
            self.cut(low, high)
        self.chunks |= later.chunks

    def keeps(self, first: int) -> bool:
        """Whether a committed chunk that begins here is still there."""
        return not any(low <= first < high for low, high in self.cuts)


@dataclass(kw_only=True)
class Changes:
    """What a transaction changes, and the frames that it appends to the log."""

    documents: dict[Key, Any] = field(default_factory=dict)
    """Values by kind and key; GONE for what was dropped."""
    offsets: dict[str, int] = field(default_factory=dict)
    streams: dict[str, StreamChanges] = field(default_factory=dict)
    frames: list[tuple[Any, Frame]] = field(default_factory=list)
    """Each with what its engine needs to know of the writer."""

    def stream(self, name: str) -> StreamChanges:
        """The changes of a stream."""
        return self.streams.setdefault(name, StreamChanges())

    def absorb(self, later: Changes) -> None:
        """What a block within this one changed."""
        self.documents |= later.documents
        self.offsets |= later.offsets
        for name, changes in later.streams.items():
            self.stream(name).absorb(changes)
        self.frames += later.frames

    def __bool__(self) -> bool:
        return bool(self.documents or self.offsets or self.streams or self.frames)


class BufferedStore(abc.ABC):
    """A Store over what an engine has committed."""

    def __init__(self) -> None:
        self._blocks: list[Changes] = []

    # What an engine does.

    @abc.abstractmethod
    def _committed_document(self, kind: str, key: str, type: type[T]) -> T | None: ...

    @abc.abstractmethod
    def _committed_documents(self, kind: str, type: type[T], prefix: str) -> Mapping[str, T]: ...

    @abc.abstractmethod
    def _committed_offsets(self) -> Offsets: ...

    @abc.abstractmethod
    def _committed_streams(self, prefix: str) -> Sequence[str]: ...

    @abc.abstractmethod
    def _committed_chunks(self, stream: str, after: int) -> Iterator[Chunk]: ...

    @abc.abstractmethod
    def _commit(self, changes: Changes) -> None:
        """Make the changes durable, all or none."""

    # Transactions.

    @contextmanager
    def transaction(self) -> Iterator[None]:
        block = Changes()
        self._blocks.append(block)
        try:
            yield
        finally:
            self._blocks.pop()
        if self._blocks:
            self._blocks[-1].absorb(block)
        elif block:
            self._commit(block)

    # Documents.

    def get(self, kind: str, key: str, type: type[T]) -> T | None:
        for block in reversed(self._blocks):
            if (kind, key) in block.documents:
                value = block.documents[kind, key]
                return None if value is GONE else as_type(value, type)
        return self._committed_document(kind, key, type)

    def put(self, kind: str, key: str, value: Any) -> None:
        with self.transaction():
            self._blocks[-1].documents[kind, key] = value

    def drop(self, kind: str, key: str) -> None:
        with self.transaction():
            self._blocks[-1].documents[kind, key] = GONE

    def all(self, kind: str, type: type[T], *, prefix: str = "") -> dict[str, T]:
        found: dict[str, T] = dict(self._committed_documents(kind, type, prefix))
        changed = {
            key: value
            for block in self._blocks
            for (its_kind, key), value in block.documents.items()
            if its_kind == kind and key.startswith(prefix)
        }
        if not changed:
            return found
        for key, value in changed.items():
            if value is GONE:
                found.pop(key, None)
            else:
                found[key] = as_type(value, type)
        return dict(sorted(found.items()))

    # How far the log was folded.

    def offsets(self) -> Offsets:
        offsets = dict(self._committed_offsets())
        for block in self._blocks:
            offsets |= block.offsets
        return offsets

    def put_offset(self, segment: str, reached: int) -> None:
        with self.transaction():
            self._blocks[-1].offsets[segment] = reached

    # Streams.

    def streams(self, prefix: str) -> list[str]:
        names = set(self._committed_streams(prefix))
        for name in {name for block in self._blocks for name in block.streams if name.startswith(prefix)}:
            changes = self._changes_of(name)
            if changes.chunks:
                names.add(name)
            elif not any(changes.keeps(chunk.first) for chunk in self._committed_chunks(name, _EVERY_ROW[0])):
                names.discard(name)
        return sorted(names)

    def chunks(self, stream: str, *, after: int = -1) -> Iterator[Chunk]:
        changes = self._changes_of(stream)
        kept = (chunk for chunk in self._committed_chunks(stream, after) if changes.keeps(chunk.first))
        new = (Chunk(first=first, batch=changes.chunks[first])
               for first in sorted(changes.chunks) if first > after)  # fmt: skip
        yield from heapq.merge(kept, new, key=lambda chunk: chunk.first)

    def put_chunk(self, stream: str, first: int, batch: pa.RecordBatch) -> None:
        with self.transaction():
            changes = self._blocks[-1].stream(stream)
            changes.cut(first, first + batch.num_rows)
            changes.chunks[first] = batch

    def drop_stream(self, stream: str) -> None:
        with self.transaction():
            self._blocks[-1].stream(stream).cut(*_EVERY_ROW)

    def _changes_of(self, stream: str) -> StreamChanges:
        """What the blocks that are open have changed of a stream."""
        merged = StreamChanges()
        for block in self._blocks:
            if stream in block.streams:
                merged.absorb(block.streams[stream])
        return merged


def as_type(value: Any, type: type[T]) -> T:
    """A value that was put, as the type that it is asked for: itself, or made anew from its JSON."""
    if is_a(value, type):
        return value  # type: ignore[no-any-return]
    return msgspec.json.decode(msgspec.json.encode(value), type=type, strict=False)


def is_a(value: Any, type: Any) -> bool:
    """Whether a value can be handed out for a type as it is."""
    try:
        return isinstance(value, type)
    except TypeError:  # a type such as tuple[str, ...]
        return False


def text_of(value: Any) -> str:
    """A document as it is stored."""
    return msgspec.json.encode(value, order="deterministic").decode()
