"""The derived state: one SQLite file with one writer, the applier; everyone else opens it read-only.

apsw brings its own SQLite, newer than 3.51.3, before which a WAL database that two connections
checkpoint could be corrupted (docs/design/0002).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import apsw
import msgspec

from lossloop.core.errors import NewerFormat, StateError, StorageFull
from lossloop.ledger.base import Offsets

FORMAT = 1
"""Of the state directory; a release refuses a number above its own."""

_UNUSABLE = (apsw.CantOpenError, apsw.CorruptError, apsw.IOError, apsw.NotADBError)

T = TypeVar("T")
Row = tuple[Any, ...]


def _was_full(error: BaseException | None) -> bool:
    """Whether a full disk is behind an error.

    It ends the whole transaction, and each block around it then fails once more, for want of one to end.
    """
    while error is not None and not isinstance(error, apsw.FullError):
        error = error.__context__
    return error is not None


def _named(text: str) -> dict[str, str]:
    parts = re.split(r"^-- name: (\w+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


_FILES = resources.files("lossloop.ledger")
_SCHEMA = _FILES.joinpath("schema.sql").read_text()
QUERIES: Mapping[str, str] = _named(_FILES.joinpath("queries.sql").read_text())


class State:
    """Documents and named queries over one connection.

    Raises:
        NewerFormat: The file was written by a newer release.
        StateError: There is no file, or it is not a database.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        flags = (
            apsw.SQLITE_OPEN_READONLY if read_only else apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
        )
        try:
            self.connection = apsw.Connection(str(path), flags=flags, statementcachesize=200)
            self.connection.set_busy_timeout(5000)
            found = self._pragma("user_version")
            if found > FORMAT:
                raise NewerFormat(
                    f"{path} has format {found}, this release reads up to {FORMAT}; install a newer lossloop"
                )
            if not read_only:
                self._prepare(found)
            elif found == 0:
                raise StateError(
                    f"{path} is no state database; delete it, and it is folded again from the log"
                )
        except _UNUSABLE as error:
            raise StateError(
                f"{path} cannot be opened as a state database ({error}); "
                "delete it, and it is folded again from the log"
            ) from error

    def _prepare(self, found: int) -> None:
        self._pragma("journal_mode = WAL")
        self._pragma("synchronous = FULL")
        if found == 0:
            with self.transaction():
                self.connection.execute(_SCHEMA)
                self._pragma(f"user_version = {FORMAT}")

    def _pragma(self, text: str) -> Any:
        return self.connection.pragma(*text.split(" = "))

    def close(self) -> None:
        self.connection.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All of what happens inside, or nothing."""
        try:
            with self.connection:
                yield
        except apsw.Error as error:
            if _was_full(error):
                raise StorageFull("no room for the derived state; free some space") from error
            raise

    def change(self) -> int:
        """A number that is another one once some other connection has committed."""
        return int(self._pragma("data_version"))

    # Queries, by their names in queries.sql.

    def rows(self, name: str, *values: Any) -> list[Row]:
        return list(self.connection.execute(QUERIES[name], values))

    def row(self, name: str, *values: Any) -> Row | None:
        return next(iter(self.connection.execute(QUERIES[name], values)), None)

    def run(self, name: str, *values: Any) -> int:
        """Execute and say how many rows changed."""
        self.connection.execute(QUERIES[name], values)
        return self.connection.changes()

    def run_many(self, name: str, rows: Sequence[Row]) -> None:
        self.connection.executemany(QUERIES[name], rows)

    # Documents.

    def get(self, kind: str, key: str, type: type[T]) -> T | None:
        found = self.row("get_document", kind, key)
        return None if found is None else msgspec.json.decode(found[0], type=type, strict=False)

    def put(self, kind: str, key: str, value: Any) -> None:
        self.run("put_document", kind, key, msgspec.json.encode(value, order="deterministic").decode())

    def drop(self, kind: str, key: str) -> None:
        self.run("drop_document", kind, key)

    def all(self, kind: str, type: type[T], *, prefix: str = "") -> dict[str, T]:
        """Documents of a kind whose keys begin with `prefix`, in the order of their keys."""
        found = self.rows("list_documents", kind, prefix, prefix + "\U0010ffff")
        return {key: msgspec.json.decode(body, type=type, strict=False) for key, body in found}

    def offsets(self) -> Offsets:
        return dict(self.rows("get_offsets"))
