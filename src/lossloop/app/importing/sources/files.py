"""Files as sources: opened once, so that what is put in their place later is not read by mistake."""

from __future__ import annotations

import glob
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.fs as pafs

from lossloop.core.errors import InputError, StateError
from lossloop.core.ids import digest

_AT_ONCE = 1024 * 1024


class OpenFile:
    """A file that must stay as it is while it is read.

    Raises:
        InputError: It cannot be opened.
    """

    handle: BinaryIO

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        try:
            self.handle = path.open("rb")
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror}", field="source") from None
        self._stat = self._look()
        self.size = self._stat[0]

    def digest(self) -> str:
        """Of what is in it."""
        found = hashlib.blake2b(digest_size=16)
        self.handle.seek(0)
        while data := self.handle.read(_AT_ONCE):
            found.update(data)
        self.handle.seek(0)
        self.check()
        return found.hexdigest()

    def check(self) -> None:
        """Raise StateError where it was written to since it was opened."""
        if self._look() != self._stat:
            raise StateError(
                f"{self.name} was changed while it was read; nothing of the change was taken. Once it is "
                "whole, give the same command again"
            )

    def stamp(self) -> list[int]:
        """Its size, when it was last written to, and which file it is: as long as they stay, so does it."""
        return list(self._stat)

    def close(self) -> None:
        self.handle.close()

    def _look(self) -> tuple[int, int, int]:
        found = os.fstat(self.handle.fileno())
        return found.st_size, found.st_mtime_ns, found.st_ino


class StoredFile(OpenFile):
    """A file of any file system that PyArrow opens: an object of a store has no other identity than these.

    Args:
        filesystem: Where it is.
        path: Its name there.
        name: As errors and answers call it; without passwords.
    """

    def __init__(self, filesystem: pafs.FileSystem, path: str, name: str) -> None:
        self.name = name
        self._there = (filesystem, path)
        try:
            self.handle = filesystem.open_input_file(path)
            self._stat = self._look()
        except (OSError, pa.ArrowException) as error:
            raise InputError(
                f"cannot read {name}: {str(error).partition(chr(10))[0]}", field="source"
            ) from None
        self.size = self._stat[0]

    def _look(self) -> tuple[int, int, int]:
        filesystem, path = self._there
        found = filesystem.get_file_info(path)
        return found.size or 0, found.mtime_ns or 0, 0


def matching(patterns: Sequence[str]) -> list[Path]:
    """The files that paths and globs name, each once, in order.

    Raises:
        InputError: One of them names none.
    """
    found: dict[Path, None] = {}
    for pattern in patterns:
        path = Path(pattern)
        names = [path] if path.is_file() else sorted(map(Path, glob.glob(pattern, recursive=True)))
        files = [each for each in names if each.is_file()]
        if not files:
            words = (
                "is a directory; name its files, such as"
                if path.is_dir()
                else "is no file; is the path right? A glob is"
            )
            raise InputError(f"{pattern} {words} 'labels/*.csv'", field="source")
        found.update(dict.fromkeys(files))
    return list(found)


def named_digest(*parts: str) -> str:
    """A short digest of some texts."""
    return digest("\0".join(parts).encode())[:32]
