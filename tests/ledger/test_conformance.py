"""Every log passes every check; the checks can fail."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

import lossloop.ledger
from lossloop.ledger.base import Entry, Log, Offsets, Position
from lossloop.ledger.checks import CHECKS, Make
from lossloop.ledger.frames import Frame
from lossloop.ledger.memory import MemoryLog, MemoryReader, MemoryWriter
from lossloop.ledger.segments import SegmentLog

Check = Callable[[Make], None]


def implementations() -> set[type]:
    """Every class of the folder that can be opened for writing and for reading."""
    modules = [
        importlib.import_module(f"lossloop.ledger.{found.name}")
        for found in pkgutil.iter_modules(lossloop.ledger.__path__)
    ]
    return {
        kind
        for module in modules
        for _, kind in inspect.getmembers(module, inspect.isclass)
        if {"writer", "reader"} <= set(dir(kind)) and kind is not Log
    }


@pytest.fixture(params=sorted(implementations(), key=str))
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Make:
    """Makes empty logs of one implementation."""
    places = iter(tmp_path / str(number) for number in range(100))
    makers: dict[type, Make] = {MemoryLog: MemoryLog, SegmentLog: lambda: SegmentLog(next(places))}
    assert request.param in makers, f"say here how an empty {request.param.__name__} is made"
    return makers[request.param]


def test_the_implementations_are_found() -> None:
    assert {MemoryLog, SegmentLog} <= implementations()


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_a_log_keeps_its_contract(check: Check, make: Make) -> None:
    check(make)


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
def test_the_checks_can_fail(check: Check) -> None:
    with pytest.raises(AssertionError):
        check(_Forgetful)
