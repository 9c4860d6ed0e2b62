from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import psycopg
import pytest

from lossloop.core.errors import InputError, NewerFormat, StateError
from lossloop.ledger.postgres.database import Database
from lossloop.ledger.postgres.leases import holders
from lossloop.ledger.postgres.log import PostgresLog
from lossloop.ledger.postgres.session import FORMAT, Session
from lossloop.ledger.postgres.setup import Part, grant, init_store
from lossloop.ledger.postgres.view import PostgresView
from tests.ledger.postgres.places import Partition, new_database, taken
from tests.ledger.postgres.server import Server
from tests.ledger.samples import outcome_frame


@pytest.fixture
def owner(server: Server) -> Iterator[psycopg.Connection]:
    with psycopg.connect(server.url(), autocommit=True) as connection:
        yield connection


def run(connection: psycopg.Connection, statement: str) -> list[tuple[object, ...]]:
    cursor = connection.execute(statement)
    return cursor.fetchall() if cursor.description else []


def append_one(database: Database) -> None:
    writer = PostgresLog(database).writer()
    try:
        writer.append([outcome_frame({"a": 1.0})])
    finally:
        writer.close()


# Making a ledger.


def test_a_ledger_can_be_made_again(empty: Database) -> None:
    for _ in range(2):
        init_store(empty, partitions=3)
    append_one(empty)
    init_store(empty, partitions=3)
    log = PostgresLog(empty).reader()
    assert len(list(log.read({}))) == 1, "making it again lost a fact"
    log.close()
    assert holders(empty) == {}


def test_several_may_make_it_at_once(empty: Database) -> None:
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(init_store, empty) for _ in range(4)]:
            done.result(60)
    append_one(empty)


def test_two_ledgers_share_a_database(server: Server) -> None:
    one, other = new_database(server), new_database(server, partitions=2)
    append_one(one)
    reader = PostgresLog(other).reader()
    assert not reader.behind({})
    reader.close()


def test_the_number_of_partitions_is_for_ever(database: Database) -> None:
    with pytest.raises(StateError, match=r"has 4 partitions, which cannot be changed; use it as it is, or"):
        init_store(database, partitions=5)


def test_who_does_not_care_takes_the_number_that_is_there(database: Database, empty: Database) -> None:
    for place, partitions in ((database, 4), (empty, 8)):
        init_store(place)
        session = Session(place)
        assert session.partitions == partitions
        session.close()


@pytest.mark.parametrize("partitions", [0, -1, 1025])
def test_partitions_are_one_to_a_thousand(empty: Database, partitions: int) -> None:
    with pytest.raises(InputError, match=f"a ledger has 1 to 1024 partitions, not {partitions}"):
        init_store(empty, partitions=partitions)


def test_a_newer_format_is_refused_and_left_alone(database: Database, owner: psycopg.Connection) -> None:
    run(owner, f"UPDATE {database.schema}.meta SET format = {FORMAT + 1}")
    words = rf"schema {database.schema} has format {FORMAT + 1}, this release reads up to {FORMAT}; install a"
    with pytest.raises(NewerFormat, match=words):
        append_one(database)
    with pytest.raises(NewerFormat, match=words):
        init_store(database)
    assert run(owner, f"SELECT format FROM {database.schema}.meta") == [(FORMAT + 1,)]


def test_an_older_format_is_told_apart(database: Database, owner: psycopg.Connection) -> None:
    run(owner, f"UPDATE {database.schema}.meta SET format = 0")
    with pytest.raises(StateError, match=f"has format 0; bring it to {FORMAT} with init_store"):
        append_one(database)


def test_a_database_of_another_encoding_is_refused(server: Server, owner: psycopg.Connection) -> None:
    run(owner, "CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0")
    latin = Database(url=server.url("latin"))
    init_store(latin)
    with pytest.raises(StateError, match="is encoded as LATIN1; make a database with ENCODING 'UTF8'"):
        append_one(latin)


def test_a_user_who_gave_up_durability_gets_it_back(server: Server, owner: psycopg.Connection) -> None:
    database = new_database(server)
    run(owner, "CREATE ROLE hasty LOGIN SUPERUSER")
    run(owner, "ALTER ROLE hasty SET synchronous_commit = off")
    session = Session(replace(database, url=server.url(user="hasty")))
    assert session.rows("durable")[0][1] == "on"
    session.close()


# Who may do what.


@pytest.fixture(scope="module")
def ledger(server: Server) -> Database:
    """A ledger with a fact, a document, and a role for each part."""
    database = new_database(server)
    append_one(database)
    partition = Partition(database)
    partition.writer().put("kind", "key", 1)
    partition.close()
    with psycopg.connect(server.url(), autocommit=True) as connection:
        for part in ("server", "applier", "reader", "keeper"):
            run(connection, f"CREATE ROLE ll_{part} LOGIN")
    return database


def as_role(ledger: Database, server: Server, part: Part) -> Database:
    grant(ledger, f"ll_{part}", part)
    return replace(ledger, url=server.url(user=f"ll_{part}"))


def test_nobody_may_do_anything_before_it_is_granted(ledger: Database, server: Server) -> None:
    words = r"there is no ledger in .*, or none for this user; make one with init_store, or let grant"
    with pytest.raises(StateError, match=words):
        append_one(replace(ledger, url=server.url(user="ll_reader")))


def test_a_server_appends_and_reads(ledger: Database, server: Server) -> None:
    database = as_role(ledger, server, "server")
    append_one(database)
    view = PostgresView(database)
    assert view.get("kind", "key", int) == 1
    assert view.change() == 1
    view.close()


def test_an_applier_does_all_that_it_does(ledger: Database, server: Server) -> None:
    with psycopg.connect(server.url(), autocommit=True) as connection:
        run(connection, f"UPDATE {ledger.schema}.partitions SET holder = NULL")
        run(connection, f"DELETE FROM {ledger.schema}.appliers")
    database = as_role(ledger, server, "applier")
    partition = Partition(database)
    store, log = partition.writer(), partition.log()
    store.put("kind", "other", 2)
    store.drop("kind", "other")
    store.put_offset("a", 1)
    store.drop_stream("none")
    log.writer().append([outcome_frame({"b": 1.0})])
    partition.close()


def test_a_reader_reads(ledger: Database, server: Server) -> None:
    database = as_role(ledger, server, "reader")
    reader = PostgresLog(database).reader()
    assert list(reader.read({}))
    reader.close()
    with pytest.raises(StateError, match="does not let this user do that"):
        append_one(database)
    with pytest.raises(StateError, match="does not let this user do that"):
        taken(database)


FACTS = ("frames", "segments")
DERIVED = ("documents", "offsets", "chunks", "partitions", "meta")
FORBIDDEN = [
    *((part, f"DELETE FROM {table}") for part in ("server", "applier", "reader") for table in FACTS),
    *((part, "UPDATE frames SET payload = ''") for part in ("server", "applier", "reader")),
    *((part, f"DELETE FROM {table}") for part in ("server", "reader", "keeper") for table in DERIVED),
    ("keeper", "DELETE FROM segments"),
    ("keeper", "TRUNCATE frames"),
    ("keeper", "UPDATE partitions SET token = 0"),
    ("keeper", "UPDATE documents SET body = '{}'"),
    ("server", "UPDATE documents SET body = '{}'"),
    ("server", "UPDATE partitions SET token = 0"),
    ("applier", "UPDATE meta SET partitions = 1"),
    ("applier", "DROP TABLE frames"),
    ("applier", "CREATE TABLE mine (a int)"),
]


@pytest.mark.parametrize(("part", "statement"), FORBIDDEN)
def test_no_part_may_do_more_than_it_needs(
    ledger: Database, server: Server, part: Part, statement: str
) -> None:
    database = as_role(ledger, server, part)
    with (
        psycopg.connect(database.url, options=f"-c search_path={ledger.schema}") as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        run(connection, statement)


def test_a_part_and_a_role_must_be_there(ledger: Database) -> None:
    with pytest.raises(
        InputError, match=r"no part is called 'boss'; there are: applier, keeper, reader, server"
    ):
        grant(ledger, "ll_server", "boss")  # type: ignore[arg-type]
    with pytest.raises(StateError, match=r'role "nobody; DROP TABLE x" does not exist'):
        grant(ledger, "nobody; DROP TABLE x", "reader")
