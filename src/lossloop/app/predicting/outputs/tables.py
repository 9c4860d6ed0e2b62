"""Answers as rows of a table: in one transaction, with the batch's id in each of them.

A batch that is delivered again after it was cut off takes its own rows away first, in the same transaction.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import apsw
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from lossloop.app.importing.sources import Address
from lossloop.app.predicting.outputs.base import Delivery
from lossloop.app.predicting.outputs.files import flat
from lossloop.core.errors import InputError, MissingExtra

BATCH = "batch"


class Table:
    """A table of a database; made with the first batch if it is not there.

    Args:
        address: Of the database.
        table: Its name, ``answers`` or ``schema.answers``.
    """

    def __init__(self, address: Address, table: str) -> None:
        if not table:
            raise InputError("say which table: --table NAME", field="table")
        self.address = address
        self.table = table
        self.shown = f"{address.shown}#{table}"

    @property
    def quoted(self) -> str:
        return ".".join(_quoted(part) for part in self.table.split("."))

    def is_there(self) -> bool:
        return True  # a table that somebody emptied is theirs to fill again, by another input

    def refused(self, error: Exception, who: str) -> InputError:
        words = self.address.hidden_in(str(error).strip().replace("\n", "; "))
        return InputError(f"{who} refuses: {words}", field="output")

    def creation(self, schema: pa.Schema, kinds: dict[str, str], vectors: str) -> str:
        """What makes the table."""
        columns = [f"{_quoted(each.name)} {_kind(each.type, kinds, vectors)}" for each in schema]
        columns.append(f"{_quoted(BATCH)} {kinds['text']} NOT NULL")
        return f"CREATE TABLE IF NOT EXISTS {self.quoted} ({', '.join(columns)})"

    def listed(self, schema: pa.Schema) -> str:
        """The columns that are filled."""
        return ", ".join(_quoted(name) for name in [*schema.names, BATCH])


class PostgresTable(Table):
    """A table in PostgreSQL, filled by COPY."""

    kinds = {"text": "text", "number": "double precision", "whole": "bigint", "time": "timestamptz",
             "truth": "boolean"}  # fmt: skip

    def check(self) -> None:
        self._connected().close()

    def deliver(self, delivery: Delivery) -> None:
        psycopg = _driver("psycopg", "postgres")
        try:
            with self._connected() as connection, connection.cursor() as cursor:
                # One delivery at a time: that of a killed process may still be on its way to its commit.
                cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [self.table])
                cursor.execute(self.creation(delivery.schema, self.kinds, "double precision[]"))
                if delivery.again:
                    cursor.execute(f"DELETE FROM {self.quoted} WHERE {_quoted(BATCH)} = %s", [delivery.batch])
                statement = f"COPY {self.quoted} ({self.listed(delivery.schema)}) FROM STDIN (FORMAT csv)"
                with cursor.copy(statement) as copy:
                    for part in delivery.parts():
                        copy.write(_csv_of(part, delivery.batch))
        except psycopg.Error as error:
            raise self.refused(error, "PostgreSQL") from None

    def _connected(self) -> Any:
        psycopg = _driver("psycopg", "postgres")
        try:
            return psycopg.connect(self.address.url, application_name="lossloop predict")
        except psycopg.Error as error:
            raise self.refused(error, "PostgreSQL") from None


class SqliteTable(Table):
    """A table in a file of SQLite."""

    kinds = {"text": "TEXT", "number": "REAL", "whole": "INTEGER", "time": "TEXT", "truth": "INTEGER"}

    def check(self) -> None:
        _folder_of(self.address)

    def deliver(self, delivery: Delivery) -> None:
        try:
            connection = apsw.Connection(str(_folder_of(self.address)))
            connection.set_busy_timeout(60_000)
            try:
                with connection:
                    self._fill(connection, delivery)
            finally:
                connection.close()
        except apsw.Error as error:
            raise self.refused(error, "SQLite") from None

    def _fill(self, connection: apsw.Connection, delivery: Delivery) -> None:
        connection.execute(self.creation(delivery.schema, self.kinds, "TEXT"))
        if delivery.again:
            connection.execute(f"DELETE FROM {self.quoted} WHERE {_quoted(BATCH)} = ?", [delivery.batch])
        marks = ", ".join("?" * (len(delivery.schema) + 1))
        statement = f"INSERT INTO {self.quoted} ({self.listed(delivery.schema)}) VALUES ({marks})"
        for part in delivery.parts():
            plain = [_told(column).to_pylist() for column in flat(part).columns]
            connection.executemany(statement, zip(*plain, [delivery.batch] * len(part), strict=True))


class DuckdbTable(Table):
    """A table in a file of DuckDB."""

    kinds = {"text": "VARCHAR", "number": "DOUBLE", "whole": "BIGINT", "time": "TIMESTAMPTZ",
             "truth": "BOOLEAN"}  # fmt: skip

    def check(self) -> None:
        _driver("duckdb", "duckdb")
        _folder_of(self.address)

    def deliver(self, delivery: Delivery) -> None:
        duckdb = _driver("duckdb", "duckdb")
        try:
            with duckdb.connect(str(_folder_of(self.address))) as connection:
                connection.execute("BEGIN")
                connection.execute(self.creation(delivery.schema, self.kinds, "DOUBLE[]"))
                if delivery.again:
                    where = f"WHERE {_quoted(BATCH)} = ?"
                    connection.execute(f"DELETE FROM {self.quoted} {where}", [delivery.batch])
                for part in delivery.parts():
                    batch = part.append_column(BATCH, pa.array([delivery.batch] * len(part)))
                    connection.register("lossloop_part", pa.Table.from_batches([batch]))
                    columns = self.listed(delivery.schema)
                    connection.execute(
                        f"INSERT INTO {self.quoted} ({columns}) SELECT {columns} FROM lossloop_part"
                    )
                    connection.unregister("lossloop_part")
                connection.execute("COMMIT")
        except duckdb.Error as error:
            raise self.refused(error, "DuckDB") from None


def _csv_of(part: pa.RecordBatch, batch: str) -> bytes:
    """Rows as COPY takes them: lists in braces, nothing for null, and quotes around an empty text."""
    columns = [_braces(column) for column in part.columns]
    rows = pa.RecordBatch.from_arrays(
        [*columns, pa.array([batch] * len(part))], names=[*part.schema.names, BATCH]
    )
    made = pa.BufferOutputStream()
    pa_csv.write_csv(rows, made, pa_csv.WriteOptions(include_header=False))
    found: bytes = made.getvalue().to_pybytes()
    return found


def _braces(column: pa.Array) -> pa.Array:
    if not pa.types.is_list(column.type):
        return column
    joined = pc.binary_join(column.cast(pa.list_(pa.string())), ",")
    return pc.binary_join_element_wise("{", pc.binary_join_element_wise(joined, "}", ""), "")


def _told(column: pa.Array) -> pa.Array:
    """Times as text, in UTC, as SQLite's own functions read them."""
    if not pa.types.is_timestamp(column.type):
        return column
    return pc.strftime(column.cast(pa.timestamp("us", tz="UTC")), format="%Y-%m-%d %H:%M:%S")


def _kind(kind: pa.DataType, kinds: dict[str, str], vectors: str) -> str:
    if pa.types.is_list(kind):
        return vectors
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return kinds["number"]
    if pa.types.is_boolean(kind):
        return kinds["truth"]
    if pa.types.is_integer(kind):
        return kinds["whole"]
    return kinds["time"] if pa.types.is_timestamp(kind) else kinds["text"]


def _quoted(name: str) -> str:
    if "\0" in name:
        raise InputError("a name of a table or a column has no null byte in it", field="table")
    return '"' + name.replace('"', '""') + '"'


def _folder_of(address: Address) -> Path:
    """The file that an address names; its folder has to be there."""
    path = Path(unquote(urlsplit(address.url).path.removeprefix("/")))
    if not path.name or not path.parent.is_dir():
        words = f"{address.shown} names no file in a folder that is there; write {address.scheme}:///FILE"
        raise InputError(words, field="output")
    return path


def _driver(name: str, extra: str) -> Any:
    try:
        if name == "psycopg":
            import psycopg

            return psycopg
        import duckdb
    except ImportError:
        raise MissingExtra(name, extra) from None
    return duckdb
