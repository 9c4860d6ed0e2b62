"""Large chunks of columns as Arrow files beside the database: durable before they are named, then mapped."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa

from lossloop.core.ids import new_id
from lossloop.ledger.sqlite.sums import sum_of

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
"""What an error says where a disk, a quota or a file takes no more."""
LARGE = 256 * 1024
"""Bytes from which a chunk is a file of its own; what is smaller lies in the database."""


class Parts:
    """A directory of Arrow files, each written once."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._whole: set[str] = set()

    def write(self, batch: pa.RecordBatch) -> tuple[str, int]:
        """Write a batch so that it survives a crash; return its file's name and checksum."""
        self._directory.mkdir(mode=0o700, exist_ok=True)
        name = f"{new_id()}.arrow"
        try:
            with (
                (self._directory / name).open("xb") as file,
                pa.ipc.new_file(file, batch.schema) as writer,
            ):
                writer.write_batch(batch)
                writer.close()
                file.flush()
                os.fsync(file.fileno())
        except BaseException:  # what was written of it would keep a full disk full
            self.remove([name])
            raise
        folder = os.open(self._directory, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        self._whole.add(name)
        return name, sum_of(self._directory / name)

    def is_whole(self, name: str, content: int) -> bool:
        """Whether a file is as it was written, by its checksum; looked at once.

        Raises:
            FileNotFoundError: It was replaced since its name was read.
        """
        if name not in self._whole:
            if sum_of(self._directory / name) != content:
                return False
            self._whole.add(name)
        return True

    def read(self, name: str) -> pa.RecordBatch:
        """A batch whose columns are mapped: only what is looked at is read.

        Raises:
            FileNotFoundError: It was replaced since its name was read.
        """
        with pa.memory_map(str(self._directory / name)) as file, pa.ipc.open_file(file) as reader:
            return reader.get_batch(0)

    def remove(self, names: Iterable[str]) -> None:
        """Remove files that nothing names any more; who has mapped one keeps it."""
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                (self._directory / name).unlink()
            self._whole.discard(name)

    def keep_only(self, names: Iterable[str]) -> None:
        """Remove what a crash left between the writing of a file and the commit that names it."""
        if self._directory.is_dir():
            kept = set(names)
            self.remove(each.name for each in self._directory.iterdir() if each.name not in kept)
