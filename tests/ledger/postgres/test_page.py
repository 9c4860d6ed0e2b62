"""The page on PostgreSQL can be followed to the letter, against the tests' server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from lossloop.ledger.postgres.database import Database as Place
from lossloop.ledger.postgres.setup import init_store
from tests.docs.pages import Reader
from tests.docs.warm import warmed
from tests.house.repository import ROOT
from tests.ledger.postgres.server import Server

PAGE = ROOT / "docs" / "how-to" / "postgresql.md"
WRITTEN = "postgresql://{user}@db.example.com/lossloop"
USERS = ("lossloop", "lossloop_owner")
TEAM = "postgresql://lossloop@db.example.com/team"
"""Where a ledger moves to."""


class Database(Reader):
    """A reader whose database is the tests' server, by its socket."""

    server: Server

    def here(self, text: str) -> str:
        for user in USERS:
            address = self.server.url("lossloop", user=user)
            text = text.replace(f"init --store {WRITTEN.format(user=user)}", f"init --store '{address}'")
            text = text.replace(f"other --store {WRITTEN.format(user=user)}", f"other --store '{address}'")
            text = text.replace(WRITTEN.format(user=user), address)
        text = text.replace(TEAM, f"'{self.server.url('team', user='lossloop')}'")
        return super().here(text)


@pytest.fixture(scope="module")
def prepared(server: Server) -> Server:
    """The server once somebody has made a database and two roles."""
    with psycopg.connect(server.url(), autocommit=True) as connection:
        for user in USERS:
            connection.execute(f"CREATE ROLE {user} LOGIN")
        connection.execute("CREATE DATABASE lossloop OWNER lossloop_owner ENCODING 'UTF8'")
        connection.execute("CREATE DATABASE team OWNER lossloop ENCODING 'UTF8'")
    return server


@pytest.fixture(scope="module")
def commands() -> Iterator[Path]:
    with warmed() as folder:
        yield folder


@pytest.fixture
def reader(tmp_path: Path, commands: Path, prepared: Server) -> Iterator[Database]:
    found = Database(place=tmp_path, commands=commands)
    found.server = prepared
    yield found
    found.close()


@pytest.mark.slow
def test_the_page_can_be_followed_to_the_letter(reader: Database) -> None:
    reader.follow(PAGE)


def test_what_people_copy_into_sql_works(prepared: Server, reader: Database) -> None:
    text = reader.here(PAGE.read_text())
    _, *asked = [block.partition("```")[0] for block in text.split("```sql\n")[1:]]
    assert len(asked) == 2
    init_store(Place(url=prepared.url("lossloop", user="lossloop_owner")))
    with psycopg.connect(prepared.url("lossloop", user="lossloop_owner"), autocommit=True) as connection:
        for statements in asked:
            connection.execute(statements)
