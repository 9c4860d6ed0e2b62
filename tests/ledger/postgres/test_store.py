"""What the conformance checks do not ask: fencing, lost answers, and how partitions look as one."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from threading import Thread

import psycopg
import pyarrow as pa
import pytest

from lossloop.core.errors import Conflict, StateError, TooLarge
from lossloop.ledger.facts import command, decisions
from lossloop.ledger.frames import Frame, Kind
from lossloop.ledger.postgres.database import Database
from lossloop.ledger.postgres.errors import Fenced
from lossloop.ledger.postgres.frames import partition_of
from lossloop.ledger.postgres.log import PostgresLog
from lossloop.ledger.postgres.session import Session
from lossloop.ledger.postgres.store import Lease, PartitionLog, PostgresStore
from lossloop.ledger.postgres.view import PostgresView
from tests.ledger.postgres.places import taken
from tests.ledger.postgres.processes import wait_until
from tests.ledger.postgres.server import Server
from tests.ledger.postgres.wire import wired
from tests.ledger.samples import numbers, outcome_frame, tick_frame


@dataclass(frozen=True, kw_only=True)
class Held:
    """A partition as its applier has it."""

    session: Session
    store: PostgresStore
    log: PartitionLog


Hold = Callable[..., Held]


@pytest.fixture
def hold(database: Database) -> Iterator[Hold]:
    """Opens partitions by leases that were taken just now."""
    leases, sessions = taken(database), []

    def make(partition: int, *, lease: Lease | None = None, url: str | None = None) -> Held:
        session = Session(replace(database, url=url or database.url))
        sessions.append(session)
        store = PostgresStore(session, lease or leases[partition])
        return Held(session=session, store=store, log=PartitionLog(session, store))

    yield make
    for session in sessions:
        session.close()


@pytest.fixture
def view(database: Database) -> Iterator[PostgresView]:
    view = PostgresView(database)
    yield view
    view.close()


FREE = "UPDATE partitions SET holder = NULL; DELETE FROM appliers"
"""As if every lease had expired."""


def run(database: Database, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(database.url, autocommit=True) as connection:
        connection.execute(f"SET search_path = {database.schema}")
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


def logged(database: Database) -> list[Frame]:
    reader = PostgresLog(database).reader()
    found = [entry.frame for entry in reader.read({})]
    reader.close()
    return [frame for frame in found if isinstance(frame, Frame)]


# Fencing.


def test_who_lost_the_lease_commits_nothing(database: Database, hold: Hold, view: PostgresView) -> None:
    paused = hold(1)
    paused.store.put("kind", "m/a", 1)
    run(database, FREE)
    other = hold(1, lease=taken(database, name="other")[1])
    other.store.put("kind", "m/a", 2)

    def go_on() -> None:
        with paused.store.transaction():
            paused.store.put("kind", "m/a", 3)
            paused.store.put_offset("s", 3)
            paused.store.put_chunk("c", 0, pa.RecordBatch.from_pydict({"n": [1]}))
            paused.log.writer().append([tick_frame(3)])

    with pytest.raises(Fenced, match=r"another applier has taken partition 1 of .*; nothing of this was"):
        go_on()
    assert view.get("kind", "m/a", int) == 2
    assert (dict(view.offsets()), view.streams(""), logged(database)) == ({}, [], [])
    with pytest.raises(Fenced):
        paused.log.writer().append([tick_frame(4)])
    assert logged(database) == [], "facts of an applier are fenced too"


def test_a_commit_under_way_is_waited_for_by_who_takes_the_lease(database: Database, hold: Hold) -> None:
    store = hold(0).store
    run(database, FREE)
    with psycopg.connect(database.url) as committing:
        committing.execute(
            f"UPDATE {database.schema}.partitions SET commits = commits + 1 WHERE partition = 0"
        )
        assert sorted(taken(database, name="other")) == [1, 2, 3], "a lease was taken within a commit"
    run(database, "DELETE FROM appliers")
    assert sorted(taken(database, name="other")) == [0]
    with pytest.raises(Fenced):
        store.put("kind", "key", 1)


def test_an_applier_that_stops_in_the_middle_of_a_commit_holds_nobody_up(
    server: Server, database: Database, hold: Hold
) -> None:
    with wired(server) as wire:
        stopped = hold(0, url=wire.url())
        stopped.store.put("kind", "m/a", 1)
        wire.stall_within(b"x" * 1000)
        ended: list[Exception] = []

        def commit() -> None:
            try:
                stopped.store.put("kind", "m/a", "x" * 1_000_000)
            except Fenced as error:
                ended.append(error)

        thread = Thread(target=commit)
        thread.start()
        wait_until(wire.stalls)
        run(database, FREE)
        other = hold(0, lease=taken(database, name="other")[0])
        other.store.put("kind", "m/a", 2)
        wire.flow()
        thread.join(60)
        assert len(ended) == 1, "a commit went on after its lease was lost"
    assert run(database, "SELECT body FROM documents") == [("2",)]


def test_a_lease_of_one_partition_is_none_of_another(hold: Hold, database: Database) -> None:
    with pytest.raises(Fenced):
        hold(1, lease=Lease(partition=1, token=0)).store.put("kind", "key", 1)
    assert run(database, "SELECT * FROM documents") == []


# Facts and what is derived from them, in one transaction.


def test_an_appliers_facts_come_with_its_transaction_or_not_at_all(database: Database, hold: Hold) -> None:
    held = hold(2)
    writer = held.log.writer()

    def fail() -> None:
        with held.store.transaction():
            writer.append([decisions([("m/1", "{}")], now=1)])
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert logged(database) == []
    with held.store.transaction():
        writer.append([decisions([("m/1", "{}")], now=2)])
        assert logged(database) == []
    position = writer.append([tick_frame(3)])
    assert numbers(logged(database)) == [2, 3]
    assert position.offset == 2
    reader = held.log.reader()
    assert [entry.frame.kind for entry in reader.read({}) if isinstance(entry.frame, Frame)] == [
        Kind.DECISION, Kind.TICK,
    ]  # fmt: skip
    assert position.reached_by({position.segment: 2})
    assert not list(hold(3).log.reader().read({})), "another partition folds this one's ticks"


def test_a_commit_whose_answer_was_lost_is_done_once(server: Server, database: Database, hold: Hold) -> None:
    with wired(server) as wire:
        held = hold(0, url=wire.url())
        writer = held.log.writer()
        for number in range(1, 5):
            with held.store.transaction():
                count = held.store.get("kind", "count", int) or 0
                held.store.put("kind", "count", count + 1)
                held.store.put_chunk("c", count, pa.RecordBatch.from_pydict({"n": [number]}))
                writer.append([tick_frame(number)])
                wire.lose_the_answer_to(b"kind")
        assert wire.broken == 4, "no answer was lost"
        assert held.store.get("kind", "count", int) == 4
        assert [chunk.batch.to_pydict()["n"] for chunk in held.store.chunks("c")] == [[1], [2], [3], [4]]
    assert numbers(logged(database)) == [1, 2, 3, 4]


def test_what_is_too_large_for_an_index_says_so(hold: Hold) -> None:
    incompressible = random.Random(1).randbytes(20_000).hex()
    with pytest.raises(TooLarge, match="too large for"):
        hold(0).store.put("kind", incompressible, 1)


def test_after_a_refused_commit_nothing_of_it_is_remembered(database: Database, hold: Hold) -> None:
    store = hold(0).store
    store.put("kind", "a", 1)
    assert store.all("kind", int) == {"a": 1}
    run(database, "ALTER TABLE documents ADD CHECK (body <> '2')")
    with pytest.raises(StateError, match="refuses"):
        store.put("kind", "a", 2)
    assert store.get("kind", "a", int) == 1
    assert store.all("kind", int) == {"a": 1}


def test_documents_are_read_once(database: Database, hold: Hold) -> None:
    store = hold(0).store
    store.put("kind", "a", {"x": 1})
    assert store.get("kind", "a", dict) == {"x": 1}
    run(database, "DELETE FROM documents")
    assert store.get("kind", "a", dict) == {"x": 1}, "nobody else writes, but it was read again"
    assert store.all("kind", dict) == {}


# How all partitions look to everyone else.


def home(key: str) -> int:
    return partition_of(key, 4)


def test_documents_of_all_partitions_are_one_list(hold: Hold, view: PostgresView) -> None:
    models = [f"m{number}" for number in range(8)]
    for model in models:
        hold(home(model)).store.put("kind", f"{model}/1", model)
    assert view.all("kind", str) == {f"{model}/1": model for model in models}
    assert view.all("kind", str, prefix="m3/") == {"m3/1": "m3"}
    assert view.get("kind", "m3/1", str) == "m3"
    assert view.get("kind", "none", str) is None
    with view.transaction():
        assert view.get("kind", "m3/1", str) == "m3"


@pytest.mark.parametrize("last", [True, False])
def test_a_document_that_several_have_is_its_models(hold: Hold, view: PostgresView, last: bool) -> None:
    stores = [hold(partition).store for partition in range(4)]
    order = sorted(range(4), key=lambda partition: (partition == home("late")) is last)
    for partition in order:
        stores[partition].put("policy", "late", partition)
        stores[partition].put("policy", "late/more", partition)
    assert view.get("policy", "late", int) == home("late")
    assert view.all("policy", int) == {"late": home("late"), "late/more": home("late")}


def test_a_clock_is_the_one_set_last(hold: Hold, view: PostgresView) -> None:
    stores = {partition: hold(partition).store for partition in range(4)}
    for last in (home("now"), (home("now") + 1) % 4):
        for partition in sorted(stores, key=lambda partition: partition == last):
            stores[partition].put("clock", "now", 10 + partition)
        assert view.get("clock", "now", int) == 10 + last
        assert view.all("clock", int) == {"now": 10 + last}


def test_a_fact_for_all_is_folded_once_everybody_has(
    database: Database, hold: Hold, view: PostgresView
) -> None:
    writer = PostgresLog(database).writer()
    freeze = writer.append([command("id", "freeze", {"on": True}, now=1)])
    late = writer.append([outcome_frame({"a": 1.0}, model="late")])
    writer.close()
    assert not freeze.reached_by(view.offsets())
    for partition in range(4):
        assert not freeze.reached_by(view.offsets())
        hold(partition).store.put_offset(freeze.segment, 1)
    assert freeze.reached_by(view.offsets())
    assert not late.reached_by(view.offsets())
    hold(home("late")).store.put_offset(late.segment, 1)
    assert late.reached_by(view.offsets())
    reader = PostgresLog(database).reader()
    assert not reader.behind(view.offsets())
    reader.close()


def test_all_offsets_are_looked_at_again_now_and_then(
    database: Database, hold: Hold, view: PostgresView, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = PostgresLog(database).writer()
    position = writer.append([outcome_frame({"a": 1.0}, model="late")])
    writer.close()
    assert dict(view.offsets()) == {}
    run(database, "UPDATE segments SET rests = now() - interval '1 hour'")
    hold(home("late")).store.put_offset(position.segment, 1)
    assert dict(view.offsets()) == {}, "what rests is looked at all the time"
    monkeypatch.setattr("lossloop.ledger.postgres.view.LOOK_AGAIN", 0.0)
    assert dict(view.offsets()) == {position.segment: 1}


def test_every_commit_of_any_partition_is_a_change(hold: Hold, view: PostgresView) -> None:
    seen = {view.change()}
    for partition in (0, 3, 0):
        held = hold(partition)
        before = held.store.change()
        held.store.put("kind", "key", partition)
        assert held.store.change() == before
        seen.add(view.change())
    assert len(seen) == 4


def test_streams_of_all_partitions_are_read(hold: Hold, view: PostgresView) -> None:
    for partition in range(4):
        for first in (0, 1):
            batch = pa.RecordBatch.from_pydict({"n": [10 * partition + first]})
            hold(partition).store.put_chunk(f"rows/{partition}", first, batch)
    assert view.streams("rows/") == [f"rows/{partition}" for partition in range(4)]
    found = {name: [c.batch.to_pydict()["n"][0] for c in view.chunks(name)] for name in view.streams("")}
    assert found == {f"rows/{partition}": [10 * partition, 10 * partition + 1] for partition in range(4)}


@pytest.mark.parametrize("after", [-1, 0, 3, 7])
def test_chunks_that_are_merged_while_they_are_read_come_once(
    hold: Hold, view: PostgresView, monkeypatch: pytest.MonkeyPatch, after: int
) -> None:
    monkeypatch.setattr("lossloop.ledger.postgres.chunks.BYTES_AT_ONCE", 700)
    store = hold(0).store
    with store.transaction():
        for first in range(20):
            store.put_chunk("s", first, pa.RecordBatch.from_pydict({"n": [first]}))
    chunks, found = view.chunks("s", after=after), []
    for merged in (range(2, 9), range(9, 20), range(20)):
        found += next(chunks).batch.to_pydict()["n"]
        store.put_chunk("s", merged[0], pa.RecordBatch.from_pydict({"n": list(merged)}))
    for chunk in chunks:
        assert chunk.batch.num_rows == chunk.end - chunk.first
        found += chunk.batch.to_pydict()["n"]
    assert found == list(range(after + 1, 20))


def test_a_view_is_only_read(view: PostgresView) -> None:
    batch = pa.RecordBatch.from_pydict({"n": [1]})
    writes: list[Callable[[], None]] = [
        lambda: view.put("kind", "key", 1),
        lambda: view.drop("kind", "key"),
        lambda: view.put_offset("a", 1),
        lambda: view.put_chunk("s", 0, batch),
        lambda: view.drop_stream("s"),
    ]
    for write in writes:
        with pytest.raises(Conflict, match="this state is only read here"):
            write()
