"""Derived state as everyone but its appliers sees it: what all partitions have committed, as one."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, NoReturn, TypeVar

import msgspec
import pyarrow as pa

from lossloop.core.errors import Conflict
from lossloop.ledger.base import Offsets
from lossloop.ledger.names import read, written
from lossloop.ledger.postgres.chunks import behind_prefix, read_chunks
from lossloop.ledger.postgres.database import Database
from lossloop.ledger.postgres.frames import EVERY, partition_of
from lossloop.ledger.postgres.hurried import Hurried
from lossloop.ledger.postgres.session import Session
from lossloop.ledger.store import Chunk

T = TypeVar("T")
LOOK_AGAIN = 60.0
"""Seconds after which all segments are looked at, and not only those that do not rest."""
_EVERYBODYS = frozenset({"clock"})
"""Kinds of documents that each partition has for itself: the one written last is told."""


class PostgresView:
    """A Store that is only read, by servers and workers.

    Where several partitions have a document (the clock, the result of a command for all), the partition
    that its key belongs to has the say, else whoever wrote last.

    Args:
        database: Where the ledger lies.
        hurried: Whether a database that is away is an error at once.
    """

    def __init__(self, database: Database, *, hurried: bool = False) -> None:
        self._session = Hurried(database) if hurried else Session(database)
        self._offsets: dict[str, int] = {}
        self._looked = float("-inf")

    def change(self) -> int:
        return int(self._session.rows("commits")[0][0])

    def close(self) -> None:
        self._session.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Reads need none."""
        yield

    def get(self, kind: str, key: str, type: type[T]) -> T | None:
        found = self._session.rows("document", kind=kind, key=written(key), home=self._home(kind, key))
        return msgspec.json.decode(found[0][0], type=type, strict=False) if found else None

    def all(self, kind: str, type: type[T], *, prefix: str = "") -> dict[str, T]:
        bodies: dict[str, tuple[str, bool]] = {}
        for key, body, partition in self._session.rows("documents", kind=kind, **behind_prefix(prefix)):
            if key not in bodies or not bodies[key][1]:
                bodies[key] = (body, partition == self._home(kind, key))
        return {
            read(key): msgspec.json.decode(body, type=type, strict=False) for key, (body, _) in bodies.items()
        }

    def _home(self, kind: str, key: str) -> int:
        """The partition of the model that a key begins with, if it does."""
        if kind in _EVERYBODYS:
            return EVERY
        return partition_of(key.partition("/")[0], self._session.partitions)

    def offsets(self) -> Offsets:
        everything = time.monotonic() > self._looked + LOOK_AGAIN
        rows = self._session.rows("offsets", all=everything, span=timedelta(seconds=2 * LOOK_AGAIN))
        if everything:
            self._looked = time.monotonic()
            self._offsets.clear()
        self._offsets |= dict(rows)
        return dict(self._offsets)

    def streams(self, prefix: str) -> list[str]:
        found = self._session.rows("streams", partitions=self._all(), **behind_prefix(prefix))
        return sorted(name for (name,) in found)

    def chunks(self, stream: str, *, after: int = -1) -> Iterator[Chunk]:
        return read_chunks(self._session, stream, self._all(), after)

    def _all(self) -> list[int]:
        return list(range(self._session.partitions))

    # What only an applier does.

    def put(self, kind: str, key: str, value: Any) -> None:
        _refuse()

    def drop(self, kind: str, key: str) -> None:
        _refuse()

    def put_offset(self, segment: str, reached: int) -> None:
        _refuse()

    def put_chunk(self, stream: str, first: int, batch: pa.RecordBatch) -> None:
        _refuse()

    def drop_stream(self, stream: str) -> None:
        _refuse()


def _refuse() -> NoReturn:
    raise Conflict("this state is only read here; an applier that holds the partition writes it")
