"""Facts brought into a ledger: in their order, all of them once or none, and seen only when all are there."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossloop.core.errors import InputError, StateError
from lossloop.ledger.base import Entry, entries_of
from lossloop.ledger.files.sameness import same_batches
from lossloop.ledger.frames import Damage, Frame
from lossloop.ledger.postgres.database import Database
from lossloop.ledger.postgres.frames import EVERY, model_in, partition_of
from lossloop.ledger.postgres.intake import Taken, names_of, take_in
from lossloop.ledger.postgres.leases import Leases
from lossloop.ledger.postgres.log import PostgresLog
from lossloop.ledger.postgres.moment import MomentReader, moment_of
from lossloop.ledger.postgres.session import Session
from lossloop.ledger.postgres.setup import grant, init_store
from tests.ledger.anyframes import FRAMES
from tests.ledger.postgres.places import empty_database, new_database
from tests.ledger.postgres.server import Server
from tests.ledger.postgres.test_log import change
from tests.ledger.samples import numbers, outcome_frame, tick_frame
from tests.ledger.test_spooling import frames_of, in_files

PATIENCE = 60.0
SALT = "of the source"


def taken(database: Database, frames: Sequence[Frame], *, origin: str = "here") -> Taken:
    return take_in(database, lambda: frames, origin=origin, salt=SALT)


def read(database: Database, partitions: list[int] | None = None) -> list[Frame]:
    reader = PostgresLog(database, partitions=partitions).reader()
    found: list[Entry] = list(entries_of(reader))
    reader.close()
    assert not any(isinstance(entry.frame, Damage) for entry in found)
    return [entry.frame for entry in found if isinstance(entry.frame, Frame)]


def assert_alike(found: Sequence[Frame], wanted: Sequence[Frame]) -> None:
    """The same frames in the same order; where segments left it open, times were raised."""
    assert [frame.kind for frame in found] == [frame.kind for frame in wanted]
    for one, other in zip(found, wanted, strict=True):
        assert same_batches(one.batch, other.batch)
        assert one.time >= other.time


def salt_of(database: Database) -> str:
    session = Session(database)
    try:
        return str(session.rows("salt")[0][0])
    finally:
        session.close()


@settings(max_examples=12, deadline=None)
@given(st.lists(FRAMES, max_size=12), st.integers(1, 3), st.sampled_from([1, 1 << 20]))
def test_any_frames_are_read_in_their_order_by_everyone_and_come_out_again(
    server: Server, frames: list[Frame], partitions: int, roll_at: int
) -> None:
    database = new_database(server, partitions=partitions)
    told: list[int] = []
    found = take_in(database, lambda: frames, origin="x", salt=SALT, tell=told.append)
    assert found == Taken(frames=len(frames), rows=sum(frame.batch.num_rows for frame in frames))
    assert len(told) == len(frames)
    assert_alike(read(database), frames)
    for partition in range(partitions):
        homes = [model_in(frame) for frame in frames]
        mine = [
            frame
            for frame, model in zip(frames, homes, strict=True)
            if model is None or partition_of(model, partitions) == partition
        ]
        assert_alike(read(database, [partition]), mine)
    with TemporaryDirectory() as place:
        session = Session(database)
        reader = MomentReader(session, moment_of(session))
        entries = [entry.frame for entry in entries_of(reader) if isinstance(entry.frame, Frame)]
        assert_alike(frames_of(in_files(entries, Path(place), roll_at)), frames)
        reader.close()


def test_times_stay_where_the_order_does_not_need_them_raised(database: Database) -> None:
    frames = [tick_frame(5), outcome_frame({"a": 1.0}, model="m", time=7), tick_frame(9)]
    taken(database, frames)
    assert numbers(read(database)) == [5, 7, 9]


def test_equal_and_backward_times_are_raised_by_no_more_than_they_need(database: Database) -> None:
    fact = outcome_frame({"a": 1.0}, model="m", time=7)
    taken(database, [fact, tick_frame(7), fact, tick_frame(3)])
    assert numbers(read(database)) == [7, 8, 8, 9]


def test_segments_are_named_for_what_they_hold_and_sort_first() -> None:
    names = names_of("a", 1024)
    assert names == names_of("a", 1024)
    assert list(names) == list(range(EVERY, 1024))
    assert sorted(names.values()) == list(names.values())
    assert not {*names.values()} & {*names_of("b", 1024).values()}
    assert max(names.values()) < "01000000-0000-7000-8000-000000000000"


def test_what_was_brought_in_before_is_known(database: Database) -> None:
    frames = [tick_frame(1), tick_frame(2)]
    assert taken(database, frames) == Taken(frames=2, rows=2)
    writer = PostgresLog(database).writer()
    writer.append([tick_frame(3)])
    writer.close()
    assert taken(database, frames) == Taken(known=True)
    assert numbers(read(database)) == [1, 2, 3]
    with pytest.raises(StateError, match="holds facts already, and not those that you bring"):
        taken(database, frames, origin="elsewhere")


def test_nothing_at_all_may_be_brought_in(database: Database) -> None:
    assert taken(database, []) == Taken()
    assert taken(database, [tick_frame(1)]) == Taken(frames=1, rows=1)
    assert salt_of(database) == SALT


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO offsets VALUES (0, 'a', 1)",
        "INSERT INTO documents (kind, key, partition, body) VALUES ('a', 'b', 0, '1')",
        "INSERT INTO chunks VALUES ('a', 0, 0, 1, '')",
    ],
)
def test_state_of_other_facts_is_refused(database: Database, statement: str) -> None:
    change(database, statement)
    with pytest.raises(StateError, match="name an empty database"):
        taken(database, [tick_frame(1)])


def test_facts_that_fail_leave_nothing_behind(database: Database) -> None:
    before = salt_of(database)

    def facts() -> Iterator[Frame]:
        yield tick_frame(1)
        raise InputError("no more")

    with pytest.raises(InputError, match="no more"):
        take_in(database, facts, origin="x", salt=SALT)
    assert read(database) == []
    assert salt_of(database) == before
    assert taken(database, [tick_frame(2)]) == Taken(frames=1, rows=1)


def test_what_postgres_cannot_keep_is_said(database: Database) -> None:
    with pytest.raises(StateError, match="refuses: invalid byte sequence"):
        taken(database, [outcome_frame({"a": 1.0}, model="a\0b")])
    assert read(database) == []


def wait_for(database: Database, found: Callable[[psycopg.Connection], bool]) -> None:
    with psycopg.connect(database.url, autocommit=True) as connection:
        deadline = time.monotonic() + PATIENCE
        while not found(connection):
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_nobody_sees_a_part_and_who_appends_meanwhile_comes_behind(database: Database) -> None:
    writer = PostgresLog(database).writer()
    appending = threading.Thread(target=lambda: writer.append([tick_frame(99)]))

    def waits(connection: psycopg.Connection) -> bool:
        words = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = %s::regclass"
        return bool(connection.execute(words, [f"{database.schema}.segments"]).fetchall()[0][0])

    def facts() -> Iterator[Frame]:
        yield tick_frame(1)
        appending.start()
        wait_for(database, waits)
        assert read(database) == []
        yield tick_frame(2)

    try:
        assert take_in(database, facts, origin="x", salt=SALT).frames == 2
        appending.join(PATIENCE)
        assert numbers(read(database)) == [1, 2, 99]
    finally:
        writer.close()


def test_a_lost_connection_begins_again_and_nothing_is_there_twice(database: Database) -> None:
    begun: list[int] = []

    def lose() -> None:
        with psycopg.connect(database.url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_locks "
                "WHERE relation = %s::regclass AND mode = 'ExclusiveLock'",
                [f"{database.schema}.segments"],
            )

    def facts() -> Iterator[Frame]:
        begun.append(1)
        for number in range(200):
            if len(begun) == 1 and number == 100:
                lose()
            yield outcome_frame({f"{number}-{row}": 1.0 for row in range(500)}, time=number)

    assert take_in(database, facts, origin="x", salt=SALT) == Taken(frames=200, rows=100_000)
    assert len(begun) == 2
    assert numbers(read(database)) == list(range(200))


# The salt.


def test_a_ledger_may_be_made_with_its_salt(empty: Database) -> None:
    init_store(empty, salt="")
    assert salt_of(empty) == ""
    init_store(empty, salt="other")
    assert salt_of(empty) == "", "what is there stays"


def test_a_ledger_that_somebody_folds_keeps_its_salt(database: Database) -> None:
    leases = Leases(database, span=timedelta(hours=1))
    leases.beat()
    with pytest.raises(StateError, match="stop it on all machines"):
        taken(database, [tick_frame(1)])
    leases.stop()
    taken(database, [tick_frame(1)])


def test_only_the_owner_may_give_another_salt(server: Server) -> None:
    database = empty_database(server)
    init_store(database, salt="mine")
    with psycopg.connect(server.url(), autocommit=True) as connection:
        connection.execute("CREATE ROLE ll_brings LOGIN")
    grant(database, "ll_brings", "server")
    theirs = replace(database, url=server.url(user="ll_brings"))
    with pytest.raises(StateError, match="let its owner bring the facts in"):
        taken(theirs, [tick_frame(1)])
    assert take_in(theirs, lambda: [tick_frame(1)], origin="x", salt="mine").frames == 1
