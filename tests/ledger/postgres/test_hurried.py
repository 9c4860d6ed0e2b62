"""Who has others to answer never waits for a database that is away, and finds it again when it is back."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import psycopg
import pytest

from lossloop.core.errors import Away, StateError
from lossloop.ledger.postgres.database import Database
from lossloop.ledger.postgres.hurried import Hurried
from lossloop.ledger.postgres.log import PostgresLog
from lossloop.ledger.postgres.setup import init_store
from lossloop.ledger.postgres.view import PostgresView
from tests.ledger.postgres.processes import wait_until
from tests.ledger.postgres.server import Server, running

FOR_EVER = 1e9
Open = Callable[[Database], Hurried]


@pytest.fixture
def opened() -> Iterator[Open]:
    """Opens sessions, which are closed in the end."""
    sessions: list[Hurried] = []

    def make(database: Database) -> Hurried:
        sessions.append(Hurried(database))
        return sessions[-1]

    yield make
    for session in sessions:
        session.close()


def test_a_server_that_is_away_is_an_error_at_once_however_patient_others_are(opened: Open) -> None:
    session = opened(Database(url="postgresql://ann:secret@127.0.0.1:1/db", patience=FOR_EVER))
    for _ in range(3):
        with pytest.raises(Away, match=r"postgresql://ann@127\.0\.0\.1:1/db does not answer \(.*\); see"):
            session.rows("commits")


def test_a_connection_that_was_ended_while_nobody_asked_is_made_anew(
    server: Server, database: Database, opened: Open
) -> None:
    session = opened(database)
    ((pid,),) = session.run(lambda c: c.execute("SELECT pg_backend_pid()").fetchall())
    with psycopg.connect(server.url()) as other:
        other.execute("SELECT pg_terminate_backend(%s)", [pid])
    assert session.rows("commits") == [(0,)]


def test_what_the_server_refuses_is_told_as_ever(database: Database, opened: Open) -> None:
    session = opened(database)
    for _ in range(2):
        with pytest.raises(StateError, match=r"refuses: division by zero \(22012\)"):
            session.run(lambda connection: connection.execute("SELECT 1 / 0"))
        assert session.rows("commits") == [(0,)]


def test_readers_find_a_server_that_is_back() -> None:
    with running() as server:
        database = Database(url=server.url(), patience=FOR_EVER)
        init_store(database)
        view, reader = PostgresView(database, hurried=True), PostgresLog(database, hurried=True).reader()
        assert (view.change(), reader.behind({})) == (0, False)
        server.kill()
        for _ in range(10):
            with pytest.raises(Away):
                view.change()
            with pytest.raises(Away):
                reader.behind({})
        server.start()
        wait_until(lambda: answers(view.change) and answers(lambda: reader.behind({})))
        view.close()
        reader.close()


def answers(ask: Callable[[], object]) -> bool:
    try:
        ask()
    except Away:
        return False
    return True


def test_one_that_says_nothing_is_asked_seldom(opened: Open) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        session = opened(Database(url=f"postgresql://ann@127.0.0.1:{port}/db", patience=FOR_EVER))
        for _ in range(50):
            with pytest.raises(Away):
                session.rows("commits")
        silent.settimeout(0.2)
        silent.accept()[0].close()
        with pytest.raises(TimeoutError):
            silent.accept()
