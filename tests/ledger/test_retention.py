"""Retention: what goes is too old or too much; what stays keeps its place, and a fact tells the rest."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossloop.core.clock import ManualClock
from lossloop.core.errors import InputError, InUse, StateError
from lossloop.ledger.base import Entry
from lossloop.ledger.expired import EXPIRED_KINDS, expired
from lossloop.ledger.files import durable, manifests
from lossloop.ledger.files.manifests import Removed, sealed_directory
from lossloop.ledger.files.retention import holdings, prune
from lossloop.ledger.files.sealing import seal
from lossloop.ledger.files.segments import SegmentLog
from lossloop.ledger.files.sweeping import strays
from lossloop.ledger.files.verify import verify
from lossloop.ledger.frames import Frame, Kind
from lossloop.ledger.removals import Gone, Pruned
from lossloop.ledger.retaining import Cut, Holding, plan
from tests.ledger.anyframes import HARD, SEGMENTS, assert_same, everything, write
from tests.ledger.samples import KEYS, NEEDS, outcome_frame, prediction_frame, tick_frame
from tests.ledger.sealing_process import at_step
from tests.ledger.test_sealing import Killed, raise_killed


def holding(name: str, first: int, last: int, size: int = 10) -> Holding:
    return Holding(segment=name, rows=5, bytes=size, first=first, last=last)


HELD = [holding("a", 0, 9), holding("b", 5, 20), holding("c", 21, 30), holding("d", 25, 40)]


@pytest.mark.parametrize(
    ("cutoff", "larger_than", "wanted"),
    [
        (None, None, []),
        (0, None, []),
        (10, None, [Cut(segment="a"), Cut(segment="b", before=10)]),
        (22, None, [Cut(segment="a"), Cut(segment="b"), Cut(segment="c", before=22)]),
        (99, None, [Cut(segment=name) for name in "abcd"]),
        (None, 40, []),
        (None, 39, [Cut(segment="a")]),
        (None, 15, [Cut(segment=name) for name in "abc"]),
        (None, 0, [Cut(segment=name) for name in "abcd"]),
        (10, 30, [Cut(segment="a"), Cut(segment="b", before=10)]),
        (10, 20, [Cut(segment="a"), Cut(segment="b")]),
    ],
)
def test_what_would_go(cutoff: int | None, larger_than: int | None, wanted: list[Cut]) -> None:
    assert plan(HELD, cutoff=cutoff, larger_than=larger_than) == wanted


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(0, 20), st.integers(1, 30)), max_size=8),
    st.one_of(st.none(), st.integers(0, 80)),
    st.one_of(st.none(), st.integers(0, 120)),
)
def test_what_stays_is_young_and_small_enough(
    parts: list[tuple[int, int, int]], cutoff: int | None, larger_than: int | None
) -> None:
    held = [holding(f"{n}", first, first + span, size) for n, (first, span, size) in enumerate(parts)]
    held.sort(key=lambda each: (each.last, each.segment))
    cuts = {cut.segment: cut for cut in plan(held, cutoff=cutoff, larger_than=larger_than)}
    stays = [each for each in held if each.segment not in cuts or cuts[each.segment].before is not None]
    if cutoff is not None:
        assert all(each.last >= cutoff for each in stays)
        assert all(each.segment in cuts for each in stays if each.first < cutoff)
    if larger_than is not None:
        assert sum(each.bytes for each in stays) <= larger_than
    assert stays == held[len(held) - len(stays) :], "something younger went before something older"


@pytest.fixture
def log(tmp_path: Path) -> SegmentLog:
    return SegmentLog(tmp_path / "log")


def facts(first: int) -> list[Frame]:
    """Ten predictions and ten outcomes of `m`, and some of another model, from `first` on."""
    return [
        frame
        for time in range(first, first + 10)
        for frame in (
            prediction_frame([f"p{time}"], time=time, version=[1 + time % 2]),
            outcome_frame({f"p{time}": 1.0}, time=time),
            prediction_frame([f"o{time}"], time=time, model="other"),
        )
    ]


def rows(entries: Sequence[Entry], model: str) -> list[tuple[str, str, int]]:
    """Kind, id and time of every row of a model that has not expired."""
    return [
        (entry.frame.kind.name, id, entry.frame.time)
        for entry in entries
        if isinstance(entry.frame, Frame)
        and (entry.frame.batch.schema.metadata or {}).get(b"model") == model.encode()
        and "id" in entry.frame.batch.schema.names
        for id in entry.frame.batch.column("id").to_pylist()
    ]


def told(entries: Sequence[Entry]) -> list[Gone]:
    """What facts say has expired."""
    return [
        msgspec.json.decode(body, type=Gone)
        for entry in entries
        if isinstance(entry.frame, Frame) and entry.frame.kind is Kind.COMMAND
        for body in entry.frame.batch.column("body").to_pylist()
    ]


def test_what_is_too_old_goes_and_a_fact_says_how_many(log: SegmentLog) -> None:
    paths = write(log, [facts(0), facts(10), facts(20)])
    before = everything(log)
    seal(log.directory)
    would = prune(log.directory, "m", keys=KEYS, cutoff=13, dry_run=True)
    assert_same(everything(log), before)
    gone = prune(log.directory, "m", keys=KEYS, cutoff=13, clock=ManualClock(99))
    assert (gone.predictions, gone.outcomes, gone.segments, gone.first, gone.last) == (13, 13, 2, 0, 12)
    assert (would.predictions, would.outcomes, would.segments, would.first, would.last) == (13, 13, 2, 0, 12)
    after = everything(log)
    assert rows(after, "m") == [row for row in rows(before, "m") if row[2] >= 13]
    assert rows(after, "other") == rows(before, "other")
    assert [entry.position for entry in after[: len(before)]] == [entry.position for entry in before]
    one, other = told(after)
    assert (one.segment, one.predictions, one.outcomes, one.first, one.last) == (paths[0].name, 10, 10, 0, 9)
    assert (other.segment, other.predictions, other.first, other.last) == (paths[1].name, 3, 10, 12)
    assert (one.versions, other.versions) == ({"1": 5, "2": 5}, {"1": 2, "2": 1})
    assert one.model == other.model == "m"
    assert after[-1].frame.time == 99  # type: ignore[union-attr]
    assert verify(log.directory).sound
    assert not verify(log.directory).strays


def test_nothing_goes_twice(log: SegmentLog) -> None:
    write(log, [facts(0), facts(10)])
    seal(log.directory)
    prune(log.directory, "m", keys=KEYS, cutoff=13)
    after = everything(log)
    assert prune(log.directory, "m", keys=KEYS, cutoff=13) == Pruned(model="m")
    assert prune(log.directory, "nobody", keys=KEYS, cutoff=13) == Pruned(model="nobody")
    assert_same(everything(log), after)


def test_what_is_too_much_goes_the_oldest_first(log: SegmentLog) -> None:
    write(log, [facts(0), facts(10), facts(20)])
    before = everything(log)
    seal(log.directory)
    held = holdings(manifests.manifests(log.directory), "m")
    assert [each.rows for each in held] == [20, 20, 20]
    gone = prune(log.directory, "m", keys=KEYS, larger_than=held[1].bytes + held[2].bytes)
    assert (gone.predictions, gone.outcomes) == (10, 10)
    assert {row[2] for row in rows(everything(log), "m")} == set(range(10, 30))
    prune(log.directory, "m", keys=KEYS, larger_than=0)
    assert rows(everything(log), "m") == []
    assert rows(everything(log), "other") == rows(before, "other")
    for kind in ("predictions", "outcomes"):
        assert not list(sealed_directory(log.directory).glob(f"{kind}/model=m/*"))
        assert len(list(sealed_directory(log.directory).glob(f"expired_{kind}/model=m/*"))) == 3


def test_a_manifest_adds_up_what_went(log: SegmentLog) -> None:
    write(log, [facts(0)])
    seal(log.directory)
    for cutoff in (3, 7):
        prune(log.directory, "m", keys=KEYS, cutoff=cutoff)
    manifest = manifests.manifests(log.directory)[0]
    assert manifest.generation == 2
    assert manifest.removed == (
        Removed(why="expired", kind="outcome", model="m", rows=7),
        Removed(why="expired", kind="prediction", model="m", rows=7),
    )
    tables = [table for table in manifest.tables if table.model == "m"]
    assert [(table.kind, table.rows, table.first, table.last) for table in tables] == [
        ("prediction", 3, 7, 9),
        ("outcome", 3, 7, 9),
        ("expired_prediction", 7, 0, 6),
        ("expired_outcome", 7, 0, 6),
    ]
    assert manifest.format == 2, "an older release must not fold it"


@settings(max_examples=25)
@given(SEGMENTS, st.integers(-6, 70), st.integers(-6, 70))
def test_of_any_log_what_is_too_old_expires_and_nothing_else(
    tmp_path_factory: pytest.TempPathFactory, parts: list[list[Frame]], one: int, other: int
) -> None:
    log = SegmentLog(tmp_path_factory.mktemp("log"))
    write(log, parts)
    wanted = everything(log)
    seal(log.directory)
    for cutoff in (one, other):
        prune(log.directory, "m", keys=KEYS, cutoff=cutoff)
    cutoff = max(one, other)
    expected = [Entry(position=entry.position, frame=_kept(entry.frame, cutoff)) for entry in wanted]
    names = {entry.position.segment for entry in wanted}
    assert_same([entry for entry in everything(log) if entry.position.segment in names], expected)
    assert verify(log.directory).sound


def _kept(frame: object, cutoff: int) -> Frame:
    assert isinstance(frame, Frame)
    named = (frame.batch.schema.metadata or {}).get(b"model", b"")
    old = frame.kind in EXPIRED_KINDS and named == b"m" and frame.time < cutoff
    return expired(frame, NEEDS) if old and frame.batch.num_rows else frame


def test_cut_off_at_any_step_it_is_done_when_it_is_done_again(tmp_path: Path) -> None:
    kept = SegmentLog(tmp_path / "kept")
    vectors = prediction_frame(["v"], [[0.25, 0.75]], unit=["ada"], time=11)
    write(kept, [facts(0), [*facts(10), vectors]])
    seal(kept.directory)
    prune(kept.directory, "m", keys=KEYS, cutoff=3)
    before, step, over = everything(kept), 0, False
    expected = [Entry(position=each.position, frame=_kept(each.frame, 15)) for each in before]
    while not over:
        step += 2  # every step was tried; half of them each time are enough
        log = SegmentLog(tmp_path / "log")
        shutil.rmtree(log.directory, ignore_errors=True)
        shutil.copytree(kept.directory, log.directory)
        back = at_step(step, raise_killed)
        try:
            prune(log.directory, "m", keys=KEYS, cutoff=15)
            over = True
        except Killed:
            pass
        finally:
            back()
        assert verify(log.directory).sound
        for one, some, other in zip(before, everything(log), expected, strict=False):
            assert some.frame in (one.frame, other.frame)
        prune(log.directory, "m", keys=KEYS, cutoff=15)
        found = everything(log)
        assert_same(found[: len(expected)], expected)
        assert not strays(log.directory)
        gone = {tuple(each.frame.batch.column("id").to_pylist()): each for each in found[len(expected) :]}  # type: ignore[union-attr]
        assert sum(each.predictions for each in told(list(gone.values()))) == 13
    assert step > 20


@pytest.mark.parametrize("kind", ["vector", "frames"])
def test_rows_that_come_with_others_expire_into_one_table(log: SegmentLog, kind: str) -> None:
    """However often a segment is looked at, what has expired of it lies in one file for each schema."""
    hard = {"features": HARD["union"].slice(0, 1)} if kind == "frames" else {}
    pred: list[Any] = [[0.25, 0.75]] if kind == "vector" else [0.5]
    frames = [prediction_frame([f"{time}"], pred, time=time, **hard) for time in range(9)]
    write(log, [frames])
    seal(log.directory)
    for cutoff in (2, 5, 5, 8):
        prune(log.directory, "m", keys=KEYS, cutoff=cutoff)
    (manifest,) = (each for each in manifests.manifests(log.directory) if each.tables[0].kind == "prediction")
    assert [(table.kind, table.rows) for table in manifest.tables] == [
        ("prediction", 1),
        ("expired_prediction", 8),
    ]
    wanted = [expired(frame, NEEDS) if frame.time < 8 else frame for frame in frames]
    assert [entry.frame for entry in everything(log)[:9]] == wanted
    assert verify(log.directory).sound


def test_a_row_that_cannot_be_read_stays_and_is_told(log: SegmentLog) -> None:
    write(log, [facts(0)])
    seal(log.directory)
    (path,) = sealed_directory(log.directory).glob("predictions/model=m/*.parquet")
    raw = bytearray(path.read_bytes())
    raw[40] ^= 1
    path.write_bytes(raw)
    with pytest.raises(StateError, match="too old cannot be read"):
        prune(log.directory, "m", keys=KEYS, cutoff=5)
    assert path.read_bytes() == bytes(raw)
    assert prune(log.directory, "other", keys=KEYS, cutoff=5).predictions == 5


def test_segments_in_use_are_left_alone(log: SegmentLog) -> None:
    writer = log.writer()
    writer.append(facts(0))
    assert prune(log.directory, "m", keys=KEYS, cutoff=99) == Pruned(model="m")
    writer.close()
    assert prune(log.directory, "m", keys=KEYS, cutoff=99) == Pruned(model="m"), (
        "what is not sealed is not pruned"
    )


def test_a_reader_goes_on_while_rows_go_under_it(log: SegmentLog) -> None:
    write(log, [facts(0), facts(10)])
    seal(log.directory)
    whole = everything(log)
    reader, offsets = log.reader(), dict[str, int]()
    seen: list[Entry] = []
    for step in range(200):
        if step == 5:
            prune(log.directory, "m", keys=KEYS, cutoff=20)
        entries = list(reader.read(offsets, most=1))
        offsets |= {entry.position.segment: entry.position.offset for entry in entries}
        seen += entries
    reader.close()
    assert [entry.position for entry in seen[: len(whole)]] == [entry.position for entry in whole]
    assert rows(seen, "other") == rows(whole, "other")


def test_something_has_to_say_what_is_too_old(log: SegmentLog) -> None:
    with pytest.raises(InputError, match="give --older-than or --larger-than"):
        prune(log.directory, "m", keys=KEYS)


def test_one_prunes_at_a_time(log: SegmentLog) -> None:
    write(log, [facts(0)])
    seal(log.directory)
    with durable.maintained(sealed_directory(log.directory)), pytest.raises(InUse):
        prune(log.directory, "m", keys=KEYS, cutoff=5)


def test_ticks_and_commands_stay(log: SegmentLog) -> None:
    write(log, [[tick_frame(1), *facts(0)]])
    seal(log.directory)
    prune(log.directory, "", keys=KEYS, cutoff=99)
    first = everything(log)[0].frame
    assert isinstance(first, Frame)
    assert first.batch.num_rows == 1
