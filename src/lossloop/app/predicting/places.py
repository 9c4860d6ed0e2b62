"""Where inputs and outputs of a batch are: a path, a folder, or an address of a store such as ``s3://...``.

PyArrow opens its own file systems (S3, GCS, Azure, HDFS), and those of fsspec where it is installed. An
endpoint of another S3 than Amazon's is taken from ``AWS_ENDPOINT_URL``, keys from where Amazon's tools have
them.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pyarrow as pa
import pyarrow.fs as pafs

from lossloop.app.importing.sources import ENDINGS, Source, open_file
from lossloop.app.importing.sources.files import StoredFile, matching
from lossloop.app.importing.sources.opening import ending
from lossloop.core.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Input:
    """A file of rows."""

    name: str
    """As answers call it; without passwords."""
    size: int
    stored: tuple[pafs.FileSystem, str] | None = None
    """Where it is, if not on this machine's disk."""

    def open(self) -> Source:
        """Raise InputError where it cannot be read."""
        if self.stored is None:
            return open_file(Path(self.name))
        return open_file(StoredFile(*self.stored, self.name))


def inputs(said: Sequence[str]) -> list[Input]:
    """The files that paths, globs, folders and addresses name, each once; of a folder those in it, in order.

    Raises:
        InputError: One of them names none that can be read.
    """
    found: dict[str, Input] = {}
    for each in said:
        found.update((one.name, one) for one in (_stored(each) if is_address(each) else _local(each)))
    return list(found.values())


def is_address(said: str) -> bool:
    """Whether a place is an address, and not a path of this machine."""
    return "://" in said


def shown(said: str) -> str:
    """An address without user, password and parameters; a path as it is."""
    if not is_address(said):
        return said
    parts = urlsplit(said)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def filesystem_of(said: str) -> tuple[pafs.FileSystem, str]:
    """The file system of an address, and the path there.

    Raises:
        InputError: There is none for this scheme, or it cannot be reached.
    """
    try:
        filesystem, path = pafs.FileSystem.from_uri(said)
    except pa.ArrowInvalid as error:
        found = _of_fsspec(said)
        if found is None:
            raise InputError(f"{shown(said)}: {_line(error)}", field="input") from None
        return found
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{shown(said)} cannot be reached: {_line(error)}", field="input") from None
    return filesystem, str(path)


def _of_fsspec(said: str) -> tuple[pafs.FileSystem, str] | None:
    try:
        fsspec: Any = importlib.import_module("fsspec.core")
        filesystem, path = fsspec.url_to_fs(said)
    except (ImportError, ValueError):  # it is not installed, or knows no such scheme either
        return None
    return pafs.PyFileSystem(pafs.FSSpecHandler(filesystem)), str(path)


def _local(said: str) -> list[Input]:
    path = Path(said)
    if path.is_dir():
        files = sorted(
            each for each in path.rglob("*") if each.is_file() and _is_data(each.relative_to(path))
        )
        if not files:
            raise InputError(f"{said} has no file that ends with {_endings()}", field="input")
    else:
        files = matching([said])
    return [Input(name=str(each), size=each.stat().st_size) for each in files]


def _stored(said: str) -> Iterator[Input]:
    filesystem, path = filesystem_of(said)
    try:
        about = filesystem.get_file_info(path)
        found = [about]
        if about.type is pafs.FileType.Directory:
            infos = filesystem.get_file_info(pafs.FileSelector(path, recursive=True))
            found = [each for each in sorted(infos, key=lambda info: info.path) if _is_input(each, path)]
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{shown(said)} cannot be read: {_line(error)}", field="input") from None
    if not found or found[0].type is pafs.FileType.NotFound:
        words = f"there is nothing at {shown(said)} that ends with {_endings()}"
        raise InputError(words, field="input")
    scheme = said.partition("://")[0]
    for each in found:
        yield Input(name=f"{scheme}://{each.path}", size=each.size or 0, stored=(filesystem, each.path))


def _is_input(info: pafs.FileInfo, folder: str) -> bool:
    inside = Path(info.path.removeprefix(folder).lstrip("/"))
    return info.type is pafs.FileType.File and _is_data(inside)


def _is_data(path: Path) -> bool:
    """Whether a file in a folder is one of rows; hidden ones, or with an underscore before, are none."""
    return ending(path) is not None and not any(part.startswith((".", "_")) for part in path.parts)


def _endings() -> str:
    return ", ".join(sorted(ENDINGS))


def _line(error: Exception) -> str:
    return str(error).partition("\n")[0]
