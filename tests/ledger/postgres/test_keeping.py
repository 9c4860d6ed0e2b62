"""Retention in PostgreSQL: what is too old or too much goes, what stays keeps its place, and a fact tells."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossloop.core.clock import ManualClock
from lossloop.core.errors import InputError, InUse, StateError
from lossloop.ledger.expired import expired
from lossloop.ledger.frames import Frame
from lossloop.ledger.postgres import keeping
from lossloop.ledger.postgres.checking import verify
from lossloop.ledger.postgres.database import Database
from lossloop.ledger.postgres.keeping import may_remove, prune
from lossloop.ledger.postgres.log import PostgresLog
from lossloop.ledger.postgres.session import Session
from lossloop.ledger.postgres.setup import grant
from lossloop.ledger.postgres.turns import maintained
from lossloop.ledger.postgres.view import PostgresView
from lossloop.ledger.removals import Pruned
from tests.ledger.postgres.server import Server
from tests.ledger.postgres.upkeep import asked, change, everything, fold, rows, told, write
from tests.ledger.postgres.wire import Wire, wired
from tests.ledger.samples import KEYS, NEEDS, outcome_frame, prediction_frame, tick_frame


@pytest.fixture
def wire(server: Server) -> Iterator[Wire]:
    with wired(server) as wire:
        yield wire


def facts(first: int) -> list[Frame]:
    """Ten predictions and ten outcomes of `m`, and some of another model, from `first` on."""
    return [
        frame
        for time in range(first, first + 10)
        for frame in (
            prediction_frame([f"p{time}"], time=time, version=[1 + time % 2]),
            outcome_frame({f"p{time}": 1.0}, time=time),
            prediction_frame([f"o{time}"], time=time, model="other"),
            tick_frame(time),
        )
    ]


@pytest.fixture
def filled(database: Database) -> Database:
    write(database, facts(0), facts(10))
    fold(database)
    return database


def test_what_is_too_old_goes_and_a_fact_says_how_many(filled: Database) -> None:
    before = everything(filled)
    would = prune(filled, "m", keys=KEYS, cutoff=13, dry_run=True)
    assert everything(filled) == before
    gone = prune(filled, "m", keys=KEYS, cutoff=13, clock=ManualClock(99))
    after = everything(filled)
    assert (gone.predictions, gone.outcomes, gone.segments, gone.first, gone.last) == (13, 13, 2, 0, 12)
    assert replace(would, bytes=0) == replace(gone, bytes=0)
    assert would.bytes > gone.bytes > 0, "something of each row stays"
    assert rows(after, "m") == [row for row in rows(before, "m") if row[2] >= 13]
    assert rows(after, "other") == rows(before, "other")
    one, other = told(after)
    assert (one.model, one.predictions, one.outcomes, one.first, one.last) == ("m", 10, 10, 0, 9)
    assert (other.predictions, other.outcomes, other.first, other.last) == (3, 3, 10, 12)
    assert (one.versions, other.versions) == ({"1": 5, "2": 5}, {"1": 2, "2": 1})
    assert other.summary == {}
    assert after[-1].frame.time == 99  # type: ignore[union-attr]
    assert verify(filled).sound


def test_what_stays_keeps_its_place_and_knows_where_it_begins(filled: Database) -> None:
    places = {entry.position: entry for entry in everything(filled)}
    prune(filled, "m", keys=KEYS, cutoff=13)
    for entry in everything(filled)[:-2]:
        assert entry.start == entry.position.offset - 1
        was = places[entry.position].frame
        assert isinstance(was, Frame)
        assert entry.frame in (was, expired(was, NEEDS))


def test_nothing_goes_twice(filled: Database) -> None:
    prune(filled, "m", keys=KEYS, cutoff=99)
    after = everything(filled)
    assert rows(after, "m") == []
    assert prune(filled, "m", keys=KEYS, cutoff=99) == Pruned(model="m")
    assert prune(filled, "m", keys=KEYS, larger_than=0) == Pruned(model="m")
    assert prune(filled, "nobody", keys=KEYS, cutoff=99) == Pruned(model="nobody")
    assert everything(filled) == after


def test_a_segment_ends_where_it_did(filled: Database) -> None:
    prune(filled, "m", keys=KEYS, cutoff=99)
    prune(filled, "other", keys=KEYS, cutoff=99)
    latest = "(SELECT max(number) FROM frames AS f WHERE f.segment = segments.segment)"
    assert all(end == last for end, last in asked(filled, f"SELECT frames, {latest} FROM segments"))
    for most in (1, 100, 1 << 20):
        assert len(everything(filled, most)) >= 20  # the ticks
    fold(filled)
    view, reader = PostgresView(filled), PostgresLog(filled).reader()
    assert not reader.behind(view.offsets())
    view.close()
    reader.close()


def test_a_state_that_is_made_anew_comes_to_the_end(filled: Database) -> None:
    prune(filled, "m", keys=KEYS, cutoff=99)
    change(filled, "TRUNCATE documents, offsets, chunks")
    fold(filled)
    view, reader = PostgresView(filled), PostgresLog(filled).reader()
    assert not reader.behind(view.offsets())
    view.close()
    reader.close()


def test_a_writer_goes_on_behind_what_went(database: Database) -> None:
    writer = PostgresLog(database).writer()
    writer.append([outcome_frame({"a": 1.0}, time=1)])
    fold(database)
    prune(database, "m", keys=KEYS, cutoff=5)
    position = writer.append([outcome_frame({"b": 1.0}, time=6)])
    writer.close()
    assert position.offset == 2
    assert rows(everything(database), "m") == [("OUTCOME", "b", 6)]
    fold(database)
    prune(database, "m", keys=KEYS, cutoff=6)
    numbers = asked(database, "SELECT number FROM frames WHERE kind = 2")
    assert numbers == [(2,)]
    assert verify(database).sound


def test_what_was_not_folded_stays(database: Database) -> None:
    write(database, facts(0))
    assert prune(database, "m", keys=KEYS, cutoff=99) == Pruned(model="m")
    fold(database)
    write(database, facts(10))
    assert prune(database, "m", keys=KEYS, cutoff=99).predictions == 10
    assert len(rows(everything(database), "m")) == 20


def test_what_is_too_much_goes_the_oldest_first(filled: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeping, "READ_AT_ONCE", 4 * keeping.A_FRAME)
    sizes = asked(filled, "SELECT sum(octet_length(payload))::bigint FROM frames WHERE model = 'm'")
    gone = prune(filled, "m", keys=KEYS, larger_than=sizes[0][0] // 2)
    assert 10 <= gone.predictions <= 12
    assert 0 < gone.bytes < sizes[0][0] // 2
    kept = {time for _, _, time in rows(everything(filled), "m")}
    assert kept == set(range(min(kept), 20)), "something younger went before something older"
    assert len(rows(everything(filled), "other")) == 20
    assert verify(filled).sound


PARTS = st.lists(
    st.tuples(st.sampled_from("mno"), st.integers(0, 9), st.integers(1, 3)), min_size=1, max_size=14
)
CUTS = st.lists(st.tuples(st.sampled_from("mn"), st.integers(0, 12)), max_size=3)


def test_any_log_loses_what_is_too_old_and_nothing_else(database: Database) -> None:
    examples = count()

    @settings(max_examples=12)
    @given(PARTS, CUTS)
    def check(parts: list[tuple[str, int, int]], cuts: list[tuple[str, int]]) -> None:
        example = next(examples)
        frames = [
            outcome_frame({f"{n}-{row}": 1.0 for row in range(rows)}, model=f"{model}{example}", time=time)
            for n, (model, time, rows) in enumerate(parts)
        ]
        for some in (frames[::2], frames[1::2]):
            writer = PostgresLog(database).writer()
            writer.append(some)
            writer.close()
        fold(database)
        wanted = everything(database)
        limits = {"m": 0, "n": 0, "o": 0}
        for model, cutoff in cuts:
            limits[model] = max(limits[model], cutoff)
            prune(database, f"{model}{example}", keys=KEYS, cutoff=cutoff)
        found = everything(database)
        for model, cutoff in limits.items():
            name = f"{model}{example}"
            kept, gone = rows(found, name), [gone for gone in told(found) if gone.model == name]
            assert kept == [row for row in rows(wanted, name) if row[2] >= cutoff]
            assert sum(each.outcomes for each in gone) == len(rows(wanted, name)) - len(kept)

    check()
    assert verify(database).sound


def test_damage_stays_so_that_it_is_told(filled: Database) -> None:
    change(filled, "UPDATE frames SET crc = crc + 1 WHERE model = 'm' AND number = 1")
    assert prune(filled, "m", keys=KEYS, cutoff=99).predictions < 20
    assert len(verify(filled).findings) == 2


def test_an_answer_that_was_lost_counts_nothing_twice(filled: Database, wire: Wire) -> None:
    wire.lose_the_answer_to(b"WITH were AS")
    gone = prune(replace(filled, url=wire.url()), "m", cutoff=99, keys=KEYS)
    assert wire.broken, "no answer was lost"
    assert (gone.predictions, gone.outcomes) == (20, 20)
    assert sum(each.predictions for each in told(everything(filled))) == 20
    assert verify(filled).sound


def test_what_somebody_else_changed_meanwhile_is_left_alone(
    filled: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The right to remove hangs on a session, which may break without this process knowing."""
    before, rows_of = everything(filled), Session.rows

    def meddling(session: Session, name: str, **values: object) -> object:
        if name == "remove":
            change(filled, "UPDATE frames SET crc = crc + 1 WHERE model = 'm' AND number = 1")
        return rows_of(session, name, **values)

    monkeypatch.setattr(Session, "rows", meddling)
    with pytest.raises(InUse, match="nothing of this step was kept: another process has changed"):
        prune(filled, "m", keys=KEYS, cutoff=99)
    monkeypatch.undo()
    change(filled, "UPDATE frames SET crc = crc - 1 WHERE model = 'm' AND number = 1")
    assert everything(filled) == before


def test_one_prunes_at_a_time(filled: Database) -> None:
    with (
        maintained(filled),
        pytest.raises(InUse, match="another process prunes, erases or exports postgresql://"),
    ):
        prune(filled, "m", keys=KEYS, cutoff=5)
    assert prune(filled, "m", keys=KEYS, cutoff=5).predictions == 5


def test_something_has_to_say_what_is_too_old(database: Database) -> None:
    with pytest.raises(InputError, match="give --older-than or --larger-than"):
        prune(database, "m", keys=KEYS)


def test_who_may_not_remove_is_told_so(filled: Database, server: Server) -> None:
    change(filled, "CREATE ROLE mere_applier LOGIN")
    change(filled, "CREATE ROLE true_keeper LOGIN")
    grant(filled, "mere_applier", "applier")
    grant(filled, "true_keeper", "keeper")
    applier, keeper = (replace(filled, url=server.url(user=name)) for name in ("mere_applier", "true_keeper"))
    assert [may_remove(each) for each in (applier, keeper, filled)] == [False, True, True]
    before = everything(filled)
    with pytest.raises(StateError, match="does not let this user do that"):
        prune(applier, "m", keys=KEYS, cutoff=99)
    assert everything(filled) == before
    assert prune(applier, "m", keys=KEYS, cutoff=99, dry_run=True).predictions == 20
    assert prune(keeper, "m", keys=KEYS, cutoff=99).predictions == 20
