"""A CSV file as a source: cells are bytes here, and what they mean is read later."""

from __future__ import annotations

import csv
import gzip
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv

from lossloop.app.importing.sources.base import Int64, Malformed, Piece, cut
from lossloop.app.importing.sources.files import OpenFile
from lossloop.core.errors import InputError

BLOCK = 8 * 1024 * 1024
"""Bytes that are parsed at once; no row may be longer."""
_HEAD = 64 * 1024
_DELIMITERS = ",;\t|"
_LONGEST_KEPT = 1000


class CsvSource:
    """Rows in the file's order, blank lines left out; the first line has the names.

    The delimiter is the one of comma, semicolon, tab and bar that the first line has most of.
    """

    repeatable = True

    def __init__(self, file: Path | OpenFile) -> None:
        self._file = file if isinstance(file, OpenFile) else OpenFile(file)
        self.name = self._file.name
        self._zipped = self.name.lower().endswith(".gz")

    def digest(self) -> str:
        return self._file.digest()

    def stamp(self) -> list[int]:
        """What changes when the file does."""
        return self._file.stamp()

    def columns(self) -> list[str]:
        return self._header()[0]

    def pieces(self, wanted: Sequence[str], *, after: int = 0) -> Iterator[Piece]:
        names, delimiter = self._header()
        numbering = _Numbering(names)
        reader = self._reader(names, wanted, delimiter, numbering)
        while (batch := self._next(reader, numbering)) is not None:
            rows = numbering.of(batch.num_rows)
            columns = {name: batch.column(name) for name in wanted}
            kept = rows > after
            if not kept.all():
                first = int(np.argmax(kept)) if kept.any() else len(rows)
                rows, columns = rows[first:], {name: each.slice(first) for name, each in columns.items()}
            for part, arrays in cut(columns, rows):
                yield self._piece(part, arrays, numbering.taken(int(part[-1]), after))
        last = numbering.taken(numbering.last, after)
        if last:
            empty = {name: pa.array([], pa.binary()) for name in wanted}
            yield self._piece(np.empty(0, np.int64), empty, last)

    def close(self) -> None:
        self._file.close()

    def _piece(self, rows: Int64, columns: dict[str, pa.Array], malformed: list[Malformed]) -> Piece:
        self._file.check()
        read = max([*rows[-1:].tolist(), *(each.row for each in malformed)])
        share = min(self._file.handle.tell() / max(self._file.size, 1), 1.0)
        return Piece(rows=rows, columns=columns, read=read, share=share, malformed=malformed)

    def _opened(self) -> BinaryIO:
        self._file.handle.seek(0)
        return cast(BinaryIO, gzip.GzipFile(fileobj=self._file.handle)) if self._zipped else self._file.handle

    def _header(self) -> tuple[list[str], str]:
        """The names in the first line that has any, and the delimiter."""
        try:
            head = self._head()
        except (OSError, EOFError, zlib.error) as error:
            raise InputError(f"{self.name} cannot be read as gzip: {error}", field="source") from None
        if b"\0" in head or not head.strip():
            words = "is empty" if not head.strip() else "is not text in UTF-8"
            raise InputError(f"{self.name} {words}; its first line must name the columns", field="source")
        text = head.decode(errors="replace")
        line = text.splitlines()[0]
        delimiter = max(_DELIMITERS, key=line.count)
        try:
            names = next(csv.reader(text.splitlines(keepends=True), delimiter=delimiter))
        except csv.Error as error:
            raise InputError(
                f"the first line of {self.name} names no columns: {error}", field="source"
            ) from None
        if any("\ufffd" in name for name in names):
            raise InputError(f"the first line of {self.name} is not text in UTF-8", field="source")
        return names, delimiter

    def _head(self) -> bytes:
        """The file's beginning, with the whole first line that has names."""
        file, head = self._opened(), b""
        while len(head) < BLOCK and (more := file.read(_HEAD)):
            head += more
            head = head.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n")
            if len(head.splitlines()) > 1:
                break
        return head

    def _reader(
        self, names: Sequence[str], wanted: Sequence[str], delimiter: str, numbering: _Numbering
    ) -> pa_csv.CSVStreamingReader:
        try:
            return pa_csv.open_csv(
                self._opened(),
                read_options=pa_csv.ReadOptions(block_size=BLOCK, use_threads=False),
                parse_options=pa_csv.ParseOptions(
                    delimiter=delimiter, newlines_in_values=True, invalid_row_handler=numbering.malformed
                ),
                convert_options=pa_csv.ConvertOptions(
                    column_types=dict.fromkeys(names, pa.binary()), include_columns=list(wanted)
                ),
            )
        except (pa.ArrowException, OSError, EOFError, zlib.error) as error:
            raise self._broken(error, numbering) from None

    def _next(self, reader: pa_csv.CSVStreamingReader, numbering: _Numbering) -> pa.RecordBatch | None:
        try:
            return reader.read_next_batch()
        except StopIteration:
            return None
        except (pa.ArrowException, OSError, EOFError, zlib.error) as error:
            self._file.check()
            raise self._broken(error, numbering) from None

    def _broken(self, error: Exception, numbering: _Numbering) -> InputError:
        words = str(error).partition("\n")[0]
        if "straddling" in words:
            words = f"a row has more than {BLOCK // 1024 // 1024} MB, or a quote is not closed"
        return InputError(f"{self.name} cannot be read behind row {numbering.last}: {words}", field="source")


class _Numbering:
    """Numbers the rows of a CSV: PyArrow counts those that it skips and leaves them out."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        self._malformed: list[Malformed] = []
        self._places: set[int] = set()
        self.last = 0

    def malformed(self, row: pa_csv.InvalidRow) -> str:
        number = row.number - 1  # it counts the first line too
        reason = f"{row.actual_columns} values where the first line has {row.expected_columns}"
        self._malformed.append(Malformed(row=number, reason=reason, text=row.text[:_LONGEST_KEPT]))
        self._places.add(number)
        return "skip"

    def of(self, count: int) -> Int64:
        """The numbers of the next rows that are some."""
        if not self._places:
            found = np.arange(self.last + 1, self.last + 1 + count)
        else:
            candidates = np.arange(self.last + 1, self.last + 1 + count + len(self._places))
            found = candidates[~np.isin(candidates, list(self._places))][:count]
        if count:
            self.last = int(found[-1])
            self._places = {place for place in self._places if place > self.last}
        return found

    def taken(self, until: int, after: int) -> list[Malformed]:
        """Rows that are none, up to a number, or right behind it, each handed out once."""
        while until + 1 in self._places:
            until += 1
        found = [each for each in self._malformed if each.row <= until]
        self._malformed = [each for each in self._malformed if each.row > until]
        return [each for each in found if each.row > after]


__all__ = ["BLOCK", "CsvSource"]
