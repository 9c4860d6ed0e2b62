"""Frames as segment files of a bundle: read in the order in which they were given, whatever their times."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.ledger.files.sameness import same_batches
from lossloop.ledger.files.segments import SegmentLog
from lossloop.ledger.files.spooling import spooled
from lossloop.ledger.frames import Frame
from tests.ledger.anyframes import FRAMES, everything
from tests.ledger.samples import numbers, tick_frame


def in_files(frames: Iterable[Frame], place: Path, roll_at: int) -> SegmentLog:
    """The segments, each written to where its name says."""
    log = SegmentLog(place / "log")
    log.directory.mkdir()
    for held in spooled(frames, place, roll_at=roll_at):
        with held.open() as file:
            data = file.read()
        assert len(data) == held.bytes
        (place / held.name).write_bytes(data)
    return log


def frames_of(log: SegmentLog) -> list[Frame]:
    return [entry.frame for entry in everything(log) if isinstance(entry.frame, Frame)]


@given(st.lists(FRAMES, max_size=12), st.sampled_from([1, 2000, 1 << 20]))
def test_any_frames_are_read_in_their_order_wherever_segments_end(frames: list[Frame], roll_at: int) -> None:
    with tempfile.TemporaryDirectory() as place:
        log = in_files(frames, Path(place), roll_at)
        found = frames_of(log)
        assert len(found) == len(frames)
        latest = 0
        for one, other in zip(found, frames, strict=True):
            assert one.kind == other.kind
            assert same_batches(one.batch, other.batch)
            assert one.time in (other.time, max(other.time, latest))
            latest = max(latest, other.time)


def test_a_segment_ends_where_it_is_large_enough(tmp_path: Path) -> None:
    log = in_files([tick_frame(number) for number in range(20)], tmp_path, 1500)
    sizes = [path.stat().st_size for path in sorted(log.directory.iterdir())]
    assert len(sizes) > 2
    assert all(1500 <= size < 3000 for size in sizes[:-1])
    assert numbers(frames_of(log)) == list(range(20))


def test_nothing_is_seen_of_a_segment_before_it_is_packed(tmp_path: Path) -> None:
    def frames() -> Iterator[Frame]:
        for number in range(4):
            assert not list(tmp_path.iterdir())
            yield tick_frame(number)

    assert len(list(spooled(frames(), tmp_path))) == 1
    assert not list(tmp_path.iterdir())
    assert list(spooled([], tmp_path)) == []


def test_frames_that_fail_leave_no_file_open(tmp_path: Path) -> None:
    def frames() -> Iterator[Frame]:
        yield tick_frame(1)
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        list(spooled(frames(), tmp_path))
