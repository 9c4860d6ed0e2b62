from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from threading import Thread

import psycopg
import pytest

from lossloop.core.errors import InputError, LossloopError, Overloaded, StateError, StorageFull, TooLarge
from lossloop.ledger.postgres.database import Database
from lossloop.ledger.postgres.session import Session
from tests.ledger.postgres.places import new_database
from tests.ledger.postgres.server import PASSWORD, Server

Open = Callable[[Database], Session]


@pytest.fixture
def opened() -> Iterator[Open]:
    """Opens sessions that are closed in the end."""
    sessions: list[Session] = []

    def make(database: Database) -> Session:
        sessions.append(Session(database))
        return sessions[-1]

    yield make
    for session in sessions:
        session.close()


# A server that goes away.


def test_work_goes_on_after_a_restart(server: Server, database: Database, opened: Open) -> None:
    session = opened(database)
    assert session.partitions == 4
    server.restart()
    assert session.rows("commits") == [(0,)]


def test_work_waits_for_a_server_that_is_down(server: Server, database: Database, opened: Open) -> None:
    session = opened(database)
    assert session.rows("commits") == [(0,)]
    server.kill()
    found: list[object] = []
    thread = Thread(target=lambda: found.append(session.rows("commits")))
    thread.start()
    server.start()
    thread.join(60)
    assert found == [[(0,)]]


def test_a_server_that_stays_away_is_an_error_that_says_where(opened: Open) -> None:
    session = opened(Database(url="postgresql://ann:secret@127.0.0.1:1/db", patience=0))
    with pytest.raises(StateError, match=r"postgresql://ann@127\.0\.0\.1:1/db does not answer \(.*\); see"):
        session.rows("commits")


def test_a_connection_that_the_server_ended_is_made_anew(
    server: Server, database: Database, opened: Open
) -> None:
    session = opened(database)
    ((pid,),) = session.run(lambda c: c.execute("SELECT pg_backend_pid()").fetchall())
    with psycopg.connect(server.url()) as other:
        other.execute("SELECT pg_terminate_backend(%s)", [pid])
    ((now,),) = session.run(lambda c: c.execute("SELECT pg_backend_pid()").fetchall())
    assert now != pid


def test_work_that_fails_of_itself_leaves_a_connection_that_can_be_used(
    database: Database, opened: Open
) -> None:
    session = opened(database)

    def work(connection: psycopg.Connection) -> None:
        connection.execute("BEGIN")
        connection.execute("UPDATE partitions SET commits = 7")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        session.run(work)
    assert session.rows("commits") == [(0,)]


# A server that refuses.


def test_a_wrong_password_is_told_at_once_and_not_shown(server: Server, opened: Open) -> None:
    url = f"postgresql://postgres:wr%40ng@127.0.0.1:{server.port}/postgres"
    session = opened(Database(url=url, patience=60))
    with pytest.raises(StateError, match=r"takes no connection: .*password authentication failed") as caught:
        session.rows("commits")
    assert "wr@ng" not in str(caught.value)
    assert "wr%40ng" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_the_right_password_is_taken_with_all_its_signs(server: Server, opened: Open) -> None:
    database = new_database(server)
    quoted = PASSWORD.replace(":", "%3A").replace("@", "%40")
    url = f"postgresql://postgres:{quoted}@127.0.0.1:{server.port}/postgres"
    assert opened(replace(database, url=url)).partitions == 1


def test_a_database_that_is_not_there_is_told_at_once(server: Server, opened: Open) -> None:
    with pytest.raises(StateError, match=r'takes no connection: .*database "none" does not exist'):
        opened(Database(url=server.url("none"), patience=60)).rows("commits")


def test_a_ledger_that_is_not_there_says_how_it_is_made(empty: Database, opened: Open) -> None:
    with pytest.raises(
        StateError, match=rf"there is no ledger in .*, schema {empty.schema}.* with init_store"
    ):
        opened(empty).rows("commits")


def test_a_connection_too_many_is_overload(server: Server, database: Database, opened: Open) -> None:
    with psycopg.connect(server.url(), autocommit=True) as owner:
        owner.execute("CREATE ROLE lonely LOGIN SUPERUSER")
        owner.execute("ALTER ROLE lonely NOSUPERUSER CONNECTION LIMIT 0")
    with pytest.raises(Overloaded, match=r"has no connection left \(.*\); raise its limit"):
        opened(replace(database, url=server.url(user="lonely"), patience=0)).rows("commits")


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        ("53100", StorageFull, r"no room on the disk of postgresql://.*; free some space"),
        ("53200", Overloaded, r"cannot take more just now \(as planned\); send it again after a pause"),
        ("40P01", Overloaded, "send it again after a pause"),
        ("55P03", Overloaded, "send it again after a pause"),
        ("54000", TooLarge, r"too large for .* \(as planned\); send it in parts"),
        ("25006", StateError, "takes no writes: it is a standby; use the address of the primary"),
        ("57P01", StateError, r"does not answer \(as planned\); see whether it runs"),
        ("22012", StateError, r"refuses: as planned \(22012\)"),
    ],
)
def test_what_the_server_says_becomes_an_error_that_names_the_fix(
    database: Database, opened: Open, code: str, kind: type[LossloopError], words: str
) -> None:
    session = opened(replace(database, patience=0))
    raised = f"DO $$ BEGIN RAISE 'as planned' USING ERRCODE = '{code}'; END $$"
    with pytest.raises(kind, match=words):
        session.run(lambda connection: connection.execute(raised))
    assert session.rows("commits") == [(0,)], "the connection cannot be used any more"


def test_a_standby_takes_no_writes(database: Database, opened: Open) -> None:
    url = f"{database.url}&options=-c%20default_transaction_read_only%3Don"
    session = opened(replace(database, url=url))
    assert session.rows("commits") == [(0,)]
    with pytest.raises(StateError, match="takes no writes: it is a standby"):
        session.execute("leave", holder="a")


def test_what_passes_is_tried_again(database: Database, opened: Open) -> None:
    session, attempts = opened(database), []

    def work(connection: psycopg.Connection) -> None:
        attempts.append(1)
        if len(attempts) < 3:
            connection.execute("DO $$ BEGIN RAISE 'as planned' USING ERRCODE = '40001'; END $$")

    session.run(work)
    assert len(attempts) == 3


def test_text_that_postgresql_cannot_keep_is_the_callers(database: Database, opened: Open) -> None:
    with pytest.raises(InputError, match=r"this cannot be kept in PostgreSQL: .*NUL"):
        opened(replace(database, patience=60)).execute("leave", holder="a\0b")


def test_closing_twice_is_harmless_and_the_next_work_opens_again(database: Database, opened: Open) -> None:
    session = opened(database)
    for _ in range(2):
        assert session.rows("commits") == [(0,)]
        session.close()
        session.close()


def test_psycopg_is_asked_for_only_where_it_is_needed() -> None:
    program = """
import sys
sys.modules["psycopg"] = None
from lossloop.core.errors import MissingExtra
from lossloop.ledger.postgres import crew, leases, log, setup, store, view
from lossloop.ledger.postgres.database import Database
writer = log.PostgresLog(Database(url="postgresql://")).writer()
assert writer.append([]).offset == 0
try:
    setup.init_store(Database(url="postgresql://"))
except MissingExtra as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "psycopg is not installed; run: pip install 'lossloop[postgres]'"
