"""Checksums of the derived state: SQLite has none, and a wrong byte must not become a wrong figure.

Each row has one, of its key too; triggers add them up per table, so that a row that is not found any more is
missed. Files beside the database have one in the row that names them.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import apsw
import numpy as np

from lossloop.core.errors import StateError

MOST_READ = 50_000
"""Documents up to which a reader checks every one when it opens the state; a writer always does."""
_PAGE = 512
"""Words that are added up before they are weighed by their place."""
_AT_ONCE = 256 * 8 * _PAGE
_SIGN = 1 << 63


def damaged(path: Path, what: object, *, said: str = "is damaged") -> StateError:
    """What to say of derived state that cannot be trusted."""
    return StateError(f"{path} {said} ({what}); run: lossloop ledger rebuild --state {path.parent}")


def crc_of(*parts: str | int | None) -> int:
    """The CRC-32 of a row's values."""
    return zlib.crc32("\0".join(map(str, parts)).encode())


def sum_of(path: Path) -> int:
    """A signed 64-bit sum of a file's words, each page of them weighed by its place.

    Four times as fast as a CRC; any change of one word changes it. It is read, not mapped: what is mapped
    counts as memory of the process.

    Raises:
        FileNotFoundError: It is not there.
    """
    total = pages = 0
    buffer = bytearray(_AT_ONCE)
    with path.open("rb", buffering=0) as file:
        while size := file.readinto(buffer):
            rest = -size % (8 * _PAGE)
            buffer[size : size + rest] = bytes(rest)
            words = np.frombuffer(buffer, "<u8", (size + rest) // 8).reshape(-1, _PAGE)
            weights = np.arange(pages, pages + len(words), dtype=np.uint64) * np.uint64(2) + np.uint64(1)
            total += int((words.sum(axis=1, dtype=np.uint64) * weights).sum(dtype=np.uint64))
            pages += len(words)
            total += size
    return (total + _SIGN) % (2 * _SIGN) - _SIGN


def check(connection: apsw.Connection, path: Path, schema: str, *, every: bool) -> None:
    """Compare a database with its checksums, but for what lies in its chunks.

    Args:
        connection: To the database.
        path: Where it lies.
        schema: What made it.
        every: Whether to look at every page and every document, however many there are.

    Raises:
        StateError: Something is not as it was written.
    """
    if _statements(connection) != _schema(schema):
        raise damaged(path, "its tables are not those of this release")
    if every:
        for (said,) in connection.execute("PRAGMA quick_check(1)"):
            if said != "ok":
                raise damaged(path, said)
    with connection:  # one moment for all that is read
        sums = {name: (rows, total) for name, rows, total in connection.execute("SELECT * FROM sums")}
        for table, rows in (
            ("offsets", _offsets(connection)),
            ("chunks", _chunks(connection)),
            ("documents", _documents(connection, every or sums["documents"][0] <= MOST_READ)),
        ):
            count = total = 0
            for crc, right in rows:
                if not right:
                    raise damaged(path, f"a checksum in {table} is wrong")
                count, total = count + 1, total + crc
            if (count, total) != sums.get(table):
                raise damaged(path, f"{table} are not all there")


Checked = Iterator[tuple[int, bool]]
"""Of each row its checksum, and whether that is right."""


def _offsets(connection: apsw.Connection) -> Checked:
    for segment, reached, crc in connection.execute("SELECT segment, reached, crc FROM offsets"):
        yield crc, crc == crc_of(segment, reached)


def _chunks(connection: apsw.Connection) -> Checked:
    for stream, first, file, content, crc in connection.execute(
        "SELECT stream, first, file, content, crc FROM chunks"
    ):
        yield crc, crc == crc_of(stream, first, file, content)


def _documents(connection: apsw.Connection, each: bool) -> Checked:
    if not each:
        yield from ((crc, True) for (crc,) in connection.execute("SELECT crc FROM documents"))
        return
    for kind, key, body, crc in connection.execute("SELECT kind, key, body, crc FROM documents"):
        yield crc, crc == crc_of(kind, key, body)


def _statements(connection: apsw.Connection) -> list[str]:
    found = connection.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name")
    return [sql for (sql,) in found]


@cache
def _schema(text: str) -> list[str]:
    connection = apsw.Connection(":memory:")
    connection.execute(text)
    found = _statements(connection)
    connection.close()
    return found
