"""Frames as rows of a Parquet file, and back again, bit for bit."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from lossloop.ledger.facts import TIME
from lossloop.ledger.files.manifests import Piece
from lossloop.ledger.files.sameness import same_batches
from lossloop.ledger.frames import Frame, batch_of, payload_of

FRAME_TIME, FRAME_END, PAYLOAD = "frame_time", "frame_end", "payload"
"""The columns that are added to the rows: when the frame was received, and where it ends in its segment."""
ROWS, BYTES = 65_536, 64 * 1024 * 1024
"""A row group takes whole frames until it has this many rows or bytes."""
_LEVEL = 3
_ENCODINGS = {
    "DOUBLE": "BYTE_STREAM_SPLIT",
    "FLOAT": "BYTE_STREAM_SPLIT",
    "INT32": "DELTA_BINARY_PACKED",
    "INT64": "DELTA_BINARY_PACKED",
}

Placed = tuple[int, Frame]
"""A frame and where it ends in its segment."""


def fits(schema: pa.Schema) -> bool:
    """Whether frames of this schema can be rows: their columns have names of their own."""
    names = {*schema.names, FRAME_TIME, FRAME_END}
    return 2 < len(names) == len(schema.names) + 2


def schema_for(schema: pa.Schema | None) -> pa.Schema:
    """The columns of the file for frames of a schema; None where frames are kept as they are."""
    rows = pa.schema([(PAYLOAD, pa.binary())]) if schema is None else schema
    return rows.append(pa.field(FRAME_TIME, TIME)).append(pa.field(FRAME_END, pa.int64()))


def rows_of(frames: Sequence[Placed], schema: pa.Schema | None) -> pa.Table:
    """Frames as rows; all of one schema, or whole frames where it is None."""
    if schema is None:
        payloads = [payload_of(frame.batch) for _, frame in frames]
        rows = pa.table({PAYLOAD: pa.array(payloads, pa.binary())})
        counts = np.ones(len(frames), np.int64)
    else:
        rows = pa.Table.from_batches([frame.batch for _, frame in frames], schema)
        counts = np.array([frame.batch.num_rows for _, frame in frames], np.int64)
    times = np.repeat(np.array([frame.time for _, frame in frames], np.int64), counts)
    ends = np.repeat(np.array([end for end, _ in frames], np.int64), counts)
    wanted = schema_for(schema)
    columns = [*rows.columns, pa.array(times).cast(TIME), pa.array(ends)]
    return pa.Table.from_arrays(columns, schema=wanted).combine_chunks()


def batch_from(rows: pa.Table, schema: pa.Schema) -> pa.RecordBatch:
    """The rows of a row group as one batch of the frames' own schema.

    Raises:
        pa.ArrowInvalid: They are not of this schema.
    """
    columns = [_whole(rows.column(number)) for number in range(len(schema))]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def payload_batch(rows: pa.Table, row: int) -> pa.RecordBatch:
    """The batch of a frame that was kept as it was."""
    return batch_of(rows.column(PAYLOAD)[row].as_buffer())


class TableWriter:
    """Writes rows to a Parquet file, a row group at a time; the file is made with the first rows.

    Pages have checksums, so that a flipped byte is noticed when it is read.
    """

    def __init__(self, place: Path | pa.BufferOutputStream, schema: pa.Schema) -> None:
        self._place = place
        self._schema = schema
        self._writer: pq.ParquetWriter | None = None

    def write(self, rows: pa.Table) -> None:
        """Add a row group; none for no rows."""
        if not rows.num_rows:
            return
        if self._writer is None:
            self._writer = pq.ParquetWriter(
                self._place, self._schema, compression="zstd", compression_level=_LEVEL, use_dictionary=False,
                column_encoding=_encodings(self._schema), write_page_checksum=True,
            )  # fmt: skip
        self._writer.write_table(rows, row_group_size=rows.num_rows)

    def close(self) -> bool:
        """Finish the file; return whether there is one."""
        if self._writer is not None:
            self._writer.close()
        return self._writer is not None


def pieces_of(path: Path) -> tuple[Piece, ...]:
    """The row groups of a file, and its footer, with their checksums: a page's own leave out its header."""
    with opened(path) as file:
        starts = [_start(file.metadata.row_group(number)) for number in range(file.num_row_groups)]
    size = path.stat().st_size
    with path.open("rb") as raw:
        raw.seek(size - 8)
        footer = size - 8 - int.from_bytes(raw.read(4), "little")
        ends = [*starts[1:], footer, size]
        return tuple(
            Piece(end=end, crc=_crc(raw, start, end)) for start, end in zip([0, *ends], ends, strict=False)
        )


def holds(path: Path, pieces: Sequence[Piece], number: int) -> bool:
    """Whether a piece of a file is as it was sealed."""
    start = pieces[number - 1].end if number else 0
    with path.open("rb") as raw:
        return _crc(raw, start, pieces[number].end) == pieces[number].crc


def groups(path: Path) -> Iterator[pa.Table]:
    """The row groups of a file, one after the other."""
    with opened(path) as file:
        for number in range(file.num_row_groups):
            yield file.read_row_group(number)


def opened(path: Path) -> pq.ParquetFile:
    """A file whose pages are checked as they are read.

    Raises:
        FileNotFoundError: There is none.
        pa.ArrowException: It is no Parquet file, or its end is damaged.
    """
    path.stat()  # an error of Arrow's own does not say which file it misses
    return pq.ParquetFile(path, page_checksum_verification=True)


def survives(frame: Frame) -> bool:
    """Whether a frame comes back from Parquet as it was."""
    schema, sink = frame.batch.schema, pa.BufferOutputStream()
    writer = TableWriter(sink, schema_for(schema))
    try:
        writer.write(rows_of([(0, frame)], schema))
        writer.close()
        rows = pq.ParquetFile(pa.BufferReader(sink.getvalue())).read()
        return same_batches(frame.batch, batch_from(rows, schema))
    except pa.ArrowException:
        return False


def _start(group: Any) -> int:
    """Where the first page of a row group begins; without dictionaries, each column begins with its data."""
    return min(int(group.column(number).data_page_offset) for number in range(group.num_columns))


def _crc(raw: IO[bytes], start: int, end: int) -> int:
    """CRC-32 of a range of a file; -1 where the file ends before it does."""
    raw.seek(start)
    crc, left = 0, int(end - start)
    while left and (part := raw.read(min(left, 1 << 20))):
        crc, left = zlib.crc32(part, crc), left - len(part)
    return -1 if left else crc


def _whole(column: pa.ChunkedArray) -> pa.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _encodings(schema: pa.Schema) -> dict[str, str]:
    """How the values of each leaf are laid out; numbers that are close to each other take few bits."""
    sink = pa.BufferOutputStream()
    pq.write_table(schema.empty_table(), sink)
    leaves: Any = pq.ParquetFile(pa.BufferReader(sink.getvalue())).metadata.schema
    found = [leaves.column(number) for number in range(len(leaves.names))]
    return {leaf.path: _ENCODINGS[leaf.physical_type] for leaf in found if leaf.physical_type in _ENCODINGS}
