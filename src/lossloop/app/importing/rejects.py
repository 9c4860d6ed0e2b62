"""The rows of a source that were not taken, as a CSV that can be mended and imported again."""

from __future__ import annotations

import csv
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

import msgspec

from lossloop.app.importing.checking import Bad
from lossloop.core.errors import StorageFull

FIELDS = ("reject_row", "reject_column", "reject_reason", "reject_text")


class Rejects:
    """A file of rejected rows: where they stood, why, and what stood there.

    Args:
        path: Where; made with the first row.
        names: The source's columns that were read.
        size: How many bytes of it are to stay; what lies behind is of rows that will be looked at again.
    """

    def __init__(self, path: Path, names: Sequence[str], *, size: int) -> None:
        self._path = path
        self._names = names
        self.size = size
        if path.exists():
            os.truncate(path, min(size, path.stat().st_size))

    def add(self, rows: Sequence[Bad]) -> None:
        """Write rows; they are durable then."""
        if not rows:
            return
        try:
            with self._path.open("a", newline="", encoding="utf-8") as file:
                os.chmod(self._path, 0o600)
                self._write(file, rows)
                file.flush()
                os.fsync(file.fileno())
                self.size = os.fstat(file.fileno()).st_size
        except OSError as error:
            raise StorageFull(f"cannot write {self._path} ({error.strerror}); free some space") from None

    def _write(self, file: TextIO, rows: Sequence[Bad]) -> None:
        writer = csv.writer(file, lineterminator="\n")
        if not self.size:
            writer.writerow([*FIELDS, *self._names])
        for bad in rows:
            cells = [_cell(bad.cells.get(name)) for name in self._names]
            writer.writerow([bad.row, bad.column, bad.reason, bad.text, *cells])


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, dict | list):
        return msgspec.json.encode(value, enc_hook=str).decode()
    return str(value)
