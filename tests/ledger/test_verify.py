"""Verifying: a flipped byte anywhere is found, and the events that it touches are named."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.core.errors import NewerFormat
from lossloop.ledger.files import manifests
from lossloop.ledger.files.explain import explain, explain_tail
from lossloop.ledger.files.sealing import seal
from lossloop.ledger.files.segments import SegmentLog
from lossloop.ledger.files.verify import size, verify
from lossloop.ledger.findings import DAMAGE, LOST, MOST_IDS, TORN, Report
from lossloop.ledger.frames import HEADER_SIZE, Frame, encode, seed_of
from tests.ledger.anyframes import write
from tests.ledger.samples import outcome_frame, prediction_frame, tick_frame
from tests.ledger.test_sealing import flip

IDS = [f"order-{number}" for number in range(4)]


def facts() -> list[list[Frame]]:
    return [
        [
            prediction_frame(IDS, time=10, unit=["ada", "bob", "ada", "eve"], model="late"),
            outcome_frame(dict.fromkeys(IDS, 1.0), time=20, model="late"),
            tick_frame(30),
        ],
        [prediction_frame(["x"], time=40, model="churn"), tick_frame(50)],
    ]


def logged(directory: Path, *, sealed: bool) -> SegmentLog:
    log = SegmentLog(directory / "log")
    write(log, facts())
    if sealed:
        seal(log.directory)
    return log


@pytest.fixture
def make(tmp_path: Path) -> Callable[[bool], SegmentLog]:
    return lambda sealed: logged(tmp_path, sealed=sealed)


def copied(directory: Path, factory: pytest.TempPathFactory) -> SegmentLog:
    return SegmentLog(shutil.copytree(directory, factory.mktemp("copy") / "log"))


def everywhere(log: SegmentLog) -> list[Path]:
    """Files with facts, or with what is needed to read them."""
    return sorted(path for path in log.directory.rglob("*") if path.is_file() and path.name != "lock")


@pytest.mark.parametrize("sealed", [False, True])
def test_what_nobody_touched_is_sound(make: Callable[[bool], SegmentLog], sealed: bool) -> None:
    log = make(sealed)
    told: list[int] = []
    report = verify(log.directory, tell=told.append)
    assert report.sound
    assert not report.findings
    assert not report.strays
    assert (report.segments, report.sealed, report.frames) == (2, 2 * sealed, 5)
    assert 0 < sum(told) <= size(log.directory)


def test_no_log_is_sound(tmp_path: Path) -> None:
    assert verify(tmp_path / "nothing") == Report()
    assert size(tmp_path / "nothing") == 0


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Path]:
    """Logs that are only copied."""
    return {
        sealed: logged(tmp_path_factory.mktemp("kept"), sealed=sealed).directory for sealed in (False, True)
    }


@pytest.mark.parametrize("sealed", [False, True])
@given(st.integers(0, 1 << 30), st.integers(0, 1 << 30), st.integers(0, 7))
def test_a_flipped_bit_anywhere_is_found(
    kept: dict[bool, Path],
    tmp_path_factory: pytest.TempPathFactory,
    sealed: bool,
    which: int,
    at: int,
    bit: int,
) -> None:
    log = copied(kept[sealed], tmp_path_factory)
    files = everywhere(log)
    path = files[which % len(files)]
    flip(path, at % path.stat().st_size, bit)
    report = verify(log.directory)
    assert not report.sound, f"a flipped bit in {path.name} was not noticed"
    assert {finding.segment for finding in report.findings} == {path.name.split(".")[0] + ".seg"}


@pytest.mark.parametrize("sealed", [False, True])
@given(st.integers(0, 1 << 30), st.integers(1, 60))
def test_what_is_cut_off_a_sealed_file_is_found(
    kept: dict[bool, Path], tmp_path_factory: pytest.TempPathFactory, sealed: bool, which: int, cut: int
) -> None:
    log = copied(kept[sealed], tmp_path_factory)
    files = everywhere(log)
    path = files[which % len(files)]
    path.write_bytes(path.read_bytes()[:-cut])
    report = verify(log.directory)
    assert report.findings
    assert report.sound == (not sealed), "a torn tail of an open segment is no damage; all else is"


def test_a_damaged_payload_names_its_events(make: Callable[[bool], SegmentLog]) -> None:
    log = make(False)
    path = everywhere(log)[0]
    raw = path.read_bytes()
    flip(path, raw.index(b"ada") + 1)
    (finding,) = verify(log.directory).findings
    assert finding.problem == "the payload's CRC-32 does not match"
    assert (finding.kind, finding.model, finding.rows, finding.ids) == ("prediction", "late", 4, tuple(IDS))
    assert (finding.first, finding.last, finding.start) == (10, 10, 0)
    assert raw[finding.end : finding.end + 4] == b"LLF1"


def test_a_damaged_header_leaves_its_events_readable(make: Callable[[bool], SegmentLog]) -> None:
    log = make(False)
    flip(everywhere(log)[0], 17)
    (finding,) = verify(log.directory).findings
    assert finding.problem == "the header's CRC-32 does not match"
    assert (finding.kind, finding.model, finding.rows, finding.ids) == ("prediction", "late", 4, tuple(IDS))
    assert finding.first is None


def test_a_damaged_last_frame_is_not_taken_for_a_torn_tail(make: Callable[[bool], SegmentLog]) -> None:
    """Its header was whole once: a crash does not leave that."""
    log = make(False)
    path = everywhere(log)[1]
    start = path.read_bytes().rindex(b"LLF1")
    flip(path, start + 30)
    report = verify(log.directory)
    (finding,) = report.findings
    assert not report.sound
    assert (finding.what, finding.start, finding.end) == (DAMAGE, start, path.stat().st_size)


@pytest.mark.parametrize(
    ("tail", "what"),
    [
        (b"LLF", TORN),
        (b"\0" * 500, TORN),
        (encode(tick_frame(1), seed_of("s.seg"))[:-1], TORN),
        (encode(tick_frame(1), seed_of("s.seg"))[:HEADER_SIZE], TORN),
        (b"\0" * 500 + b"x", DAMAGE),
        (encode(tick_frame(1), seed_of("other.seg")), DAMAGE),
        (b"foreign bytes" * 10, DAMAGE),
    ],
)
def test_a_tail_is_torn_or_damaged(tail: bytes, what: str) -> None:
    finding = explain_tail("s.seg", tail, 100, seed_of("s.seg"))
    assert (finding.what, finding.start, finding.end) == (what, 100, 100 + len(tail))


def test_foreign_bytes_say_nothing_of_events() -> None:
    finding = explain("s.seg", b"foreign" * 20, 7, seed_of("s.seg"))
    assert (finding.problem, finding.rows, finding.ids) == ("not a frame any more", None, ())


def test_at_most_so_many_ids_are_named(tmp_path: Path) -> None:
    log = SegmentLog(tmp_path)
    (path,) = write(
        log, [[prediction_frame([f"{number:05d}" for number in range(MOST_IDS + 50)], model="m")]]
    )
    flip(path, 20)
    (finding,) = verify(tmp_path).findings
    assert finding.rows == MOST_IDS + 50
    assert len(finding.ids) == MOST_IDS


@given(st.binary(max_size=300), st.integers(0, 50))
def test_explaining_never_fails(garbage: bytes, at: int) -> None:
    seed = seed_of("s.seg")
    raw = bytearray(encode(prediction_frame(IDS), seed))
    raw[HEADER_SIZE + at : HEADER_SIZE + at + len(garbage)] = garbage
    for data in (garbage, bytes(raw)):
        assert explain("s.seg", data, 0, seed).segment == "s.seg"


def sealed_file(log: SegmentLog, pattern: str) -> Path:
    return sorted(manifests.sealed_directory(log.directory).glob(pattern))[0]


def test_a_damaged_table_names_its_events(make: Callable[[bool], SegmentLog]) -> None:
    log = make(True)
    path = sealed_file(log, "predictions/model=late/*.parquet")
    table = manifests.manifests(log.directory)[0].tables[0]
    flip(path, table.pieces[0].end - 5)
    (finding,) = verify(log.directory).findings
    assert "its digest does not match: row group 0 cannot be read" in finding.problem
    assert (finding.kind, finding.model, finding.rows) == ("prediction", "late", 4)
    assert (finding.first, finding.last) == (10, 10)
    assert finding.ids == tuple(IDS)
    assert finding.end > finding.start >= 0


def test_a_table_whose_end_is_damaged_names_what_it_held(make: Callable[[bool], SegmentLog]) -> None:
    log = make(True)
    path = sealed_file(log, "outcomes/model=late/*.parquet")
    flip(path, path.read_bytes().rindex(b"parquet-cpp-arrow"))
    (finding,) = verify(log.directory).findings
    assert "nothing of it can be read" in finding.problem
    assert (finding.kind, finding.model, finding.rows, finding.first) == ("outcome", "late", 4, 20)


def test_one_bad_row_group_does_not_touch_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lossloop.ledger.files.sealwriter.ROWS", 10)
    log = SegmentLog(tmp_path)
    write(log, [[prediction_frame([f"{n}-{i:02d}" for i in range(10)], time=n) for n in range(3)]])
    seal(tmp_path)
    path = sealed_file(log, "predictions/*/*.parquet")
    flip(path, 10)
    (finding,) = verify(tmp_path).findings
    assert (finding.rows, finding.first, finding.last, finding.start) == (10, 0, 0, 0)
    raw = path.read_bytes()
    path.unlink()
    report = verify(tmp_path)
    assert [finding.rows for finding in report.findings] == [30]
    path.write_bytes(raw)


@pytest.mark.parametrize(
    ("pattern", "problem", "what"),
    [
        ("index/*.frames.arrow", "frames cannot be told apart", DAMAGE),
        ("index/*.ids.arrow", "no event is touched", LOST),
        ("index/*.json", "the manifest: ", DAMAGE),
    ],
)
def test_each_kind_of_file_is_said_what_it_means(
    make: Callable[[bool], SegmentLog], pattern: str, problem: str, what: str
) -> None:
    log = make(True)
    path = sealed_file(log, pattern)
    flip(path, 200)
    report = verify(log.directory)
    (finding,) = report.findings
    assert problem in finding.problem
    assert finding.what == what
    assert not report.sound
    path.unlink()
    assert verify(log.directory).sound == (path.suffix == ".json")


def test_damage_from_before_sealing_is_still_explained(make: Callable[[bool], SegmentLog]) -> None:
    log = make(False)
    path = everywhere(log)[0]
    flip(path, path.read_bytes().index(b"order-2") + 3)
    path.write_bytes(path.read_bytes() + b"LLF1")
    before = verify(log.directory).findings
    seal(log.directory)
    assert verify(log.directory).findings == before
    assert [finding.what for finding in before] == [DAMAGE, TORN]
    damage = sealed_file(log, "index/*.damage")
    damage.write_bytes(b"")
    problems = [finding.problem for finding in verify(log.directory).findings]
    assert "no event is touched that was not damaged before" in problems[0]
    assert problems[1] == "was damaged when it was sealed; its bytes are not kept"
    assert problems[2] == before[1].problem


def test_a_segment_that_was_folded_and_is_gone_is_named(make: Callable[[bool], SegmentLog]) -> None:
    log = make(True)
    report = verify(log.directory, {"gone.seg": 12, "never.seg": 0})
    (finding,) = report.findings
    assert (finding.segment, finding.what) == ("gone.seg", LOST)
    assert "restore it from a backup" in finding.problem
    assert not report.sound


def test_what_a_crash_left_is_listed_and_no_damage(make: Callable[[bool], SegmentLog]) -> None:
    log = make(True)
    stray = manifests.sealed_directory(log.directory) / "ticks" / "left.parquet.draft"
    stray.write_bytes(b"half")
    report = verify(log.directory)
    assert report.sound
    assert report.strays == ["ticks/left.parquet.draft"]


def test_a_log_in_use_is_verified_too(make: Callable[[bool], SegmentLog]) -> None:
    log = make(True)
    writer = log.writer()
    writer.append([tick_frame(60)])
    report = verify(log.directory)
    assert report.sound
    assert (report.segments, report.sealed) == (3, 2)
    writer.close()


def test_a_newer_release_has_to_verify_its_own(make: Callable[[bool], SegmentLog]) -> None:
    log = make(True)
    path = sealed_file(log, "index/*.json")
    path.write_text(path.read_text().replace('"format": 1', '"format": 3'))
    with pytest.raises(NewerFormat, match="has format 3, this release reads up to 2"):
        verify(log.directory)
