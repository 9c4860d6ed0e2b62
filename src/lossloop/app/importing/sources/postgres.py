"""PostgreSQL: a cursor on the server, so that no more than a batch of rows is here at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from lossloop.app.importing.sources.base import ROWS_AT_ONCE
from lossloop.app.importing.sources.rows import batch_of
from lossloop.core.errors import InputError, MissingExtra


def read_postgres(url: str, query: str) -> Iterator[pa.RecordBatch]:
    """The rows of a query, read in one transaction that may not write.

    Raises:
        MissingExtra: psycopg is not installed.
        InputError: The server cannot be reached, or refuses the query.
    """
    psycopg = _driver()
    try:
        with psycopg.connect(url, autocommit=False, application_name="lossloop import") as connection:
            connection.read_only = True
            with connection.cursor(name="lossloop_import", binary=True) as cursor:
                cursor.execute(query)
                names = [column.name for column in cursor.description or ()]
                yield batch_of([], names)
                while rows := cursor.fetchmany(ROWS_AT_ONCE):
                    yield batch_of(rows, names)
    except psycopg.Error as error:
        words = str(error).strip().replace("\n", "; ")
        raise InputError(f"PostgreSQL refuses: {words}", field="from") from None


def _driver() -> Any:
    try:
        import psycopg
    except ImportError:
        raise MissingExtra("psycopg", "postgres") from None
    return psycopg
