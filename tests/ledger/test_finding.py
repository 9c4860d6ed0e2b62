"""One id is found without scanning what is sealed, and by scanning what is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossloop.ledger.files import sidecar
from lossloop.ledger.files.finding import find
from lossloop.ledger.files.manifests import manifests, sealed_directory
from lossloop.ledger.files.sealed import SealedSegment
from lossloop.ledger.files.sealing import seal
from lossloop.ledger.files.segments import SegmentLog
from lossloop.ledger.frames import Frame, Kind
from tests.ledger.anyframes import SEGMENTS, everything, write
from tests.ledger.samples import outcome_frame, prediction_frame, tick_frame


@pytest.fixture
def log(tmp_path: Path) -> SegmentLog:
    return SegmentLog(tmp_path / "log")


def scanned(log: SegmentLog, id: str, model: str, kind: Kind) -> list[tuple[str, int, int]]:
    """Where an id is, by looking at everything."""
    places = []
    for entry in everything(log):
        frame = entry.frame
        if not isinstance(frame, Frame) or frame.kind is not kind:
            continue
        named = (frame.batch.schema.metadata or {}).get(b"model", b"").decode()
        if named == model and "id" in frame.batch.schema.names:
            ids = frame.batch.column("id").to_pylist()
            places += [
                (entry.position.segment, entry.position.offset, row)
                for row, each in enumerate(ids)
                if each == id
            ]
    return sorted(places)


def found(log: SegmentLog, id: str, model: str, kind: Kind) -> list[tuple[str, int, int]]:
    return [(each.segment, each.offset, each.row) for each in find(log.directory, id, model=model, kind=kind)]


@settings(max_examples=20)
@given(SEGMENTS, st.data())
def test_what_is_found_is_what_a_scan_finds(
    tmp_path_factory: pytest.TempPathFactory, parts: list[list[Frame]], data: st.DataObject
) -> None:
    log = SegmentLog(tmp_path_factory.mktemp("log"))
    paths = write(log, parts)
    ids = {
        id
        for frames in parts
        for frame in frames
        if "id" in frame.batch.schema.names
        for id in frame.batch.column("id").to_pylist()
    }
    id = data.draw(st.sampled_from(sorted(ids))) if ids else "none"
    asked = [(id, model, kind) for model in ("m", "late.2") for kind in (Kind.PREDICTION, Kind.OUTCOME)]
    wanted = [scanned(log, *each) for each in asked]
    assert [found(log, *each) for each in asked] == wanted
    seal(log.directory, {paths[0].name: paths[0].stat().st_size})
    assert [found(log, *each) for each in asked] == wanted
    seal(log.directory)
    assert [found(log, *each) for each in asked] == wanted


def test_the_fact_itself_is_there(log: SegmentLog) -> None:
    write(log, [[prediction_frame(["a", "b"], [0.25, 0.75]), outcome_frame({"b": 1.0})]])
    seal(log.directory)
    (prediction,) = find(log.directory, "b", model="m")
    assert prediction.row == 1
    assert prediction.fact.num_rows == 1
    assert prediction.fact.column("y_pred").to_pylist() == [0.75]
    (outcome,) = find(log.directory, "b", model="m", kind=Kind.OUTCOME)
    assert outcome.fact.column("y_true").to_pylist() == [1.0]
    assert find(log.directory, "b", model="other") == []
    assert find(log.directory, "c", model="m") == []
    assert find(log.directory, "b", model="m", kind=Kind.TICK) == []


def test_nothing_is_found_where_there_is_no_log(tmp_path: Path) -> None:
    assert find(tmp_path / "nothing", "a", model="m") == []


def test_only_frames_that_may_have_the_id_are_read(log: SegmentLog, monkeypatch: pytest.MonkeyPatch) -> None:
    write(log, [[prediction_frame([f"{n}-{i}" for i in range(9)], time=n) for n in range(30)]])
    seal(log.directory)
    read: list[int] = []
    real = SealedSegment.entries

    def counted(self: SealedSegment, start: int, most: int) -> object:
        entries = real(self, start, most)
        read.extend(entry.position.offset for entry in entries)
        return entries

    monkeypatch.setattr(SealedSegment, "entries", counted)
    assert len(find(log.directory, "17-4", model="m")) == 1
    assert len(read) == 1


def test_a_segment_without_ids_has_no_sidecar(log: SegmentLog) -> None:
    write(log, [[tick_frame(1)]])
    (manifest,) = seal(log.directory)
    assert not manifest.ids.path
    assert find(log.directory, "a", model="m") == []


def test_a_sidecar_is_sorted_and_counts_rows_of_the_segment(log: SegmentLog) -> None:
    write(log, [[tick_frame(0), prediction_frame(["a", "b"]), tick_frame(1), outcome_frame({"a": 1.0})]])
    (manifest,) = seal(log.directory)
    path = sealed_directory(log.directory) / manifest.ids.path
    hashes, rows = sidecar.read(path)
    assert hashes.tolist() == sorted(hashes.tolist())
    assert sorted(rows.tolist()) == [1, 2, 4]
    a, b = (sidecar.hashes_of(pa.array([id])) for id in "ab")
    assert sidecar.find(path, a).tolist() == [1, 4]
    assert sidecar.find(path, np.concatenate([b, a])).tolist() == [1, 2, 4]
    assert sidecar.find(path, sidecar.hashes_of(pa.array(["c"]))).tolist() == []


def test_the_hash_of_an_id_never_changes() -> None:
    """It is on disk: another one would find nothing in sidecars of before."""
    ids = pa.array(["", "a", "order-1", "018f0000-0000-7000-8000-000000000000", "ü" * 50])
    assert sidecar.hashes_of(ids).tolist() == GOLDEN


GOLDEN = [
    5594351659557080977,
    9540703796931818094,
    2513759912888773403,
    11140455698531130065,
    5144448226189024710,
]


def test_ids_are_hashed_alike_however_they_come() -> None:
    frames = [
        Frame(kind=Kind.PREDICTION, time=0, batch=pa.RecordBatch.from_pydict({"id": pa.array(ids, kind)}))
        for ids, kind in (
            (["a", None, "b"], pa.string()),
            (["c"], pa.large_string()),
            ([None], pa.string()),
            ([7], pa.int64()),
        )
    ]
    collector, first = sidecar.Collector(), 0
    for frame in frames:
        collector.add(frame, first)
        first += frame.batch.num_rows
    ((hashes, rows),) = collector.flush()
    assert rows.tolist() == [0, 2, 3]
    assert hashes.tolist() == sidecar.hashes_of(pa.array(["a", "b", "c"])).tolist()
    assert sidecar.Collector().flush() == []


def test_very_many_ids_are_hashed_in_parts(monkeypatch: pytest.MonkeyPatch, log: SegmentLog) -> None:
    monkeypatch.setattr(sidecar, "_AT_ONCE", 10)
    write(log, [[prediction_frame([f"{n}-{i}" for i in range(4)]) for n in range(9)]])
    seal(log.directory)
    assert all(len(find(log.directory, f"{n}-3", model="m")) == 1 for n in range(9))
    (manifest,) = manifests(log.directory)
    assert len(sidecar.read(sealed_directory(log.directory) / manifest.ids.path)[0]) == 36
