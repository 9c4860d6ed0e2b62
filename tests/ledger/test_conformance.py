"""Every log and every store passes every check; the checks can fail."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
import pytest

import lossloop.ledger
from lossloop.ledger.base import Entry, Offsets, Position
from lossloop.ledger.buffered import Changes
from lossloop.ledger.checks import CHECKS, STORE_CHECKS, Make, MakePlace
from lossloop.ledger.files.segments import SegmentLog
from lossloop.ledger.frames import Frame
from lossloop.ledger.memory import Memory, MemoryLog, MemoryReader, MemoryStore, MemoryWriter
from lossloop.ledger.postgres.log import PostgresLog
from lossloop.ledger.postgres.store import PartitionLog, PostgresStore
from lossloop.ledger.postgres.view import PostgresView
from lossloop.ledger.sqlite.state import State
from lossloop.ledger.store import Chunk
from tests.ledger.postgres.places import Partition, new_database
from tests.ledger.postgres.server import Server

Check = Callable[[Make], None]
StoreCheck = Callable[[MakePlace], None]
T = TypeVar("T")
READ_ONLY = {PostgresView}
"""Stores that the checks meet as the readers of another one."""


def classes(*methods: str) -> set[type]:
    """Every class of the folder with these methods that is neither a contract nor unfinished."""
    modules = [
        importlib.import_module(found.name)
        for found in pkgutil.walk_packages(lossloop.ledger.__path__, "lossloop.ledger.")
    ]
    return {
        kind
        for module in modules
        for _, kind in inspect.getmembers(module, inspect.isclass)
        if set(methods) <= set(dir(kind))
        and not (inspect.isabstract(kind) or getattr(kind, "_is_protocol", False))
    }


LOGS = classes("writer", "reader")
STORES = classes("put_chunk", "chunks", "transaction") - READ_ONLY


class Embedded:
    """A state database in a directory."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self._path = directory / "state.db"

    def writer(self) -> State:
        return State(self._path)

    def reader(self) -> State:
        return State(self._path, read_only=True)


class InMemory:
    """Stores over the same memory."""

    def __init__(self) -> None:
        self._memory = Memory()

    def writer(self) -> MemoryStore:
        return MemoryStore(self._memory)

    reader = writer


@pytest.fixture
def places(tmp_path: Path) -> Iterator[Path]:
    return iter(tmp_path / str(number) for number in range(100))


@pytest.fixture
def partition(server: Server) -> Iterator[Callable[[], Partition]]:
    made: list[Partition] = []

    def make() -> Partition:
        made.append(Partition(new_database(server)))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture(params=sorted(LOGS, key=str))
def make(
    request: pytest.FixtureRequest, places: Iterator[Path], partition: Callable[[], Partition], server: Server
) -> Make:
    """Makes empty logs of one implementation."""
    makers: dict[type, Make] = {
        MemoryLog: MemoryLog,
        SegmentLog: lambda: SegmentLog(next(places)),
        PostgresLog: lambda: PostgresLog(new_database(server, partitions=3)),
        PartitionLog: lambda: partition().log(),
    }
    assert request.param in makers, f"say here how an empty {request.param.__name__} is made"
    return makers[request.param]


@pytest.fixture(params=sorted(STORES, key=str))
def make_place(
    request: pytest.FixtureRequest, places: Iterator[Path], partition: Callable[[], Partition]
) -> MakePlace:
    """Makes places of empty stores of one implementation."""
    makers: dict[type, MakePlace] = {
        MemoryStore: InMemory,
        State: lambda: Embedded(next(places)),
        PostgresStore: partition,
    }
    assert request.param in makers, f"say here where an empty {request.param.__name__} lies"
    return makers[request.param]


def test_the_implementations_are_found() -> None:
    assert {MemoryLog, SegmentLog, PostgresLog, PartitionLog} <= LOGS
    assert {MemoryStore, State, PostgresStore} <= STORES


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_a_log_keeps_its_contract(check: Check, make: Make) -> None:
    check(make)


@pytest.mark.parametrize("check", STORE_CHECKS, ids=lambda check: check.__name__)
def test_a_store_keeps_its_contract(check: StoreCheck, make_place: MakePlace) -> None:
    check(make_place)


class _Forgetful(MemoryLog):
    """A log that breaks every promise it can: offsets are ignored, segments are mixed and backwards."""

    def writer(self) -> MemoryWriter:
        return _Mixing(self)

    def reader(self) -> MemoryReader:
        return _Repeating(self)


class _Mixing(MemoryWriter):
    def __init__(self, log: MemoryLog) -> None:
        super().__init__(log)
        shared = log.segments.setdefault("shared", [])
        log.segments[self._segment] = self._frames = shared

    def append(self, frames: Sequence[Frame]) -> Position:
        position = super().append(frames)
        return Position(segment=position.segment, offset=position.offset + 1)

    def close(self) -> None:
        self._frames.clear()


class _Repeating(MemoryReader):
    def read(self, after: Offsets, *, most: int = 1) -> Iterator[Entry]:
        yield from reversed(list(super().read({})))


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_checks_of_logs_can_fail(check: Check) -> None:
    with pytest.raises(AssertionError):
        check(_Forgetful)


class _Careless(MemoryStore):
    """A store that breaks every promise it can."""

    @contextmanager
    def transaction(self) -> Iterator[None]:
        self._blocks.append(Changes())
        try:
            yield
        finally:
            self._commit(self._blocks.pop())

    def get(self, kind: str, key: str, type: type[T]) -> T | None:
        found: Any = super().get(kind, key, object)
        return found or 0  # type: ignore[return-value]

    def all(self, kind: str, type: type[T], *, prefix: str = "") -> dict[str, T]:
        return dict(reversed(super().all(kind, type).items()))

    def offsets(self) -> Offsets:
        return {"a": max(super().offsets().values(), default=1)}

    def streams(self, prefix: str) -> list[str]:
        return super().streams("")[::-1]

    def chunks(self, stream: str, *, after: int = -1) -> Iterator[Chunk]:
        for chunk in reversed(list(super().chunks(stream))):
            yield Chunk(first=chunk.first, batch=chunk.batch.replace_schema_metadata({}).slice(1))

    def put_chunk(self, stream: str, first: int, batch: pa.RecordBatch) -> None:
        super().put_chunk(stream, first, batch.slice(0, 1))


class _Nowhere:
    def writer(self) -> MemoryStore:
        return _Careless()

    reader = writer


@pytest.mark.parametrize("check", STORE_CHECKS, ids=lambda check: check.__name__)
def test_the_checks_of_stores_can_fail(check: StoreCheck) -> None:
    with pytest.raises(AssertionError):
        check(_Nowhere)
