"""Answers as a file: Parquet, CSV or Arrow, on this machine's disk or in a store."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from lossloop.app.predicting.outputs.base import Delivery
from lossloop.app.predicting.places import filesystem_of, is_address, shown
from lossloop.core.errors import InputError, StorageFull
from lossloop.ledger.files import durable

Writer = Callable[[BinaryIO, pa.Schema], AbstractContextManager[Any]]


def _parquet(file: BinaryIO, schema: pa.Schema) -> AbstractContextManager[Any]:
    found: AbstractContextManager[Any] = pq.ParquetWriter(file, schema, compression="zstd")
    return found


def _arrow(file: BinaryIO, schema: pa.Schema) -> AbstractContextManager[Any]:
    found: AbstractContextManager[Any] = pa.ipc.new_file(file, schema)
    return found


def _csv(file: BinaryIO, schema: pa.Schema) -> AbstractContextManager[Any]:
    found: AbstractContextManager[Any] = pa_csv.CSVWriter(file, flat_schema(schema))
    return found


WRITERS: Mapping[str, Writer] = {".parquet": _parquet, ".arrow": _arrow, ".feather": _arrow, ".csv": _csv}


class FileOutput:
    """A file that is there whole or not at all; a folder gets one with the batch's name.

    Args:
        said: A path, or an address such as ``s3://bucket/answers.parquet``.

    Raises:
        InputError: Its name does not end like one that can be written.
    """

    def __init__(self, said: str) -> None:
        self._said = said
        self.shown = shown(said)
        found = next((each for each in WRITERS if self.shown.lower().endswith(each)), None)
        if found is None:
            raise InputError(
                f"{self.shown} must end with one of: {', '.join(sorted(WRITERS))}; or be the address of a "
                "database, such as postgresql://...",
                field="output",
            )
        self._ending = found

    def check(self) -> None:
        if is_address(self._said):
            filesystem_of(self._said)
            return
        folder = Path(self._said).parent
        if not folder.is_dir():
            raise InputError(f"there is no folder {folder}; make it first", field="output")
        if Path(self._said).is_dir():
            raise InputError(f"{self._said} is a folder; name a file in it", field="output")

    def is_there(self) -> bool:
        if not is_address(self._said):
            return Path(self._said).is_file()
        filesystem, path = filesystem_of(self._said)
        return bool(filesystem.get_file_info(path).type is pafs.FileType.File)

    def deliver(self, delivery: Delivery) -> None:
        if is_address(self._said):
            whole = delivery.scratch / f"whole{self._ending}"
            self._write(whole, delivery)
            self._send(whole)
            whole.unlink()
            return
        path = Path(self._said)
        draft = path.with_name(f".{path.name}.{delivery.batch[:12]}{durable.DRAFT}")
        self._write(draft, delivery)
        durable.publish(draft, path)

    def _write(self, path: Path, delivery: Delivery) -> None:
        try:
            with path.open("wb") as file, WRITERS[self._ending](file, delivery.schema) as writer:
                for part in delivery.parts():
                    writer.write_batch(flat(part) if self._ending == ".csv" else part)
            durable.sync_file(path)
        except OSError as error:
            path.unlink(missing_ok=True)
            raise StorageFull(f"cannot write {path} ({error.strerror}); free some space") from None

    def _send(self, whole: Path) -> None:
        filesystem, path = filesystem_of(self._said)
        try:
            with whole.open("rb") as file, filesystem.open_output_stream(path) as stream:
                shutil.copyfileobj(file, stream, 8 << 20)
        except (OSError, pa.ArrowException) as error:
            words = str(error).partition("\n")[0]
            raise InputError(f"{self.shown} cannot be written: {words}", field="output") from None


def flat_schema(schema: pa.Schema) -> pa.Schema:
    """Columns that CSV can have: lists and other nested values as text."""
    return pa.schema([pa.field(each.name, pa.string() if pa.types.is_nested(each.type) else each.type)
                      for each in schema])  # fmt: skip


def flat(part: pa.RecordBatch) -> pa.RecordBatch:
    """Rows with lists of numbers as text, such as ``[0.25,0.75]``."""
    columns = [_flat(column) for column in part.columns]
    return pa.RecordBatch.from_arrays(columns, schema=flat_schema(part.schema))


def _flat(column: pa.Array) -> pa.Array:
    if not pa.types.is_nested(column.type):
        return column
    if not pa.types.is_list(column.type):
        return pa.array([None if value is None else str(value) for value in column.to_pylist()], pa.string())
    joined = pc.binary_join(column.cast(pa.list_(pa.string())), ",")
    return pc.binary_join_element_wise("[", pc.binary_join_element_wise(joined, "]", ""), "")
