"""Which output is meant: its address says it."""

from __future__ import annotations

from collections.abc import Mapping

from lossloop.app.importing.sources import Address, address
from lossloop.app.predicting.outputs.base import Output
from lossloop.app.predicting.outputs.files import FileOutput
from lossloop.app.predicting.outputs.tables import DuckdbTable, PostgresTable, SqliteTable, Table
from lossloop.core.errors import InputError

TABLES: Mapping[str, type[PostgresTable | SqliteTable | DuckdbTable]] = {
    "postgresql": PostgresTable,
    "postgres": PostgresTable,
    "sqlite": SqliteTable,
    "duckdb": DuckdbTable,
}


def open_output(said: str, table: str = "") -> Output:
    """What an output's path or address means.

    Args:
        said: A path, an address of a store or of a database, or ``env:NAME`` of a variable that has one.
        table: Of a database.

    Raises:
        InputError: It is nothing that answers can be written to.
    """
    if not (said.startswith("env:") or said.partition("://")[0] in TABLES):
        if table:
            raise InputError("only a database has tables; leave --table out", field="table")
        return FileOutput(said)
    found: Address = address(said)
    made: Table = TABLES[found.scheme](found, table)
    return made  # type: ignore[return-value]
