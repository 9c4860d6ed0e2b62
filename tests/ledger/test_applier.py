"""Delivered at least once, counted exactly once; and only one process writes."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossloop.core.clock import ManualClock
from lossloop.core.errors import InUse
from lossloop.ledger.applier import Applier, ApplierLock, Fold
from lossloop.ledger.base import Entry
from lossloop.ledger.files.segments import SegmentLog, SegmentReader
from lossloop.ledger.frames import Frame, Kind
from lossloop.ledger.sqlite.state import State
from tests.house.repository import ROOT
from tests.ledger.folding import Adding, applied
from tests.ledger.samples import tick_frame


class Crash(Exception):
    """The process dies here."""


class Place:
    """A directory with a log and a state, and appliers over them."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.log = SegmentLog(path / "log")
        self.state = State(path / "state.db")

    def put(self, *times: int) -> None:
        writer = self.log.writer()
        for moment in times:
            writer.append([tick_frame(moment)])
        writer.close()

    def apply(self, fold: Fold | None = None) -> int:
        """What a process does that starts, folds all there is, and ends, if it does not crash before."""
        applier = Applier(self.log, self.state, fold or Adding(self.state), ManualClock(77))
        try:
            return sum(iter(applier.step, 0))
        finally:
            applier.close()

    def entries(self) -> list[Entry]:
        reader = self.log.reader()
        found = list(reader.read({}))
        reader.close()
        return found

    def decided(self) -> list[str]:
        """The ids of the decisions in the log, in its order."""
        return [
            id
            for entry in self.entries()
            if isinstance(entry.frame, Frame) and entry.frame.kind is Kind.DECISION
            for id in entry.frame.batch.column("id").to_pylist()
        ]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.state.close()


class Crashing(Adding):
    """Dies behind a frame, or where it should write what it kept in memory."""

    def __init__(self, state: State, at: Callable[[], bool]) -> None:
        super().__init__(state)
        self._at = at

    def fold(self, frame: Frame, *, segment: str, start: int) -> list[tuple[str, str]]:
        made = super().fold(frame, segment=segment, start=start)
        if self._at():
            raise Crash
        return made

    def flush(self) -> None:
        super().flush()
        if self._at():
            raise Crash


def test_every_frame_is_folded_once(place: Place) -> None:
    place.put(1, 2, 3)
    place.put(4, 5)
    assert place.apply() == 5 + 1, "five facts and a frame with a decision"
    assert applied(place.state) == (5, 15)
    assert place.apply() == 0
    assert applied(place.state) == (5, 15)


def times(state: State) -> list[int]:
    """What a fold kept in memory until it was asked to write it."""
    return state.get("sum", "times", list[int]) or []


def test_a_fold_is_told_where_each_frame_lies(place: Place) -> None:
    place.put(1, 2, 3)
    fold = Adding(place.state)
    place.apply(fold)
    ends = [(entry.position.segment, entry.position.offset) for entry in place.entries()][:3]
    segment = ends[0][0]
    assert fold.places == [(segment, 0), *ends[:2]], "behind the end of the one before"
    reader = place.log.reader()
    for (name, start), wanted in zip(fold.places, (1, 2, 3), strict=True):
        entry = next(iter(reader.read({name: start})))
        assert isinstance(entry.frame, Frame)
        assert entry.frame.time == wanted
    reader.close()


def test_what_a_fold_kept_in_memory_is_written_once_per_commit(place: Place) -> None:
    place.put(1, 2, 3)
    place.apply()
    place.put(4, 5)
    place.apply()
    assert times(place.state) == [1, 2, 3, 4, 5]


def test_a_fold_that_cannot_write_leaves_nothing(place: Place) -> None:
    place.put(1, 2)
    calls = iter(range(100))
    with pytest.raises(Crash):
        place.apply(Crashing(place.state, lambda: next(calls) == 2))
    assert (applied(place.state), times(place.state), dict(place.state.offsets())) == ((0, 0), [], {})
    place.apply()
    assert times(place.state) == [1, 2]


def test_nothing_new_is_nothing_to_do(place: Place) -> None:
    assert place.apply() == 0


def test_decisions_are_facts_that_are_not_folded_again(place: Place) -> None:
    place.put(*range(7))
    place.apply()
    assert place.decided() == ["m/000003", "m/000006"]
    (frame,) = [
        entry.frame
        for entry in place.entries()
        if isinstance(entry.frame, Frame) and entry.frame.kind is Kind.DECISION
    ]
    assert frame.time == 77, "they bear the applier's time"
    assert frame.batch.column("body").to_pylist() == ['{"count": 3}', '{"count": 6}']
    assert applied(place.state)[0] == 7


def test_a_fold_that_fails_midway_leaves_nothing(place: Place) -> None:
    place.put(1, 2, 3, 4)
    calls = iter(range(100))
    with pytest.raises(Crash):
        place.apply(Crashing(place.state, lambda: next(calls) == 2))
    assert applied(place.state) == (0, 0)
    assert not place.state.offsets()
    assert not place.decided()
    place.apply()
    assert applied(place.state) == (4, 10)


def test_a_crash_between_decision_and_commit_decides_the_same_again(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.put(1, 2, 3)

    def crashes(self: SegmentReader, names: list[str]) -> None:
        raise Crash

    with monkeypatch.context() as patched:
        patched.setattr(SegmentReader, "sync", crashes)
        with pytest.raises(Crash):
            place.apply()
    assert place.decided() == ["m/000003"], "a decision is in the log before it counts"
    assert applied(place.state) == (0, 0)
    place.apply()
    assert applied(place.state) == (3, 6)
    assert place.decided() == ["m/000003", "m/000003"], "the same id: whoever acts on it does so once"


@settings(max_examples=40)
@given(
    st.lists(st.lists(st.integers(0, 99), max_size=6), min_size=1, max_size=4),
    st.lists(st.booleans(), max_size=12),
)
def test_however_often_it_crashes_every_frame_counts_once(
    tmp_path_factory: pytest.TempPathFactory, parts: list[list[int]], crashes: list[bool]
) -> None:
    place, crash = Place(tmp_path_factory.mktemp("place")), iter(crashes)
    for part in parts:
        place.put(*part)
        for _ in range(20):
            try:
                place.apply(Crashing(place.state, lambda: next(crash, False)))
            except Crash:
                continue
            break
    sent = [moment for part in parts for moment in part]
    assert applied(place.state) == (len(sent), sum(sent))
    assert sorted(times(place.state)) == sorted(sent)
    assert set(place.decided()) == {f"m/{count:06d}" for count in range(3, len(sent) + 1, 3)}
    place.state.close()


def test_damage_is_passed_over_and_counted(place: Place) -> None:
    place.put(1, 2, 3)
    (file,) = place.log.directory.iterdir()
    raw = bytearray(file.read_bytes())
    size = len(raw) // 3
    raw[size + 40] ^= 1
    file.write_bytes(raw)
    applier = Applier(place.log, place.state, Adding(place.state), ManualClock())
    assert applier.step() == 3
    assert list(place.state.all("damage", int).values()) == [size]
    assert applied(place.state) == (2, 4)
    assert applier.step() == 0, "damage is passed over once"
    applier.close()


def test_the_applier_adds_facts_of_its_own(place: Place) -> None:
    applier = Applier(place.log, place.state, Adding(place.state), ManualClock())
    applier.append(tick_frame(9))
    assert applier.step() == 1
    assert applied(place.state) == (1, 9)
    applier.close()


# Processes.


def start(path: Path) -> subprocess.Popen[str]:
    """An applying process that holds the lock."""
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.ledger.folding", str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "applying\n"
    return child


def kill(child: subprocess.Popen[str]) -> None:
    with child:
        child.kill()


def test_kill_9_loses_and_repeats_nothing(place: Place) -> None:
    sent = 0
    for _ in range(3):
        child = start(place.path)
        for number in range(60):
            place.put(sent + number)
        sent += 60
        kill(child)
    child = start(place.path)
    deadline = time.monotonic() + 60
    while applied(place.state)[0] < sent and time.monotonic() < deadline:
        time.sleep(0.01)
    kill(child)
    assert applied(place.state) == (sent, sum(range(sent)))
    assert sorted(set(place.decided())) == [f"m/{count:06d}" for count in range(3, sent + 1, 3)]


def test_one_process_holds_the_lock_until_it_is_gone(tmp_path: Path) -> None:
    child = start(tmp_path)
    with pytest.raises(InUse, match=r"another process writes .*; stop it first, or use another directory"):
        ApplierLock(tmp_path / "lock")
    kill(child)
    lock = ApplierLock(tmp_path / "lock")
    with pytest.raises(InUse):
        ApplierLock(tmp_path / "lock")
    lock.release()
    ApplierLock(tmp_path / "lock").release()
