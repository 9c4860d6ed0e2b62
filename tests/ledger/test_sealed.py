"""A sealed log keeps the contract of a log, and costs a reader little."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import pyarrow as pa
import pytest

from lossloop.core.errors import StateError
from lossloop.ledger.checks import CHECKS, Make
from lossloop.ledger.files import manifests, sealed, sealwriter
from lossloop.ledger.files.sealed import SealedSegment
from lossloop.ledger.files.sealing import entries_of, finished, seal
from lossloop.ledger.files.segments import SegmentLog, SegmentReader
from tests.house.repository import ROOT
from tests.ledger.anyframes import assert_same, everything, write
from tests.ledger.samples import numbers, outcome_frame, prediction_frame, tick_frame
from tests.ledger.test_sealing import flip


class SealingLog(SegmentLog):
    """Seals all that is finished before anybody reads."""

    def reader(self) -> SegmentReader:
        seal(self.directory)
        return super().reader()


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_a_sealed_log_keeps_the_contract(check: Callable[[Make], None], tmp_path: Path) -> None:
    places = itertools.count()
    check(lambda: SealingLog(tmp_path / f"{next(places)}"))


@pytest.fixture
def log(tmp_path: Path) -> SegmentLog:
    return SegmentLog(tmp_path / "log")


def test_many_sealed_segments_are_read_with_few_open(
    log: SegmentLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lossloop.ledger.files.segments.MOST_OPEN", 3)
    write(log, [[tick_frame(number)] for number in range(12)])
    seal(log.directory)
    reader = log.reader()
    for _ in range(2):
        assert numbers([entry.frame for entry in reader.read({})]) == list(range(12))
    reader.close()


def test_what_was_read_to_its_end_is_let_go(log: SegmentLog) -> None:
    write(log, [[tick_frame(number), tick_frame(number)] for number in range(5)])
    seal(log.directory)
    reader, offsets = log.reader(), dict[str, int]()
    while entries := list(reader.read(offsets)):
        offsets |= {entry.position.segment: entry.position.offset for entry in entries}
    assert not reader.behind(offsets)
    assert reader._sources == {}
    assert numbers([entry.frame for entry in reader.read({})]) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    reader.close()


def test_a_row_group_is_read_once_while_its_frames_are(
    log: SegmentLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealwriter, "ROWS", 20)
    frames = [
        frame
        for number in range(40)
        for frame in (prediction_frame([f"{number}"], time=number), outcome_frame({"x": 1.0}, time=number))
    ]
    write(log, [frames])
    wanted = everything(log)
    seal(log.directory)
    read: list[int] = []
    real = sealed._Groups.read

    def counted(self: sealed._Groups, number: int) -> pa.Table | None:
        read.append(number)
        return real(self, number)

    monkeypatch.setattr(sealed._Groups, "read", counted)
    assert_same(everything(log, 1), wanted)
    assert sorted(read) == [0, 0, 1, 1]


def test_a_frame_is_found_by_the_offset_that_it_lies_behind(log: SegmentLog) -> None:
    """This is how one prediction is looked up: by the place that was noted when it was folded."""
    (path,) = write(log, [[prediction_frame([f"{number}"], time=number) for number in range(9)]])
    wanted = everything(log)
    seal(log.directory)
    for before, entry in itertools.pairwise(wanted):
        reader = log.reader()
        (found, *_) = reader.read({path.name: before.position.offset}, most=1)
        assert_same([found], [entry])
        reader.close()


def test_a_damaged_index_is_a_clear_error(log: SegmentLog) -> None:
    write(log, [[tick_frame(1)]])
    (manifest,) = seal(log.directory)
    path = manifests.sealed_directory(log.directory) / manifest.index.path
    flip(path, 40)
    with pytest.raises(StateError, match=r"frames\.arrow is damaged; restore it from a backup"):
        everything(log)


def test_a_segment_that_is_not_sealed_is_not_there(log: SegmentLog) -> None:
    (path,) = write(log, [[tick_frame(1)]])
    with pytest.raises(FileNotFoundError):
        SealedSegment(log.directory, path.name)
    seal(log.directory)
    segment = SealedSegment(log.directory, path.name)
    assert [entry.position.offset for entry in entries_of(segment)] == [segment.manifest.end]
    assert segment.ended(segment.manifest.end)
    assert not segment.ended(0)
    segment.sync()
    segment.close()
    segment.close()


def test_a_table_with_another_number_of_rows_is_damage(log: SegmentLog) -> None:
    write(log, [[prediction_frame(["a"]), prediction_frame(["b"])]])
    (manifest,) = seal(log.directory)
    (table,) = manifest.tables
    other = msgspec.structs.replace(table, rows=3)
    manifests.write(log.directory, msgspec.structs.replace(manifest, tables=(other,)))
    assert not any(hasattr(entry.frame, "batch") for entry in everything(log))


ROLLING = """
import sys, time
from itertools import count
from pathlib import Path
from lossloop.ledger.files.segments import SegmentLog
from tests.ledger.samples import tick_frame
writer = SegmentLog(Path(sys.argv[1]), roll_at=10_000).writer()
for number in count():
    writer.append([tick_frame(number)])
    print(number, flush=True)
    time.sleep(0.001)
"""


def test_a_writer_that_rolls_is_killed_while_others_seal(log: SegmentLog) -> None:
    """What was acknowledged is there once, whatever was open, finished or sealed at that moment."""
    log.directory.mkdir()
    command = [sys.executable, "-c", ROLLING, str(log.directory)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        said: list[int] = []
        while len(manifests.manifests(log.directory)) < 2:
            said += [int(child.stdout.readline()) for _ in range(20)]
            seal(log.directory)
        child.kill()
        said += [int(line) for line in child.stdout.read().split("\n")[:-1]]
    found = numbers([entry.frame for entry in everything(log)])
    assert found[: len(said)] == said
    assert found == list(range(len(found)))
    assert len(found) <= len(said) + 1, "only the last frame may be there without a word"
    assert manifests.manifests(log.directory)
    assert len(finished(log.directory)) >= 1
    seal(log.directory)
    assert numbers([entry.frame for entry in everything(log)]) == found
