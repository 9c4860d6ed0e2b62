"""The derived state: one SQLite file with one writer, the applier; everyone else opens it read-only.

apsw brings its own SQLite, newer than 3.51.3, before which a WAL database that two connections
checkpoint could be corrupted (docs/design/0002).
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import apsw
import msgspec
import pyarrow as pa

from lossloop.core.errors import NewerFormat, StateError, StorageFull
from lossloop.ledger.base import Offsets
from lossloop.ledger.names import behind
from lossloop.ledger.sqlite.parts import FULL, LARGE, Parts
from lossloop.ledger.sqlite.sums import check, crc_of, damaged
from lossloop.ledger.store import Chunk

FORMAT = 2
"""Of the state directory; a release refuses a number above its own."""
MOST_CACHED = 10_000
"""Documents that a writer keeps decoded between transactions."""

_UNUSABLE = (apsw.CantOpenError, apsw.CorruptError, apsw.IOError, apsw.NotADBError)
_DAMAGED = (apsw.CorruptError, apsw.NotADBError, apsw.SQLError, apsw.MismatchError, UnicodeDecodeError)
"""What SQLite says of a file whose bytes were changed; its own queries are right."""
_RETRIES = 5
_NOTHING = object()
"""In place of a document that is known not to be there."""

T = TypeVar("T")
Row = tuple[Any, ...]


def _was_full(error: BaseException | None) -> bool:
    """Whether a full disk is behind an error.

    It ends the whole transaction, and each block around it then fails once more, for want of one to end.
    """
    while error is not None and not isinstance(error, apsw.FullError):
        if isinstance(error, OSError) and error.errno in FULL:
            return True
        error = error.__context__
    return error is not None


def _named(text: str) -> dict[str, str]:
    parts = re.split(r"^-- name: (\w+)$", text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


_FILES = resources.files("lossloop.ledger.sqlite")
_SCHEMA = _FILES.joinpath("schema.sql").read_text()
QUERIES: Mapping[str, str] = _named(_FILES.joinpath("queries.sql").read_text())


class State:
    """The embedded Store: documents, offsets and chunks over one connection.

    Inside a transaction documents are kept decoded and written once, at its end: a fold reads and writes the
    same few of them for every frame.

    Raises:
        NewerFormat: The file was written by a newer release.
        StateError: There is no file, or it is not a database, or an older release made it.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self._parts = Parts(path.with_suffix(".parts"))
        self._large = LARGE if str(path) != ":memory:" else sys.maxsize
        self._path = path
        self._depth = 0
        self._seen = -1
        self._known: dict[tuple[str, str], Any] = {}
        self._dirty: set[tuple[str, str]] = set()
        self._listed: dict[tuple[str, str, Any], dict[str, Any]] = {}
        self._touched: list[str] = []
        self.connection = _opened(path, read_only=read_only)
        if not read_only:
            self._parts.keep_only(name for (name,) in self._rows("list_files"))

    def close(self) -> None:
        self.connection.close()

    def change(self) -> int:
        return int(self.connection.pragma("data_version"))

    # Transactions.

    @contextmanager
    def transaction(self) -> Iterator[None]:
        try:
            if not self._depth and self.change() != self._seen:
                self._forget()  # another connection wrote: nobody does while an applier runs
            self._write_dirty()
            with self.connection:
                self._depth += 1
                try:
                    yield
                    if self._depth == 1:
                        self._write_dirty()
                finally:
                    self._depth -= 1
        except BaseException as error:
            self._forget()
            self._dirty.clear()
            if not self._depth:
                with contextlib.suppress(apsw.Error):
                    self._ended()
            if isinstance(error, (apsw.Error, OSError)) and _was_full(error):
                raise StorageFull("no room for the derived state; free some space") from error
            if isinstance(error, apsw.CorruptError):
                raise damaged(self._path, error) from error
            if isinstance(error, apsw.IOError):
                raise StateError(
                    f"{self._path} cannot be written ({error}): its disk fails, or a limit on files is met"
                ) from error
            raise
        if not self._depth:
            self._ended()

    def _ended(self) -> None:
        """Remove files that the transaction wrote or replaced, and that nothing names now that it is over."""
        self._seen = self.change()
        if self._touched:
            named = {name for (name,) in self._rows("list_files")}
            self._parts.remove(name for name in self._touched if name not in named)
            self._touched.clear()
        if len(self._known) + sum(map(len, self._listed.values())) > MOST_CACHED:
            self._forget()

    def _forget(self) -> None:
        self._known.clear()
        self._listed.clear()

    def _write_dirty(self, kind: str | None = None) -> None:
        dirty = sorted(name for name in self._dirty if kind in (None, name[0]))
        self._dirty.difference_update(dirty)
        rows = [_row(*name, self._known[name]) for name in dirty]
        if rows:
            self.connection.executemany(QUERIES["put_document"], rows)

    # Queries, by their names in queries.sql.

    def _rows(self, name: str, *values: Any) -> list[Row]:
        try:
            return list(self.connection.execute(QUERIES[name], values))
        except _DAMAGED as error:
            raise damaged(self._path, error) from error

    def _run(self, name: str, *values: Any) -> None:
        self.connection.execute(QUERIES[name], values)

    # Documents.

    def get(self, kind: str, key: str, type: type[T]) -> T | None:
        known = self._known.get((kind, key))
        if known is not None and self._depth:
            if known is _NOTHING:
                return None
            if _is_a(known, type):
                return known  # type: ignore[no-any-return]
        if (kind, key) in self._dirty:
            self._write_dirty(kind)
        found = self._rows("get_document", kind, key)
        if not found:
            if self._depth:
                self._known[kind, key] = _NOTHING
            return None
        crc, body = found[0]
        value = _decoded(self._path, kind, key, crc, body, type)
        if self._depth:
            self._known[kind, key] = value
        return value

    def put(self, kind: str, key: str, value: Any) -> None:
        _unlist(self._listed, kind)
        if self._depth:
            self._known[kind, key] = value
            self._dirty.add((kind, key))
        else:
            self._known.pop((kind, key), None)
            self._run("put_document", *_row(kind, key, value))

    def drop(self, kind: str, key: str) -> None:
        _unlist(self._listed, kind)
        self._known.pop((kind, key), None)
        self._dirty.discard((kind, key))
        self._run("drop_document", kind, key)

    def all(self, kind: str, type: type[T], *, prefix: str = "") -> dict[str, T]:
        listed = self._listed.get((kind, prefix, type)) if self._depth else None
        if listed is None:
            self._write_dirty(kind)
            rows = self._rows("list_documents", kind, prefix, behind(prefix))
            listed = {key: _decoded(self._path, kind, key, crc, body, type) for key, crc, body in rows}
            if self._depth:
                self._listed[kind, prefix, type] = listed
        return dict(listed)

    # How far the log was folded.

    def offsets(self) -> Offsets:
        return {segment: reached for segment, reached, _ in self._rows("get_offsets")}

    def put_offset(self, segment: str, reached: int) -> None:
        self._run("put_offset", segment, reached, crc_of(segment, reached))

    # Streams of columns.

    def streams(self, prefix: str) -> list[str]:
        return [name for (name,) in self._rows("list_streams", prefix, behind(prefix))]

    def chunks(self, stream: str, *, after: int = -1) -> Iterator[Chunk]:
        for left in reversed(range(_RETRIES)):
            try:
                found = [self._chunk(stream, *row) for row in self._rows("get_chunks", stream, after)]
            except FileNotFoundError as error:  # merged with others since its name was read
                if not left:
                    raise damaged(self._path, "a file that it names is missing") from error
            else:
                yield from found
                return

    def _chunk(
        self, stream: str, first: int, file: str | None, content: int, crc: int, body: bytes | None
    ) -> Chunk:
        if crc == crc_of(stream, first, file, content):
            if file is not None and self._parts.is_whole(file, content):
                return Chunk(first=first, batch=self._parts.read(file))
            if body is not None and content == zlib.crc32(body):
                return Chunk(first=first, batch=_batch(body))
        raise damaged(self._path, f"a checksum of {stream} is wrong{f': {file}' if file else ''}")

    def put_chunk(self, stream: str, first: int, batch: pa.RecordBatch) -> None:
        gone = self._rows("drop_chunks", stream, first, first + batch.num_rows)
        self._touched += [file for (file,) in gone if file is not None]
        file, body = None, None
        if batch.nbytes >= self._large:
            file, content = self._parts.write(batch)
            self._touched.append(file)
        else:
            body = _encoded(batch)
            content = zlib.crc32(body)
        crc = crc_of(stream, first, file, content)
        self._run("put_chunk", stream, first, file, content, crc, body)

    def drop_stream(self, stream: str) -> None:
        gone = self._rows("drop_chunks", stream, -1, 1 << 62)
        self._touched += [file for (file,) in gone if file is not None]


def _opened(path: Path, *, read_only: bool) -> apsw.Connection:
    flags = apsw.SQLITE_OPEN_READONLY if read_only else apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
    name = str(path)
    if read_only and _rests(path):
        name, flags = f"{path.absolute().as_uri()}?immutable=1", flags | apsw.SQLITE_OPEN_URI
    try:
        connection = apsw.Connection(name, flags=flags, statementcachesize=200)
        connection.set_busy_timeout(5000)
        found = int(connection.pragma("user_version"))
        _check(path, found, read_only=read_only)
        if not read_only:
            connection.pragma("journal_mode", "WAL")
            connection.pragma("synchronous", "FULL")
        if found == 0:
            with connection:
                connection.execute(_SCHEMA)
                connection.pragma("user_version", FORMAT)
        check(connection, path, _SCHEMA, every=not read_only)
    except (*_UNUSABLE, *_DAMAGED) as error:
        raise damaged(path, error, said="cannot be opened as a state database") from error
    return connection


def _rests(path: Path) -> bool:
    """Whether nobody can write to a database: on a read-only disk SQLite cannot make what readers share."""
    wal = path.with_name(f"{path.name}-wal")
    return path.is_file() and not wal.exists() and bool(os.statvfs(path).f_flag & os.ST_RDONLY)


def _check(path: Path, found: int, *, read_only: bool) -> None:
    if found > FORMAT:
        raise NewerFormat(
            f"{path} has format {found}, this release reads up to {FORMAT}; install a newer lossloop"
        )
    if read_only and found == 0:
        raise damaged(path, "it is empty", said="is no state database")
    if 0 < found < FORMAT:
        raise StateError(f"{path} has format {found}; run `lossloop ledger migrate` first")


def _is_a(value: Any, type: Any) -> bool:
    try:
        return isinstance(value, type)
    except TypeError:  # a type such as tuple[str, ...]
        return False


def _decoded(path: Path, kind: str, key: str, crc: int, body: str, type: type[T]) -> T:
    if crc != crc_of(kind, key, body):
        raise damaged(path, f"the checksum of the document {kind} {key} is wrong")
    return msgspec.json.decode(body, type=type, strict=False)


def _unlist(listed: dict[tuple[str, str, Any], dict[str, Any]], kind: str) -> None:
    for name in [name for name in listed if name[0] == kind]:
        del listed[name]


def _row(kind: str, key: str, value: Any) -> Row:
    """A document as it is stored."""
    text = msgspec.json.encode(value, order="deterministic").decode()
    return kind, key, text, crc_of(kind, key, text)


def _batch(body: bytes) -> pa.RecordBatch:
    with pa.ipc.open_stream(pa.py_buffer(body)) as reader:
        return reader.read_next_batch()


def _encoded(batch: pa.RecordBatch) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return bytes(sink.getvalue())
