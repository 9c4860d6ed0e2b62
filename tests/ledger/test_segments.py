"""Segments: one file per writer, read from anywhere, never lost once acknowledged."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.core.errors import StateError, TooLarge
from lossloop.core.ids import uuid7
from lossloop.ledger import frames
from lossloop.ledger.base import Entry, Offsets, Position
from lossloop.ledger.files import listing, segments
from lossloop.ledger.files.opened import OpenSegment
from lossloop.ledger.files.segments import SUFFIX, SegmentLog, SegmentReader
from lossloop.ledger.frames import HEADER_SIZE, Damage, Frame, encode, seed_of
from tests.house.repository import ROOT
from tests.ledger.samples import numbers, prediction_frame, tick_frame


@pytest.fixture
def log(tmp_path: Path) -> SegmentLog:
    return SegmentLog(tmp_path / "log")


def everything(log: SegmentLog, after: Offsets | None = None) -> list[Entry]:
    reader = log.reader()
    found = list(reader.read(after or {}))
    reader.close()
    return found


def read_numbers(log: SegmentLog, after: Offsets | None = None) -> list[int]:
    return numbers([entry.frame for entry in everything(log, after)])


def files(log: SegmentLog) -> list[Path]:
    return sorted(log.directory.iterdir())


def put(log: SegmentLog, *values: int) -> Path:
    """A finished segment with these frames, one append each."""
    writer = log.writer()
    for value in values:
        writer.append([tick_frame(value)])
    writer.close()
    return log.directory / writer.segment


def behind(log: SegmentLog, after: Offsets) -> bool:
    reader = log.reader()
    try:
        return reader.behind(after)
    finally:
        reader.close()


def test_a_log_that_nobody_wrote_to_is_empty(log: SegmentLog) -> None:
    assert not everything(log)
    assert not behind(log, {})


def test_a_segment_is_a_file_for_its_owner_alone_that_is_made_at_the_first_append(log: SegmentLog) -> None:
    writer = log.writer()
    assert not files(log)
    position = writer.append([tick_frame(1)])
    (file,) = files(log)
    assert (file.name, file.suffix) == (writer.segment, SUFFIX)
    assert file.stat().st_mode & 0o777 == 0o600
    assert position == Position(segment=file.name, offset=file.stat().st_size)
    writer.close()


def test_what_is_acknowledged_is_in_the_file_before_the_writer_closes(log: SegmentLog) -> None:
    writer = log.writer()
    writer.append([tick_frame(1), tick_frame(2)])
    assert read_numbers(log) == [1, 2]
    writer.close()


def positions(entries: list[Entry]) -> list[Position]:
    return [entry.position for entry in entries]


@given(st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=4).map(sorted), min_size=1, max_size=4))
def test_facts_come_in_one_order_however_much_is_read_at_once(
    tmp_path_factory: pytest.TempPathFactory, parts: list[list[int]]
) -> None:
    log = SegmentLog(tmp_path_factory.mktemp("log"))
    for times in parts:
        put(log, *times)
    whole = everything(log)
    assert numbers([entry.frame for entry in whole]) == sorted(time for times in parts for time in times)
    for most in (1, 400, 700):
        reader, seen, offsets = log.reader(), [], dict[str, int]()
        while entries := list(reader.read(offsets, most=most)):
            offsets |= {entry.position.segment: entry.position.offset for entry in entries}
            seen += entries
        reader.close()
        assert positions(seen) == positions(whole)


@given(
    st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=4).map(sorted), max_size=4), st.integers(0, 16)
)
def test_reading_goes_on_from_anywhere(
    tmp_path_factory: pytest.TempPathFactory, parts: list[list[int]], start: int
) -> None:
    log = SegmentLog(tmp_path_factory.mktemp("log"))
    for times in parts:
        put(log, *times)
    whole = everything(log)
    offsets = {entry.position.segment: entry.position.offset for entry in whole[:start]}
    assert positions(everything(log, offsets)) == positions(whole[start:])
    assert behind(log, offsets) == (start < len(whole))


@pytest.mark.parametrize("most", [1, HEADER_SIZE, 100, 5000])
def test_a_frame_larger_than_a_read_is_read_alone(log: SegmentLog, most: int) -> None:
    writer = log.writer()
    large = prediction_frame([f"{i:040d}" for i in range(1000)])
    for _ in range(3):
        writer.append([large])
    writer.close()
    reader = log.reader()
    entries = list(reader.read({}, most=most))
    reader.close()
    assert len(entries) == (1 if most >= HEADER_SIZE else 3), "a read took more than it had to"
    assert isinstance(entries[0].frame, Frame)
    assert entries[0].frame.batch.num_rows == 1000


def test_other_files_in_the_directory_are_no_segments(log: SegmentLog) -> None:
    put(log, 1)
    (log.directory / "notes.txt").write_text("not a segment")
    (log.directory / f"empty{SUFFIX}").touch()
    assert read_numbers(log) == [1]


@given(st.integers(1, 400), st.booleans())
def test_a_torn_tail_is_left_and_read_once_it_is_whole(
    tmp_path_factory: pytest.TempPathFactory, cut: int, resumes: bool
) -> None:
    log = SegmentLog(tmp_path_factory.mktemp("log"))
    file = put(log, 1, 2)
    raw = file.read_bytes()
    tail = encode(tick_frame(3), seed_of(file.name))
    cut = min(cut, len(tail) - 1)
    file.write_bytes(raw + tail[:cut])
    (first, second) = everything(log)
    offsets = {second.position.segment: second.position.offset}
    assert second.position.offset == len(raw)
    assert not behind(log, offsets)
    if resumes:
        with file.open("ab") as writing:
            writing.write(tail[cut:])
        assert behind(log, offsets)
        assert read_numbers(log, offsets) == [3]
    assert first.position.offset < second.position.offset


def test_damage_is_passed_over_and_said(log: SegmentLog) -> None:
    file = put(log, 1, 2, 3)
    raw = bytearray(file.read_bytes())
    size = len(raw) // 3
    raw[size + HEADER_SIZE + 5] ^= 4
    raw[2 * size : 2 * size] = b"foreign bytes"
    file.write_bytes(raw)
    found = everything(log)
    assert [entry.frame for entry in found if isinstance(entry.frame, Damage)] == [
        Damage(start=size, end=2 * size),
        Damage(start=2 * size, end=2 * size + 13),
    ]
    assert numbers([found[0].frame, found[-1].frame]) == [1, 3]
    assert found[-1].position.offset == len(raw)


def test_a_reader_is_behind_also_where_damage_comes_first(log: SegmentLog) -> None:
    file = put(log, 1, 2)
    raw = bytearray(file.read_bytes())
    raw[0] ^= 1
    file.write_bytes(raw)
    assert behind(log, {})
    assert not behind(log, {file.name: len(raw)})


def test_damage_longer_than_a_read_is_passed_over(log: SegmentLog) -> None:
    file = put(log, 1)
    file.write_bytes(b"\0" * 5000 + encode(tick_frame(2), seed_of(file.name)))
    reader = log.reader()
    found = [entry.frame for entry in reader.read({}, most=100)]
    reader.close()
    assert found[0] == Damage(start=0, end=5000)
    assert numbers(found[1:]) == [2]


def test_a_copied_segment_is_not_read_under_another_name(log: SegmentLog) -> None:
    """Its checksums are seeded with its name; so nothing is counted twice by a careless backup."""
    file = put(log, 1)
    (log.directory / f"copy{SUFFIX}").write_bytes(file.read_bytes())
    assert read_numbers(log) == [1]


def test_a_frame_too_large_is_refused_before_anything_is_written(
    log: SegmentLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = log.writer()
    writer.append([tick_frame(1)])
    monkeypatch.setattr(frames, "MAX_PAYLOAD", 1000)
    with pytest.raises(TooLarge):
        writer.append([tick_frame(2), prediction_frame(["x" * 2000])])
    writer.append([tick_frame(3)])
    writer.close()
    assert read_numbers(log) == [1, 3]


def test_a_reader_keeps_few_files_open_however_many_segments_there_are(
    log: SegmentLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "MOST_OPEN", 5)
    made = [put(log, number).name for number in range(20)]
    reader = log.reader()
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    for _ in range(2):
        assert sorted(numbers([entry.frame for entry in reader.read({})])) == list(range(20))
    reader.sync(made)
    if before:
        assert len(os.listdir("/proc/self/fd")) <= before + 5
    reader.close()


def test_a_segment_that_went_between_listing_and_opening_has_nothing(
    log: SegmentLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer that got no room takes back the file that it had begun."""
    file = put(log, 1)
    monkeypatch.setattr(SegmentReader, "_names", lambda self: ["gone" + SUFFIX, file.name])
    assert read_numbers(log) == [1]
    assert not behind(log, {file.name: file.stat().st_size})


def test_a_directory_that_takes_no_files_is_a_clear_error(log: SegmentLog) -> None:
    writer = log.writer()
    log.directory.rmdir()
    with pytest.raises(StateError, match=r"cannot write to .*log: No such file or directory"):
        writer.append([tick_frame(1)])
    log.directory.mkdir()
    writer.append([tick_frame(2)])
    writer.close()
    assert read_numbers(log) == [2]


def test_a_failed_sync_acknowledges_nothing_and_leaves_that_file(
    log: SegmentLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a failed sync the kernel may drop what was written, so what comes next goes elsewhere."""
    writer = log.writer()
    writer.append([tick_frame(1)])
    first = writer.segment

    def fails(fd: int) -> None:
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(segments, "_sync", fails)
        with pytest.raises(StateError, match=r"cannot write to .*: Input/output error"):
            writer.append([tick_frame(2)])
    position = writer.append([tick_frame(3)])
    writer.close()
    assert position.segment != first
    assert sorted(read_numbers(log)) == [1, 3]


# Rolling, locks, and what a poll costs.


def test_a_segment_that_is_large_is_finished_and_another_begun(log: SegmentLog) -> None:
    small = SegmentLog(log.directory, roll_at=600)
    writer = small.writer()
    made = [writer.append([tick_frame(number)]).segment for number in range(8)]
    writer.close()
    assert len(set(made)) >= 3
    assert made == sorted(made), "a later segment's name sorts before an earlier one's"
    assert read_numbers(log) == list(range(8))
    assert [finished(log, name) for name in sorted(set(made))] == [True] * len(set(made))


def test_a_segment_that_is_old_is_finished_too(log: SegmentLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """A service with few requests must not keep a segment open for years: it could never be sealed."""
    monkeypatch.setattr(segments, "ROLL_AFTER", 0.0)
    writer = log.writer()
    made = {writer.append([tick_frame(number)]).segment for number in range(3)}
    writer.close()
    assert len(made) == 3


def test_the_order_holds_across_a_roll_also_where_a_frame_comes_too_late(log: SegmentLog) -> None:
    """Requests are appended in another order than they came in; a later reading must not swap them."""
    writer = SegmentLog(log.directory, roll_at=1).writer()
    for time in (50, 49, 60, 10):
        writer.append([tick_frame(time)])
    writer.close()
    found = everything(log)
    assert [entry.position.segment for entry in found] == sorted(entry.position.segment for entry in found)
    assert numbers([entry.frame for entry in found]) == [50, 50, 60, 60]


def test_names_sort_by_their_beginning_also_when_the_clock_is_set_back(
    log: SegmentLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    hours = iter([50, 49, 1, 1])
    monkeypatch.setattr(segments, "new_id", lambda: str(uuid7(now_ms=next(hours) * 3_600_000)))
    writer = SegmentLog(log.directory, roll_at=1).writer()
    made = [writer.append([tick_frame(number)]).segment for number in range(4)]
    writer.close()
    assert made == sorted(made)
    assert len(set(made)) == 4


def test_an_append_after_closing_begins_another_segment(log: SegmentLog) -> None:
    writer = log.writer()
    first = writer.append([tick_frame(1)])
    writer.close()
    second = writer.append([tick_frame(2)])
    writer.close()
    assert first.segment != second.segment
    assert read_numbers(log) == [1, 2]


def test_an_append_of_nothing_makes_no_file(log: SegmentLog) -> None:
    writer = log.writer()
    writer.append([])
    writer.close()
    assert not files(log)


def finished(log: SegmentLog, name: str) -> bool:
    segment = OpenSegment(log.directory, name)
    try:
        return segment.finished()
    finally:
        segment.close()


def test_a_segment_is_finished_when_its_writer_closed_it(log: SegmentLog) -> None:
    writer = log.writer()
    name = writer.append([tick_frame(1)]).segment
    assert not finished(log, name)
    writer.close()
    assert finished(log, name)


def test_a_segment_is_finished_when_its_writer_was_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.ledger.writing", str(tmp_path), "for-ever"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        child.stdout.readline()
        (file,) = tmp_path.glob(f"*{SUFFIX}")
        assert not finished(SegmentLog(tmp_path), file.name)
        child.kill()
    assert finished(SegmentLog(tmp_path), file.name)


def test_whoever_asks_does_not_stop_a_writer(log: SegmentLog) -> None:
    writer = log.writer()
    name = writer.append([tick_frame(1)]).segment
    asking = [OpenSegment(log.directory, name) for _ in range(3)]
    assert not any(segment.finished() for segment in asking)
    writer.append([tick_frame(2)])
    for segment in asking:
        segment.close()
        segment.close()
    writer.close()
    assert read_numbers(log) == [1, 2]


class Counting:
    """Counts what a reader asks the operating system."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[str] = []
        for name in ("pread", "fstat", "open", "scandir"):
            monkeypatch.setattr(os, name, self.counted(name, getattr(os, name)))

    def counted(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **more: Any) -> Any:
            self.calls.append(name)
            return real(*arguments, **more)

        return call


def test_finished_segments_that_were_read_cost_a_poll_nothing(
    log: SegmentLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "SETTLED", 0)
    for number in range(50):
        put(log, number)
    living = log.writer()
    living.append([tick_frame(50)])
    reader, offsets = log.reader(), dict[str, int]()
    while entries := list(reader.read(offsets)):
        offsets |= {entry.position.segment: entry.position.offset for entry in entries}
    assert len(offsets) == 51
    reader.behind(offsets)
    counting = Counting(monkeypatch)
    for _ in range(10):
        assert not reader.behind(offsets)
        assert not list(reader.read(offsets))
    assert set(counting.calls) == {"fstat"}, "a poll listed the directory, or looked into a segment"
    assert len(counting.calls) <= 60, "a poll looked at segments that are finished"
    living.append([tick_frame(51)])
    assert numbers([entry.frame for entry in reader.read(offsets)]) == [51]
    living.close()
    reader.close()


def test_a_read_takes_no_more_segments_than_it_needs(log: SegmentLog) -> None:
    """A log of a thousand segments that is folded anew must not be in memory at once."""
    for first in range(0, 400, 10):
        put(log, *range(first, first + 10))
    size = max(file.stat().st_size for file in files(log))
    reader, offsets, seen = log.reader(), dict[str, int](), list[int]()
    while entries := list(reader.read(offsets, most=size)):
        assert len(entries) <= 10 * (segments.SEGMENTS_AT_ONCE + 1)
        offsets |= {entry.position.segment: entry.position.offset for entry in entries}
        seen += numbers([entry.frame for entry in entries])
    reader.close()
    assert seen == list(range(400))


def test_segments_that_were_read_and_are_gone_are_named(log: SegmentLog) -> None:
    kept, lost = put(log, 1), put(log, 2)
    reader = log.reader()
    offsets = {kept.name: kept.stat().st_size, lost.name: lost.stat().st_size, "never.seg": 0}
    assert reader.lacking(offsets) == []
    lost.unlink()
    assert log.reader().lacking(offsets) == [lost.name]
    kept.write_bytes(kept.read_bytes()[:-1])
    assert reader.lacking(offsets) == [kept.name, lost.name], "what ends before it was read to"
    reader.close()
