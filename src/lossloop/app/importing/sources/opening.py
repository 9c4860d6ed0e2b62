"""Which file is read by what: its name says it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lossloop.app.importing.sources.arrow import ArrowSource
from lossloop.app.importing.sources.csv import CsvSource
from lossloop.app.importing.sources.files import OpenFile
from lossloop.app.importing.sources.parquet import ParquetSource
from lossloop.core.errors import InputError

FileSource = ArrowSource | CsvSource | ParquetSource
ENDINGS: Mapping[str, type[FileSource]] = {
    ".arrow": ArrowSource,
    ".feather": ArrowSource,
    ".csv": CsvSource,
    ".csv.gz": CsvSource,
    ".parquet": ParquetSource,
}


def ending(path: Path | str) -> str | None:
    """The ending of a file that can be read; None where it cannot."""
    return next((each for each in ENDINGS if str(path).lower().endswith(each)), None)


def open_file(path: Path | OpenFile) -> FileSource:
    """A file as a source.

    Raises:
        InputError: Its name does not end like one that can be read, or it cannot be opened.
    """
    name = path.name if isinstance(path, OpenFile) else str(path)
    found = ending(name)
    if found is None:
        raise InputError(f"{name} must end with one of: {', '.join(sorted(ENDINGS))}", field="source")
    return ENDINGS[found](path)
