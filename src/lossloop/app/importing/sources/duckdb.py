"""DuckDB: a file, opened read-only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from lossloop.app.importing.sources.base import ROWS_AT_ONCE
from lossloop.app.importing.sources.sqlite import file_of
from lossloop.core.errors import InputError, MissingExtra


def read_duckdb(url: str, query: str) -> Iterator[pa.RecordBatch]:
    """The rows of a query over the file of ``duckdb:///file``.

    Raises:
        MissingExtra: duckdb is not installed.
        InputError: There is no such database, or it refuses the query.
    """
    duckdb, path = _driver(), file_of(url)
    try:
        with duckdb.connect(str(path), read_only=True) as connection:
            relation = connection.sql(query)
            if relation is None:
                raise InputError("the query gives no rows; write a SELECT", field="sql")
            reader = relation.to_arrow_reader(ROWS_AT_ONCE)
            yield pa.RecordBatch.from_pylist([], schema=reader.schema)
            yield from reader
    except (duckdb.Error, pa.ArrowException) as error:
        raise InputError(f"{path} refuses: {str(error).partition(chr(10))[0]}", field="sql") from None


def _driver() -> Any:
    try:
        import duckdb
    except ImportError:
        raise MissingExtra("duckdb", "duckdb") from None
    return duckdb
