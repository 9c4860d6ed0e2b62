"""The rows of a query as a source: PostgreSQL, SQLite or DuckDB, read only.

A query may give its rows in another order each time. So its place is not counted in rows: the importer knows
a piece that it has sent by what is in it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit, urlunsplit

import numpy as np
import pyarrow as pa

from lossloop.app.importing.sources.base import ROWS_AT_ONCE, Piece, cut
from lossloop.app.importing.sources.duckdb import read_duckdb
from lossloop.app.importing.sources.files import named_digest
from lossloop.app.importing.sources.postgres import read_postgres
from lossloop.app.importing.sources.sqlite import read_sqlite
from lossloop.core.errors import InputError, alternatives

Read = Callable[[str, str], Iterator[pa.RecordBatch]]
"""Takes an address and a query; its first batch may have no row, and names the columns."""
READERS: Mapping[str, Read] = {
    "postgresql": read_postgres,
    "postgres": read_postgres,
    "sqlite": read_sqlite,
    "duckdb": read_duckdb,
}
ENV = "env:"


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where a database is; its text is never shown, for it may hold a password.

    Args:
        url: As its driver takes it.
        scheme: Which driver that is.
    """

    url: str
    scheme: str

    def __repr__(self) -> str:
        return f"Address({self.shown})"

    @property
    def shown(self) -> str:
        """Without its password, and without parameters, which may hold one too."""
        parts = urlsplit(self.url)
        name = "" if parts.username is None else f"{unquote(parts.username)}@"
        host = (parts.netloc.rpartition("@")[2]) if parts.netloc else ""
        return urlunsplit((parts.scheme, f"{name}{host}", parts.path, "", ""))

    def hidden_in(self, text: str) -> str:
        """A driver's words, with the password taken out."""
        found = urlsplit(self.url).password
        hidden = text.replace(self.url, self.shown)
        for secret in filter(None, (found, unquote(found or ""))):
            hidden = hidden.replace(secret, "***")
        return hidden


def address(said: str) -> Address:
    """Read an address, or what ``env:NAME`` refers to.

    Raises:
        InputError: There is no such variable or no such driver.
    """
    url = said
    if said.startswith(ENV):
        url = os.environ.get(said.removeprefix(ENV), "")
        if not url:
            words = (
                f"the environment variable {said.removeprefix(ENV)!r} is not set; export it with the address"
            )
            raise InputError(words, field="from")
    scheme, found, _ = url.partition("://")
    if not found or scheme not in READERS:
        near = (
            alternatives(scheme, READERS)
            if found
            else "write it as postgresql://..., sqlite:///file or duckdb:///file"
        )
        raise InputError(f"--from is no address of a database that is read; {near}", field="from")
    return Address(url=url, scheme=scheme)


class SqlSource:
    """The rows of one query."""

    repeatable = False

    def __init__(self, where: Address, query: str) -> None:
        self.name = f"{where.shown} ({' '.join(query.split())[:80]})"
        self._where = where
        self._query = query.strip().rstrip(";")
        self._batches: Iterator[pa.RecordBatch] | None = None
        self._first: pa.RecordBatch | None = None

    def digest(self) -> str:
        return named_digest(self._where.shown, self._query)

    def columns(self) -> list[str]:
        self._begin()
        return list(self._first.schema.names) if self._first is not None else []

    def pieces(self, wanted: Sequence[str], *, after: int = 0) -> Iterator[Piece]:
        self._begin()
        batch, start = self._first, 0
        while batch is not None:
            rows = np.arange(start + 1, start + 1 + batch.num_rows)
            start += batch.num_rows
            skipped = min(max(0, after + 1 - int(rows[0])), len(rows)) if len(rows) else 0
            columns = {name: batch.column(name).slice(skipped) for name in wanted}
            for part, arrays in cut(columns, rows[skipped:], most_rows=ROWS_AT_ONCE):
                yield Piece(rows=part, columns=arrays, read=int(part[-1]))
            batch = self._next()

    def close(self) -> None:
        self._batches = self._first = None

    def _begin(self) -> None:
        if self._batches is None:
            self._batches = READERS[self._where.scheme](self._where.url, self._query)
            self._first = self._next()

    def _next(self) -> pa.RecordBatch | None:
        try:
            return None if self._batches is None else next(self._batches, None)
        except InputError as error:
            raise InputError(self._where.hidden_in(str(error)), field=error.field) from None


__all__ = ["Address", "SqlSource", "address"]
