"""Making a ledger in PostgreSQL, and letting others use it: what its owner does, once."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal

from lossloop.core.errors import InputError, StateError
from lossloop.ledger.postgres.database import GRANTS, QUERIES, TABLES, Database
from lossloop.ledger.postgres.session import FORMAT, bare, newer

if TYPE_CHECKING:
    import psycopg

PARTITIONS = 8
"""Of a ledger, where nobody says otherwise: at most so many appliers share the work."""
MOST_PARTITIONS = 1024
Part = Literal["server", "applier", "reader", "keeper"]

_STEPS: tuple[str, ...] = (TABLES,)
"""What leads from each format to the next, from none on."""


def init_store(database: Database, *, partitions: int | None = None, salt: str | None = None) -> None:
    """Make the schema and its tables, or bring older ones to this release's format; the same again is fine.

    The user needs the right to create a schema in the database, or to own the schema. Afterwards it is
    needed for newer formats only: let `grant` give other users what servers and appliers need.

    Args:
        database: Where.
        partitions: Among how many appliers the work can be shared, 8 by default. That cannot be changed
            later, since it says where a model's facts are.
        salt: What units are assigned by and ids are hashed with, of a ledger that is made now; a random one
            by default.

    Raises:
        NewerFormat: A newer release made the ledger that is there.
        StateError: It was made with another number of partitions, or the server refuses.
    """
    if partitions is not None and not 1 <= partitions <= MOST_PARTITIONS:
        raise InputError(f"a ledger has 1 to {MOST_PARTITIONS} partitions, not {partitions}")
    bare(database, lambda connection: _init(connection, database, partitions, salt))


def grant(database: Database, role: str, part: Part) -> None:
    """Give a role what a part of Lossloop needs.

    Args:
        database: Where the ledger lies; its user owns it.
        role: Who gets it.
        part: ``server``, ``applier`` (a worker too), ``reader``, or ``keeper``, who may remove facts.

    Raises:
        InputError: No such part.
        StateError: No such role, or the user does not own the ledger.
    """
    if part not in GRANTS:
        raise InputError(f"no part is called {part!r}; there are: {', '.join(sorted(GRANTS))}", field="part")

    def work(connection: psycopg.Connection) -> None:
        with connection.transaction():
            for statement in _statements(GRANTS[part]):
                connection.execute(_filled(statement, schema=database.schema, role=role))

    bare(database, work)


def _init(
    connection: psycopg.Connection, database: Database, partitions: int | None, salt: str | None
) -> None:
    with connection.transaction():
        # Two that do this at the same time do it one after the other.
        connection.execute("SELECT pg_advisory_xact_lock(hashtext(%s))", [f"lossloop:{database.schema}"])
        found = _format(connection, database)
        if found > FORMAT:
            raise newer(database, found)
        _to_schema(connection, database.schema)
        for step in _STEPS[found:]:
            connection.execute(step)
        if not found:
            count = partitions or PARTITIONS
            connection.execute("INSERT INTO meta (format, partitions) VALUES (%s, %s)", [FORMAT, count])
            connection.execute(
                "INSERT INTO partitions (partition) SELECT generate_series(0, %s - 1)", [count]
            )
            if salt is not None:
                connection.execute(QUERIES["give_salt"], {"salt": salt})
        elif found < FORMAT:
            connection.execute("UPDATE meta SET format = %s", [FORMAT])
        (row,) = connection.execute(QUERIES["meta"]).fetchall()
        if partitions not in (None, row[1]):
            raise StateError(
                f"{database.place} has {row[1]} partitions, which cannot be changed; "
                f"use it as it is, or another schema for {partitions}"
            )


def _format(connection: psycopg.Connection, database: Database) -> int:
    """Of the ledger that is there; 0 for none."""
    there = connection.execute("SELECT to_regclass(%s)", [f"{database.schema}.meta"]).fetchall()
    if there == [(None,)]:
        return 0
    _to_schema(connection, database.schema)
    return int(connection.execute(QUERIES["meta"]).fetchall()[0][0])


def _to_schema(connection: psycopg.Connection, schema: str) -> None:
    known = connection.execute("SELECT 1 FROM pg_namespace WHERE nspname = %s", [schema]).fetchall()
    if not known:
        connection.execute(_filled("CREATE SCHEMA {schema}", schema=schema))
    connection.execute("SELECT set_config('search_path', %s, true)", [f"{schema}, pg_temp"])


def _filled(statement: str, **names: str) -> Any:
    """A statement with names in it, quoted."""
    from psycopg import sql

    return sql.SQL(statement).format(**{key: sql.Identifier(name) for key, name in names.items()})


def _statements(text: str) -> list[str]:
    return [part for part in re.split(r";\s*\n", text) if part.strip()]
