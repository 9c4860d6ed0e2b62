"""Sealing: a log reads the same, to the bit, whichever segments are sealed and wherever a crash was."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossloop.core.errors import InUse, StateError, StorageFull
from lossloop.ledger.base import Entry
from lossloop.ledger.files import durable, frametable, sealing, sealwriter
from lossloop.ledger.files.manifests import manifests, sealed_directory
from lossloop.ledger.files.sealing import seal
from lossloop.ledger.files.segments import SegmentLog
from lossloop.ledger.files.sweeping import strays
from lossloop.ledger.frames import HEADER_SIZE, Damage, Frame, encode, seed_of
from tests.house.repository import ROOT
from tests.ledger.anyframes import SEGMENTS, assert_same, everything, write
from tests.ledger.samples import features, outcome_frame, prediction_frame, tick_frame
from tests.ledger.sealing_process import at_step


@pytest.fixture
def log(tmp_path: Path) -> SegmentLog:
    return SegmentLog(tmp_path / "log")


def mixed(start: int = 0) -> list[Frame]:
    """A few facts of each kind."""
    return [
        prediction_frame([f"p{start}", f"q{start}"], time=start, unit=["ada", "bob"]),
        outcome_frame({f"p{start}": 1.0, f"q{start}": None}, time=start + 1),
        tick_frame(start + 2),
    ]


@settings(max_examples=30)
@given(SEGMENTS, st.sampled_from([1, 700, 1 << 24]), st.randoms(use_true_random=False))
def test_a_sealed_log_reads_as_it_did(
    tmp_path_factory: pytest.TempPathFactory, parts: list[list[Frame]], most: int, chance: random.Random
) -> None:
    log = SegmentLog(tmp_path_factory.mktemp("log"))
    made = write(log, parts)
    wanted = everything(log)
    some = {path.name: path.stat().st_size for path in made if chance.random() < 0.5}
    sealed = seal(log.directory, some)
    assert [manifest.segment for manifest in sealed] == sorted(some)
    assert_same(everything(log, most), wanted)
    sealed += seal(log.directory)
    assert not list(log.directory.glob("*.seg"))
    assert_same(everything(log, most), wanted)
    assert manifests(log.directory) == sorted(sealed, key=lambda manifest: manifest.segment)


def test_reading_goes_on_from_anywhere_in_a_sealed_segment(log: SegmentLog) -> None:
    write(log, [[*mixed(0), *mixed(3)], mixed(1)])
    wanted = everything(log)
    seal(log.directory)
    for start in range(len(wanted)):
        offsets = {entry.position.segment: entry.position.offset for entry in wanted[:start]}
        reader = log.reader()
        assert_same(list(reader.read(offsets)), wanted[start:])
        assert reader.behind(offsets) == (start < len(wanted))
        reader.close()


def test_a_reader_goes_on_while_segments_are_sealed_under_it(log: SegmentLog) -> None:
    write(log, [mixed(0), mixed(10), mixed(20)])
    wanted = everything(log)
    reader, found, offsets = log.reader(), list[Entry](), dict[str, int]()
    for step in range(20):
        if step == 2:
            seal(log.directory)
        entries = list(reader.read(offsets, most=1))
        offsets |= {entry.position.segment: entry.position.offset for entry in entries}
        found += entries
    reader.sync(list(offsets))
    reader.close()
    assert_same(found, wanted)


def test_only_what_is_finished_and_folded_is_sealed(log: SegmentLog) -> None:
    (folded, behind) = write(log, [mixed(0), mixed(10)])
    writer = log.writer()
    living = writer.append(mixed(20)).segment
    offsets = {living: 1 << 40, folded.name: folded.stat().st_size, behind.name: 10}
    assert [manifest.segment for manifest in seal(log.directory, offsets)] == [folded.name]
    assert {path.name for path in log.directory.glob("*.seg")} == {behind.name, living}
    assert seal(log.directory, {}) == []
    writer.close()


def test_nothing_to_seal_leaves_nothing_behind(log: SegmentLog) -> None:
    assert seal(log.directory) == []
    assert not log.directory.exists()
    log.directory.mkdir()
    (log.directory / "empty.seg").touch()
    assert seal(log.directory) == []
    assert (log.directory / "empty.seg").exists()


def test_files_are_where_the_reference_says(log: SegmentLog) -> None:
    (path,) = write(log, [[*mixed(), *mixed(), outcome_frame({"x": 0.5}, model="late.2")]])
    seal(log.directory)
    stem = path.stem
    assert {str(file.relative_to(sealed_directory(log.directory))) for file in files(log)} == {
        f"predictions/model=m/{stem}.parquet",
        f"outcomes/model=m/{stem}.parquet",
        f"outcomes/model=late.2/{stem}.parquet",
        f"ticks/{stem}.parquet",
        f"index/{stem}.json",
        f"index/{stem}.frames.arrow",
        f"index/{stem}.ids.arrow",
        "lock",
    }


def files(log: SegmentLog) -> list[Path]:
    return sorted(path for path in sealed_directory(log.directory).rglob("*") if path.is_file())


def test_each_schema_has_a_file_of_its_own(log: SegmentLog) -> None:
    frames = [
        prediction_frame(["a"], unit=["u"]),
        prediction_frame(["b"]),
        prediction_frame(["c"], [[0.5, 0.5]]),
    ]
    write(log, [frames])
    wanted = everything(log)
    (manifest,) = seal(log.directory)
    names = sorted(
        Path(table.file.path).name.removeprefix(manifest.segment[:-4]) for table in manifest.tables
    )
    assert names == ["-1.parquet", "-2.parquet", ".parquet"]
    assert_same(everything(log), wanted)


def test_a_segment_with_very_many_schemas_keeps_the_rest_as_they_were(
    log: SegmentLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sealwriter, "MOST_TABLES", 3)
    frames = [
        prediction_frame([f"{n}"], features=features([{f"x{n}": 1.0}]), model="mn"[n % 2]) for n in range(9)
    ]
    write(log, [frames])
    wanted = everything(log)
    (manifest,) = seal(log.directory)
    assert len(manifest.tables) <= 5
    assert sum(table.rows for table in manifest.tables) == 9
    assert_same(everything(log, 1), wanted)


def test_row_groups_end_with_frames(log: SegmentLog, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sealwriter, "ROWS", 4)
    write(log, [[prediction_frame([f"{n}{i}" for i in range(n)]) for n in (3, 3, 0, 9, 1, 2)]])
    wanted = everything(log)
    (manifest,) = seal(log.directory)
    (path,) = sealed_directory(log.directory).glob("predictions/*/*.parquet")
    assert [rows.num_rows for rows in frametable.groups(path)] == [6, 9, 3]
    for most in (1, 1 << 20):
        assert_same(everything(log, most), wanted)
    assert manifest.frames == 6


# Damage.


def flip(path: Path, at: int, bit: int = 4) -> None:
    raw = bytearray(path.read_bytes())
    raw[at] ^= 1 << bit
    path.write_bytes(raw)


def test_damage_is_carried_along(log: SegmentLog) -> None:
    (path,) = write(log, [[tick_frame(number) for number in range(4)]])
    size = path.stat().st_size // 4
    flip(path, size + HEADER_SIZE + 3)
    with path.open("ab") as file:
        file.write(b"torn")
    wanted = everything(log)
    assert sum(isinstance(entry.frame, Damage) for entry in wanted) == 1
    raw = path.read_bytes()
    (manifest,) = seal(log.directory)
    assert [(each.start, each.end) for each in manifest.damaged] == [
        (size, 2 * size),
        (4 * size, 4 * size + 4),
    ]
    kept = (sealed_directory(log.directory) / manifest.damage.path).read_bytes()
    assert kept == raw[size : 2 * size], "what was never acknowledged need not be kept"
    for most in (1, 1 << 20):
        assert_same(everything(log, most), wanted)


@pytest.mark.parametrize("at", [0, 2])
def test_damage_at_either_end_keeps_its_place_in_the_order(log: SegmentLog, at: int) -> None:
    (path, _) = write(log, [[tick_frame(number) for number in (10, 20, 30, 40)], [tick_frame(15)]])
    flip(path, at * (path.stat().st_size // 4) + HEADER_SIZE)
    wanted = everything(log)
    (first, _) = seal(log.directory)
    assert first.first == (0 if at == 0 else 10)
    assert first.last == 40
    assert_same(everything(log, 1), wanted)


def test_a_segment_that_is_all_damage_is_left_alone(log: SegmentLog) -> None:
    (path,) = write(log, [[tick_frame(1)]])
    flip(path, 0)
    assert seal(log.directory) == []
    assert path.exists()


# What can go wrong.


def test_two_do_not_seal_at_once(log: SegmentLog) -> None:
    write(log, [mixed()])
    with durable.maintained(sealed_directory(log.directory)), pytest.raises(InUse, match="try again later"):
        seal(log.directory)
    assert len(seal(log.directory)) == 1


def test_a_full_disk_leaves_the_segment(log: SegmentLog, monkeypatch: pytest.MonkeyPatch) -> None:
    write(log, [mixed()])
    wanted = everything(log)

    def full(path: Path) -> None:
        raise OSError(28, "No space left on device", str(path))

    with monkeypatch.context() as patched:
        patched.setattr(durable, "sync_file", full)
        with pytest.raises(StorageFull, match=r"no room in .*; free some space"):
            seal(log.directory)
    assert_same(everything(log), wanted)
    assert len(seal(log.directory)) == 1
    assert not strays(log.directory)
    assert_same(everything(log), wanted)


def test_what_does_not_come_back_as_it_was_is_not_sealed(
    log: SegmentLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is wrong with the files, the segment is only deleted once they say what it says."""
    write(log, [mixed()])
    wanted = everything(log)

    def loses_a_row(self: frametable.TableWriter, rows: object) -> None:
        real(self, rows.slice(1))  # type: ignore[attr-defined]

    real = frametable.TableWriter.write
    with monkeypatch.context() as patched:
        patched.setattr(frametable.TableWriter, "write", loses_a_row)
        with pytest.raises(StateError, match="is not sealed: it did not come back as it was"):
            seal(log.directory)
    assert_same(everything(log), wanted)


class Killed(BaseException):
    """Stands for kill -9 within this process: nothing catches it."""


def raise_killed() -> None:
    raise Killed


def test_wherever_sealing_is_cut_off_the_log_reads_the_same(tmp_path: Path) -> None:
    kept = SegmentLog(tmp_path / "kept")
    write(kept, [mixed(0), [tick_frame(5)]])
    wanted, step, over = everything(kept), 0, False
    while not over:
        step += 1
        log = SegmentLog(tmp_path / "log")
        shutil.rmtree(log.directory, ignore_errors=True)
        shutil.copytree(kept.directory, log.directory)
        back = at_step(step, raise_killed)
        try:
            seal(log.directory)
            over = True
        except Killed:
            pass
        finally:
            back()
        assert_same(everything(log), wanted)
        seal(log.directory)
        assert_same(everything(log), wanted)
        assert len(manifests(log.directory)) == 2
        assert not strays(log.directory)
    assert step > 20, "the points at which sealing can be cut off were not found"


def run(directory: Path, step: int = 0) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.ledger.sealing_process", str(directory), str(step)]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize("step", [3, 11, 19])
def test_kill_9_at_a_step_leaves_a_log_that_reads_the_same(log: SegmentLog, step: int) -> None:
    write(log, [mixed(0), mixed(10)])
    wanted = everything(log)
    with run(log.directory, step) as child:
        said, _ = child.communicate(timeout=60)
    assert "sealed" not in said.split()
    assert_same(everything(log), wanted)
    seal(log.directory)
    assert_same(everything(log), wanted)
    assert not strays(log.directory)


def test_kill_9_at_any_moment_leaves_a_log_that_reads_the_same(log: SegmentLog) -> None:
    parts = [
        [prediction_frame([f"{n}-{i}" for i in range(200)], time=n) for n in range(40)] for _ in range(4)
    ]
    write(log, parts)
    wanted = everything(log)
    for pause in (0.0, 0.01, 0.03, 0.1):
        with run(log.directory) as child:
            assert child.stdout is not None
            child.stdout.readline()
            time.sleep(pause)
            child.kill()
        assert_same(everything(log), wanted)
    seal(log.directory)
    assert not list(log.directory.glob("*.seg"))
    assert_same(everything(log), wanted)


def test_a_segment_that_is_there_both_ways_is_read_once(log: SegmentLog) -> None:
    (path,) = write(log, [mixed()])
    raw, wanted = path.read_bytes(), everything(log)
    seal(log.directory)
    path.write_bytes(raw)
    assert_same(everything(log), wanted)
    assert seal(log.directory) == []
    assert not path.exists(), "all of its files are there, so the segment was sealed"
    path.write_bytes(raw)
    next(sealed_directory(log.directory).glob("outcomes/*/*.parquet")).unlink()
    assert_same(everything(log), wanted)
    assert len(seal(log.directory)) == 1, "a file was missing, so the segment was not sealed"
    assert_same(everything(log), wanted)


def test_a_missing_file_is_a_clear_error(log: SegmentLog) -> None:
    write(log, [mixed()])
    seal(log.directory)
    next(sealed_directory(log.directory).glob("outcomes/*/*.parquet")).unlink()
    with pytest.raises(StateError, match=r"parquet is missing, and the manifest of .* names it; restore it"):
        everything(log)


def test_a_flipped_byte_in_a_sealed_file_is_passed_over_as_damage(log: SegmentLog) -> None:
    frames = [prediction_frame([f"{n:04d}-{i:04d}" for i in range(50)], time=n) for n in range(4)]
    write(log, [frames])
    wanted = everything(log)
    seal(log.directory)
    (path,) = sealed_directory(log.directory).glob("predictions/*/*.parquet")
    flip(path, 60)
    found = everything(log, 1)
    assert [entry.position for entry in found] == [entry.position for entry in wanted]
    starts = [0, *(entry.position.offset for entry in wanted)]
    assert [entry.frame for entry in found] == [
        Damage(start=start, end=entry.position.offset) for start, entry in zip(starts, wanted, strict=False)
    ]


def test_a_file_that_lost_its_end_is_passed_over_as_damage(log: SegmentLog) -> None:
    write(log, [mixed()])
    seal(log.directory)
    (path,) = sealed_directory(log.directory).glob("predictions/*/*.parquet")
    path.write_bytes(path.read_bytes()[:-9])
    kinds = [type(entry.frame) for entry in everything(log)]
    assert kinds == [Damage, Frame, Frame]


def test_a_copy_under_another_name_is_not_sealed(log: SegmentLog) -> None:
    (path,) = write(log, [[tick_frame(1)]])
    (log.directory / "copy.seg").write_bytes(path.read_bytes())
    (log.directory / "other.seg").write_bytes(encode(tick_frame(2), seed_of("other.seg")))
    assert {manifest.segment for manifest in seal(log.directory)} == {path.name, "other.seg"}


def test_progress_is_told(log: SegmentLog) -> None:
    paths = write(log, [mixed(0), mixed(10)])
    sizes = [path.stat().st_size for path in paths]
    told: list[int] = []
    seal(log.directory, tell=told.append)
    assert told == sizes
    assert sealing.finished(log.directory) == []
    assert os.listdir(log.directory) == ["sealed"]
