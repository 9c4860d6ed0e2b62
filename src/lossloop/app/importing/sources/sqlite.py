"""SQLite: a file, opened read-only, with the SQLite that Lossloop itself uses."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urlsplit

import apsw
import pyarrow as pa

from lossloop.app.importing.sources.base import ROWS_AT_ONCE
from lossloop.app.importing.sources.rows import batch_of
from lossloop.core.errors import InputError


def read_sqlite(url: str, query: str) -> Iterator[pa.RecordBatch]:
    """The rows of a query over the file of ``sqlite:///file``; four slashes for an absolute path.

    Raises:
        InputError: There is no such database, or it refuses the query.
    """
    path = file_of(url)
    try:
        connection = apsw.Connection(
            f"file:{quote(str(path))}?mode=ro", flags=apsw.SQLITE_OPEN_READONLY | apsw.SQLITE_OPEN_URI
        )
        try:
            cursor, names = connection.cursor(), list[str]()

            def note(running: apsw.Cursor, statement: str, bindings: Any) -> bool:
                """Once there is no row (any more), SQLite does not say the columns."""
                names[:] = [name for name, *_ in running.get_description()]
                return True

            cursor.exec_trace = note
            cursor.execute(query)
            yield batch_of([], names)
            while rows := list(islice(cursor, ROWS_AT_ONCE)):
                yield batch_of(rows, names)
        finally:
            connection.close(True)
    except apsw.Error as error:
        raise InputError(f"{path} refuses: {error}", field="sql") from None


def file_of(url: str) -> Path:
    """The file that an address names: ``sqlite:///it`` beside us, ``sqlite:////data/it`` anywhere.

    Raises:
        InputError: There is no such file.
    """
    path = Path(unquote(urlsplit(url).path.removeprefix("/")))
    if not path.is_file():
        raise InputError(
            f"{path} is no file; an address is such as {url.partition(':')[0]}:///FILE", field="from"
        )
    return path
