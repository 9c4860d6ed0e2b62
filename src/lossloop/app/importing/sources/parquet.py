"""A Parquet file as a source."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lossloop.app.importing.sources.base import ROWS_AT_ONCE, Piece, cut
from lossloop.app.importing.sources.files import OpenFile
from lossloop.core.errors import InputError


class ParquetSource:
    """Rows in the file's order; of row groups that were read already only the footer is looked at."""

    repeatable = True

    def __init__(self, file: Path | OpenFile) -> None:
        self._file = file if isinstance(file, OpenFile) else OpenFile(file)
        self.name = self._file.name

    def digest(self) -> str:
        return self._file.digest()

    def stamp(self) -> list[int]:
        """What changes when the file does."""
        return self._file.stamp()

    def columns(self) -> list[str]:
        return list(self._open().schema_arrow.names)

    def pieces(self, wanted: Sequence[str], *, after: int = 0) -> Iterator[Piece]:
        parquet = self._open()
        groups, start = _groups_behind(parquet, after)
        count = parquet.metadata.num_rows
        batches = parquet.iter_batches(batch_size=ROWS_AT_ONCE, row_groups=groups, columns=list(wanted))
        while (batch := self._next(batches)) is not None:
            rows = np.arange(start + 1, start + 1 + batch.num_rows)
            start += batch.num_rows
            batch = batch.slice(max(0, after + 1 - int(rows[0])) if len(rows) else 0)
            columns = {name: batch.column(name) for name in wanted}
            for part, arrays in cut(columns, rows[len(rows) - batch.num_rows :]):
                self._file.check()
                yield Piece(rows=part, columns=arrays, read=int(part[-1]), share=int(part[-1]) / count)

    def close(self) -> None:
        self._file.close()

    def _open(self) -> pq.ParquetFile:
        try:
            return pq.ParquetFile(self._file.handle)
        except (pa.ArrowException, OSError) as error:
            raise self._broken(error) from None

    def _next(self, batches: Iterator[pa.RecordBatch]) -> pa.RecordBatch | None:
        try:
            return next(batches, None)
        except (pa.ArrowException, OSError) as error:
            self._file.check()
            raise self._broken(error) from None

    def _broken(self, error: Exception) -> InputError:
        words = str(error).partition("\n")[0]
        return InputError(f"{self.name} cannot be read as Parquet: {words}", field="source")


def _groups_behind(parquet: pq.ParquetFile, after: int) -> tuple[list[int], int]:
    """The row groups that have rows behind the first `after`, and how many rows lie before them."""
    start = 0
    for group in range(parquet.num_row_groups):
        rows = parquet.metadata.row_group(group).num_rows
        if start + rows > after:
            return list(range(group, parquet.num_row_groups)), start
        start += rows
    return [], start
