"""A cut through a log in use holds whole frames up to one moment, and no effect without its cause."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossloop.core.clock import SystemClock
from lossloop.ledger.files import durable, manifests
from lossloop.ledger.files.cutting import Piece, cut
from lossloop.ledger.files.manifests import NOTE, sealed_directory
from lossloop.ledger.files.sealing import seal
from lossloop.ledger.files.segments import SegmentLog
from lossloop.ledger.files.verify import verify
from lossloop.ledger.frames import HEADER_SIZE, Damage, Frame
from tests.ledger.anyframes import assert_same, everything, write
from tests.ledger.samples import prediction_frame, tick_frame
from tests.ledger.test_sealing import flip

NEVER = 1 << 62


def carried_out(log: SegmentLog, pieces: list[Piece], place: Path) -> SegmentLog:
    """A log of these pieces alone."""
    for piece in pieces:
        target = place / piece.path.relative_to(log.directory)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(piece.path.read_bytes()[: piece.bytes])
    place.mkdir(exist_ok=True)
    return SegmentLog(place)


@settings(max_examples=30)
@given(
    st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=5).map(sorted), min_size=1, max_size=3),
    st.integers(-1, 10),
    st.booleans(),
)
def test_a_cut_holds_what_came_up_to_a_moment(
    tmp_path_factory: pytest.TempPathFactory, parts: list[list[int]], until: int, sealed: bool
) -> None:
    log = SegmentLog(tmp_path_factory.mktemp("log"))
    paths = write(log, [[tick_frame(moment) for moment in times] for times in parts])
    if sealed:
        seal(log.directory, {paths[0].name: paths[0].stat().st_size})
    wanted = [
        entry
        for entry in everything(log)
        if isinstance(entry.frame, Frame)
        and (entry.frame.time <= until or (sealed and entry.position.segment == paths[0].name))
    ]
    copy = carried_out(log, cut(log.directory, until), tmp_path_factory.mktemp("copy") / "log")
    assert_same(everything(copy), wanted)
    assert verify(copy.directory).sound


def test_a_torn_tail_and_what_is_no_segment_stay_behind(tmp_path: Path) -> None:
    log = SegmentLog(tmp_path / "log")
    (path,) = write(log, [[tick_frame(1), tick_frame(2)]])
    size = path.stat().st_size
    with path.open("ab") as file:
        file.write(b"LLF1 torn")
    (log.directory / "notes.txt").touch()
    (log.directory / "empty.seg").touch()
    assert cut(log.directory, NEVER) == [Piece(path=path, bytes=size)]


def test_damage_in_the_middle_goes_along(tmp_path: Path) -> None:
    log = SegmentLog(tmp_path / "log")
    (path,) = write(log, [[tick_frame(number) for number in range(4)]])
    flip(path, path.stat().st_size // 4)  # a header
    flip(path, 2 * (path.stat().st_size // 4) + HEADER_SIZE + 9)  # a payload
    wanted = everything(log)
    assert sum(isinstance(entry.frame, Damage) for entry in wanted) == 2
    assert_same(everything(carried_out(log, cut(log.directory, NEVER), tmp_path / "copy")), wanted)


def test_a_fact_that_is_still_to_be_told_goes_along(tmp_path: Path) -> None:
    log = SegmentLog(tmp_path / "log")
    write(log, [[tick_frame(1)]])
    seal(log.directory)
    note = sealed_directory(log.directory) / NOTE
    note.write_bytes(b"{}")
    assert Piece(path=note, bytes=2) in cut(log.directory, NEVER)


@contextmanager
def written_to(log: SegmentLog) -> Iterator[None]:
    """Two writers: what the second writes says how far the first one was."""
    over, clock = threading.Event(), SystemClock()
    cause, effect = log.writer(), log.writer()  # which make the directory: there is something to copy

    def work() -> None:
        number = 0
        while not over.is_set():
            number += 1
            cause.append([prediction_frame([f"{number}"], time=clock.now(), model="cause")])
            effect.append([prediction_frame([f"{number}"], time=clock.now(), model="effect")])
            time.sleep(0.001)
        cause.close()
        effect.close()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def last_numbers(log: SegmentLog) -> dict[str, int]:
    found = {"cause": 0, "effect": 0}
    for entry in everything(log):
        assert isinstance(entry.frame, Frame)
        model = entry.frame.batch.schema.metadata[b"model"].decode()
        found[model] = max(found[model], int(entry.frame.batch.column("id")[0].as_py()))
    return found


def test_no_effect_without_its_cause(tmp_path: Path) -> None:
    log, clock = SegmentLog(tmp_path / "log", roll_at=20_000), SystemClock()
    with written_to(log):
        for number in range(9):
            with durable.maintained(sealed_directory(log.directory)):
                pieces = cut(log.directory, clock.now())
            if number % 4 == 0:
                seal(log.directory)
                continue
            copy = carried_out(log, pieces, tmp_path / f"copy{number}")
            numbers = last_numbers(copy)
            assert numbers["cause"] - 1 <= numbers["effect"] <= numbers["cause"]
            assert verify(copy.directory).sound


@pytest.mark.slow
def test_a_directory_copied_while_in_use_is_right_or_an_error(tmp_path: Path) -> None:
    """Without an export: what was there as the copying began is there, or the copying says what went."""
    log = SegmentLog(tmp_path / "log", roll_at=5_000)
    right = 0
    with written_to(log):
        for number in count():
            if right >= 5 and len(manifests.manifests(log.directory)) > 5:
                break
            before, place = last_numbers(log), tmp_path / f"copy{number}"
            sealing = threading.Thread(target=seal, args=(log.directory,))
            sealing.start()
            try:
                shutil.copytree(log.directory, place)
            except shutil.Error:  # a clear error: a file that was listed had been sealed
                continue
            finally:
                sealing.join()
            copy = SegmentLog(place)
            after = last_numbers(copy)
            assert after["cause"] >= before["cause"]
            assert after["effect"] >= before["effect"]
            assert not [finding for finding in verify(place).findings if finding.what != "torn"]
            right += 1
