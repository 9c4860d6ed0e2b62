"""Erasing: nothing of a unit is left in any file, nothing of anybody else is gone, and counts stay."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossloop.core.errors import InUse, StateError
from lossloop.ledger.base import Entry
from lossloop.ledger.files import durable, manifests, removing
from lossloop.ledger.files.erasing import erase, held
from lossloop.ledger.files.finding import find
from lossloop.ledger.files.manifests import sealed_directory
from lossloop.ledger.files.sealing import seal
from lossloop.ledger.files.segments import SegmentLog
from lossloop.ledger.files.verify import verify
from lossloop.ledger.frames import HEADER_SIZE, Frame, Kind
from lossloop.ledger.removals import Gone, Held
from tests.ledger.anyframes import assert_same, everything, hard_frame, write
from tests.ledger.samples import KEYS, features, outcome_frame, prediction_frame, tick_frame
from tests.ledger.sealing_process import at_step
from tests.ledger.test_retention import told
from tests.ledger.test_sealing import Killed, flip, raise_killed

UNIT = "Ada Lovelace-ERASE-ME"
UNITS = st.sampled_from([UNIT, "bob", "", None])


@pytest.fixture
def log(tmp_path: Path) -> SegmentLog:
    return SegmentLog(tmp_path / "log")


def facts(start: int = 0) -> list[Frame]:
    """Two models; a unit's predictions, their outcomes, and those of others."""
    ids = [f"id-{start}-{n}" for n in range(4)]
    units = [UNIT, "bob", UNIT, None]
    return [
        prediction_frame(ids, unit=units, time=start),
        tick_frame(start),
        prediction_frame([f"late-{start}"], unit=[UNIT], model="late", time=start, features=_notes()),
        outcome_frame(dict.fromkeys(ids, 1.0), time=start + 1),
        outcome_frame({ids[0]: 0.0, "unknown": 1.0}, time=start + 2),
        outcome_frame({f"late-{start}": 1.0}, model="late", time=start + 2),
    ]


def _notes() -> pa.Array:
    return features([{"note": f"written by {UNIT}"}])


def left(log: SegmentLog, *texts: str) -> list[str]:
    """Files that still hold one of these texts."""
    reader = log.reader()
    reader.close()
    found = []
    for path in log.directory.rglob("*"):
        if path.is_file():
            raw = path.read_bytes()
            if path.suffix == ".parquet":
                raw += _parquet_text(path)
            found += [path.name for text in texts if text.encode() in raw]
    return found


def _parquet_text(path: Path) -> bytes:
    """What is in the compressed columns."""
    return str(pa.parquet.ParquetFile(path).read().to_pylist()).encode()


def test_a_unit_is_gone_from_every_file(log: SegmentLog) -> None:
    write(log, [facts(0), facts(10)])
    seal(log.directory)
    write(log, [facts(20)])
    assert left(log, UNIT)
    known = {
        "m": Held(ids=set(), predictions=6, outcomes=9),
        "late": Held(ids=set(), predictions=3, outcomes=3),
    }
    for found in (held(log.directory, UNIT, keys=KEYS), erase(log.directory, UNIT, keys=KEYS)):
        assert {model: (rows.predictions, rows.outcomes) for model, rows in found.items()} == {
            model: (rows.predictions, rows.outcomes) for model, rows in known.items()
        }
        assert found["m"].ids == {f"id-{start}-{n}" for start in (0, 10, 20) for n in (0, 2)}
        assert found["late"].ids == {"late-0", "late-10", "late-20"}
    assert not left(log, UNIT, "id-0-0", "id-10-2", "late-20")
    assert not find(log.directory, "id-0-0", model="m")
    assert len(find(log.directory, "id-0-1", model="m")) == 1
    assert held(log.directory, UNIT, keys=KEYS) == {}
    assert verify(log.directory).sound
    assert not verify(log.directory).strays


def test_what_is_left_keeps_its_place_and_its_bits(log: SegmentLog) -> None:
    write(log, [facts(0), facts(10)])
    wanted = everything(log)
    erase(log.directory, UNIT, keys=KEYS)
    segments = {entry.position.segment for entry in wanted}
    found = [entry for entry in everything(log) if entry.position.segment in segments]
    assert_same(found, [without(entry, UNIT, wanted) for entry in wanted])


def without(entry: Entry, unit: str, everything: list[Entry]) -> Entry:
    """An entry as it should be when a unit is erased."""
    frame = entry.frame
    assert isinstance(frame, Frame)
    if frame.kind not in (Kind.PREDICTION, Kind.OUTCOME):
        return entry
    model = frame.batch.schema.metadata[b"model"]
    ids = [
        id
        for each in everything
        if isinstance(each.frame, Frame)
        and each.frame.kind is Kind.PREDICTION
        and each.frame.batch.schema.metadata[b"model"] == model
        and "unit" in each.frame.batch.schema.names
        for id, whose in zip(
            each.frame.batch.column("id").to_pylist(),
            each.frame.batch.column("unit").to_pylist(),
            strict=True,
        )
        if whose == unit
    ]
    going = pc.is_in(frame.batch.column("id"), value_set=pa.array(ids, pa.string()))
    if "unit" in frame.batch.schema.names:
        going = pc.or_(going, pc.fill_null(pc.equal(frame.batch.column("unit"), unit), False))
    batch = frame.batch.filter(pc.invert(going))
    return Entry(position=entry.position, frame=Frame(kind=frame.kind, time=frame.time, batch=batch))


ROWS = st.lists(st.tuples(st.sampled_from("abcdefgh"), UNITS), max_size=4)
MODELS = st.sampled_from("mn")


def _predictions(rows: list[tuple[str, str | None]], model: str) -> Frame:
    return prediction_frame([id for id, _ in rows], unit=[unit for _, unit in rows], model=model)


def _outcomes(rows: list[tuple[str, str | None]], model: str) -> Frame:
    return outcome_frame({id: 1.0 for id, _ in rows}, model=model)


FACTS = st.one_of(
    st.builds(_predictions, ROWS, MODELS),
    st.builds(_outcomes, ROWS, MODELS),
    st.builds(tick_frame, st.integers(0, 9)),
)


@settings(max_examples=25)
@given(
    st.lists(st.lists(FACTS, min_size=1, max_size=5), min_size=1, max_size=3),
    st.sampled_from([None, ["m"], ["m", "n"]]),
)
def test_any_log_loses_the_unit_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, parts: list[list[Frame]], models: list[str] | None
) -> None:
    log = SegmentLog(tmp_path_factory.mktemp("log"))
    write(log, parts)
    wanted = everything(log)
    gone = erase(log.directory, UNIT, models, keys=KEYS)
    segments = {entry.position.segment for entry in wanted}
    expected = [
        without(entry, UNIT, wanted) if models is None or _model(entry) in models else entry
        for entry in wanted
    ]
    assert_same([entry for entry in everything(log) if entry.position.segment in segments], expected)
    lost = {"prediction": 0, "outcome": 0}
    for before, after in zip(wanted, expected, strict=True):
        assert isinstance(before.frame, Frame)
        assert isinstance(after.frame, Frame)
        if before.frame.kind.name.lower() in lost:
            lost[before.frame.kind.name.lower()] += before.frame.batch.num_rows - after.frame.batch.num_rows
    assert sum(rows.predictions for rows in gone.values()) == lost["prediction"]
    assert sum(rows.outcomes for rows in gone.values()) == lost["outcome"]
    assert held(log.directory, UNIT, models, keys=KEYS) == {}


def _model(entry: Entry) -> str:
    assert isinstance(entry.frame, Frame)
    return str((entry.frame.batch.schema.metadata or {}).get(b"model", b"").decode())


def test_facts_keep_the_counts_and_no_name(log: SegmentLog) -> None:
    paths = write(log, [facts(0), facts(10)])
    erase(log.directory, UNIT, keys=KEYS)
    gone = told(everything(log))
    assert sum(each.predictions for each in gone) == 6
    assert sum(each.outcomes for each in gone) == 8
    assert {each.segment for each in gone} == {path.name for path in paths}
    assert all(each.versions == {"1": each.predictions} for each in gone if each.predictions)
    assert UNIT not in str(gone)
    ids = _ids_of_commands(everything(log))
    assert len(ids) == len(set(ids))


def _ids_of_commands(entries: list[Entry]) -> list[str]:
    frames = [entry.frame for entry in entries if isinstance(entry.frame, Frame)]
    return [frame.batch.column("id")[0].as_py() for frame in frames if frame.kind is Kind.COMMAND]


def test_frames_that_parquet_cannot_hold_are_erased_too(log: SegmentLog) -> None:
    batch = hard_frame(["union", "nan"], Kind.PREDICTION, 0, {"model": "m"}).batch
    batch = batch.append_column("id", pa.array(["a", "b", "c"])).append_column(
        "unit", pa.array([UNIT, "bob", None])
    )
    frame = Frame(kind=Kind.PREDICTION, time=3, batch=batch.replace_schema_metadata({"model": "m"}))
    write(log, [[frame, frame, outcome_frame({"a": 1.0, "b": 0.0})]])
    gone = erase(log.directory, UNIT, keys=KEYS)
    assert (gone["m"].predictions, gone["m"].outcomes, gone["m"].ids) == (2, 1, {"a"})
    rest = everything(log)[0].frame
    assert isinstance(rest, Frame)
    assert rest.batch.column("id").to_pylist() == ["b", "c"]
    assert not left(log, UNIT)
    assert len(find(log.directory, "c", model="m")) == 2


def test_damaged_bytes_go_too(log: SegmentLog) -> None:
    (path,) = write(log, [[*facts(0), prediction_frame(["x"], unit=[UNIT])]])
    flip(path, HEADER_SIZE + 20)
    path.write_bytes(path.read_bytes() + 2 * UNIT.encode())
    seal(log.directory)
    assert left(log, UNIT)
    erase(log.directory, UNIT, keys=KEYS)
    assert not left(log, UNIT)
    problems = {finding.problem for finding in verify(log.directory).findings}
    assert problems == {"was damaged when it was sealed; its bytes are not kept"}


def test_a_log_that_is_written_to_is_refused(log: SegmentLog) -> None:
    write(log, [facts(0)])
    writer = log.writer()
    writer.append(facts(10))
    for act in (held, erase):
        with pytest.raises(InUse, match=r"a process still writes .*; stop lossloop up, then erase"):
            act(log.directory, UNIT, keys=KEYS)
    writer.close()
    assert erase(log.directory, UNIT, keys=KEYS)["m"].predictions == 4
    with durable.maintained(sealed_directory(log.directory)), pytest.raises(InUse):
        erase(log.directory, UNIT, keys=KEYS)


def test_a_log_whose_rows_cannot_be_read_is_refused(log: SegmentLog) -> None:
    """Nobody could say that nothing of the unit is left."""
    write(log, [facts(0)])
    seal(log.directory)
    path = next(sealed_directory(log.directory).glob("predictions/model=m/*.parquet"))
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(StateError, match=r"cannot be read .*; see: lossloop ledger verify"):
        erase(log.directory, UNIT, keys=KEYS)


def test_whom_nobody_knows_is_erased_from_nowhere(log: SegmentLog) -> None:
    write(log, [facts(0)])
    wanted = everything(log)
    assert erase(log.directory, "nobody", keys=KEYS) == {}
    assert erase(log.directory, UNIT, ["churn"], keys=KEYS) == {}
    assert_same(everything(log), wanted)
    assert erase(log.directory / "nothing", UNIT, keys=KEYS) == {}


def test_an_id_of_the_unit_goes_whoever_else_has_it(log: SegmentLog) -> None:
    """The first row with an id is the one that counts: what came again would stand in its place."""
    write(
        log,
        [
            [prediction_frame(["a", "b"], unit=[UNIT, "bob"])],
            [prediction_frame(["a", "b"], unit=["bob", UNIT])],
        ],
    )
    write(log, [[outcome_frame({"a": 1.0, "b": 1.0})], [prediction_frame(["a", "c"], unit=["cid", "cid"])]])
    assert erase(log.directory, UNIT, keys=KEYS) == {"m": Held(ids={"a", "b"}, predictions=5, outcomes=2)}
    assert not left(log, UNIT)
    assert [len(find(log.directory, id, model="m")) for id in "abc"] == [0, 0, 1]


def test_wherever_erasing_is_cut_off_doing_it_again_ends_it(tmp_path: Path) -> None:
    kept = SegmentLog(tmp_path / "kept")
    write(
        kept,
        [
            [prediction_frame(["id-0-2"], unit=["bob"])],
            facts(0),
            [prediction_frame(["id-0-0"], unit=["bob"])],
        ],
    )
    seal(kept.directory)
    wanted, step, over = everything(kept), 0, False
    segments = {entry.position.segment for entry in wanted}
    expected = [without(entry, UNIT, wanted) for entry in wanted]
    while not over:
        step += 3  # every step was tried; a third of them each time is enough
        log = SegmentLog(tmp_path / "log")
        shutil.rmtree(log.directory, ignore_errors=True)
        shutil.copytree(kept.directory, log.directory)
        back = at_step(step, raise_killed)
        try:
            erase(log.directory, UNIT, keys=KEYS)
            over = True
        except Killed:
            pass
        finally:
            back()
        assert verify(log.directory).sound
        erase(log.directory, UNIT, keys=KEYS)
        found = everything(log)
        assert_same([entry for entry in found if entry.position.segment in segments], expected)
        assert not left(log, UNIT, "id-0-0", "late-0")
        gone = dict(zip(_ids_of_commands(found), told(found), strict=True))
        assert sum(each.predictions for each in gone.values()) == 5
        assert sum(each.outcomes for each in gone.values()) == 4
    assert step > 40


def test_a_fact_that_a_crash_kept_back_is_told_by_whoever_comes_next(
    log: SegmentLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(log, [facts(0)])
    with monkeypatch.context() as patched:
        patched.setattr(removing.Remover, "_tell", lambda self, note: raise_killed())
        with pytest.raises(Killed):
            erase(log.directory, UNIT, keys=KEYS)
    note = sealed_directory(log.directory) / manifests.NOTE
    assert UNIT.encode() not in note.read_bytes()
    waiting = msgspec.json.decode(note.read_bytes(), type=removing.Note).facts
    assert [gone.model for gone in waiting] == ["late", "m"]
    assert told(everything(log)) == []
    erase(log.directory, "nobody", keys=KEYS)
    assert told(everything(log)) == waiting
    assert not note.exists()


def test_a_note_of_what_did_not_happen_is_dropped(log: SegmentLog) -> None:
    write(log, [facts(0)])
    (manifest,) = seal(log.directory)
    note = removing.Note(
        segment=manifest.segment,
        generation=1,
        why="erased",
        facts=[Gone(model="m", segment=manifest.segment)],
    )
    durable.write(sealed_directory(log.directory) / manifests.NOTE, msgspec.json.encode(note))
    erase(log.directory, "nobody", keys=KEYS)
    assert told(everything(log)) == []
    assert not (sealed_directory(log.directory) / manifests.NOTE).exists()
