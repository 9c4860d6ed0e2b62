"""An Arrow file as a source: of the IPC format with a footer, as Feather is, or a stream of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from lossloop.app.importing.sources.base import Piece, cut
from lossloop.app.importing.sources.files import OpenFile
from lossloop.core.errors import InputError


class ArrowSource:
    """Rows in the file's order; one batch of the file is in memory at a time."""

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
        return list(self._open().schema.names)

    def pieces(self, wanted: Sequence[str], *, after: int = 0) -> Iterator[Piece]:
        start, batches = 0, self._batches()
        while (batch := self._next(batches)) is not None:
            rows = np.arange(start + 1, start + 1 + batch.num_rows)
            start += batch.num_rows
            batch = batch.slice(min(max(0, after - int(rows[0]) + 1), len(rows)) if len(rows) else 0)
            columns = {name: batch.column(name) for name in wanted}
            for part, arrays in cut(columns, rows[len(rows) - batch.num_rows :]):
                self._file.check()
                share = min(self._file.handle.tell() / max(self._file.size, 1), 1.0)
                yield Piece(rows=part, columns=arrays, read=int(part[-1]), share=share)

    def close(self) -> None:
        self._file.close()

    def _open(self) -> pa.ipc.RecordBatchFileReader | pa.ipc.RecordBatchStreamReader:
        self._file.handle.seek(0)
        try:
            try:
                return pa.ipc.open_file(self._file.handle)
            except pa.ArrowInvalid:
                self._file.handle.seek(0)
                return pa.ipc.open_stream(self._file.handle)
        except (pa.ArrowException, OSError) as error:
            raise self._broken(error) from None

    def _batches(self) -> Iterator[pa.RecordBatch]:
        reader = self._open()
        if isinstance(reader, pa.ipc.RecordBatchFileReader):
            for place in range(reader.num_record_batches):
                yield reader.get_batch(place)
        else:
            yield from reader

    def _next(self, batches: Iterator[pa.RecordBatch]) -> pa.RecordBatch | None:
        try:
            return next(batches, None)
        except (pa.ArrowException, OSError) as error:
            self._file.check()
            raise self._broken(error) from None

    def _broken(self, error: Exception) -> InputError:
        words = str(error).partition("\n")[0]
        return InputError(f"{self.name} cannot be read as Arrow: {words}", field="source")
