"""Which file is read by what: its name says it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lossloop.app.importing.sources.csv import CsvSource
from lossloop.app.importing.sources.parquet import ParquetSource
from lossloop.core.errors import InputError

FileSource = CsvSource | ParquetSource
ENDINGS: Mapping[str, type[CsvSource | ParquetSource]] = {
    ".csv": CsvSource,
    ".csv.gz": CsvSource,
    ".parquet": ParquetSource,
}


def ending(path: Path) -> str | None:
    """The ending of a file that can be read; None where it cannot."""
    return next((each for each in ENDINGS if path.name.lower().endswith(each)), None)


def open_file(path: Path) -> FileSource:
    """A file as a source.

    Raises:
        InputError: Its name does not end like one that can be read, or it cannot be opened.
    """
    found = ending(path)
    if found is None:
        raise InputError(f"{path} must end with one of: {', '.join(sorted(ENDINGS))}", field="source")
    return ENDINGS[found](path)
