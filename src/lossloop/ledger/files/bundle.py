"""Bundles: files with their digests, as a directory or as one FILE.tar.zst, whole or not there at all.

The list of files comes last and is the file `bundle.json`; a bundle that was cut off has none.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, Protocol, Self

import msgspec
import pyarrow as pa

from lossloop.core.errors import InputError, StateError
from lossloop.core.records import Record
from lossloop.ledger.files import durable

LIST = "bundle.json"
FORMAT = 1
_AT_ONCE = 1 << 20
Tell = Callable[[int], None]
Bytes = IO[bytes]


class Item(Record, frozen=True):
    """A file of a bundle."""

    bytes: int
    digest: str
    """Hex BLAKE2b-256."""


class Contents(Record, frozen=True):
    """What a bundle holds."""

    format: int
    about: dict[str, Any]
    files: dict[str, Item]


class Part(Protocol):
    """Something to pack: so many bytes, under the name that they get in the bundle."""

    @property
    def name(self) -> str: ...

    @property
    def bytes(self) -> int: ...

    def open(self) -> Bytes:
        """The bytes from their beginning; asked once, and closed after."""
        ...


@dataclass(frozen=True, kw_only=True)
class Source:
    """The first bytes of a file."""

    name: str
    path: Path
    bytes: int

    def open(self) -> Bytes:
        return self.path.open("rb")


@dataclass(frozen=True, kw_only=True)
class Held:
    """Bytes that have no name yet: in memory, or in a file that is gone once it is closed."""

    name: str
    file: Bytes
    bytes: int

    def open(self) -> Bytes:
        self.file.seek(0)
        return self.file


def is_archive(target: Path) -> bool:
    """Whether a bundle's name says that it is one file."""
    return target.name.endswith(".tar.zst")


def pack(
    target: Path, sources: Iterable[Part], about: Mapping[str, Any], tell: Tell = lambda done: None
) -> Contents:
    """Write a bundle; it is there under its name once all of it is on disk.

    Args:
        target: A new file, or a new or empty directory.
        sources: What goes in; each is packed before the next one is asked for.
        about: What is said of the whole; read when all sources are in.
        tell: Told of progress, in bytes.

    Raises:
        InputError: There is something under that name.
        StorageFull: The disk takes no more; nothing is left behind.
    """
    if target.exists() and (is_archive(target) or not target.is_dir() or any(target.iterdir())):
        raise InputError(f"{target} is there already; give another name, or remove it", field="target")
    draft = target.with_name(target.name + durable.DRAFT)
    with durable.explained(target.parent), _removed_on_error(draft):
        durable.make(target.parent)
        with _Archive(draft) if is_archive(target) else _Directory(draft) as sink:
            files = {source.name: sink.add(source, tell) for source in sources}
            contents = Contents(format=FORMAT, about=dict(about), files=files)
            sink.list(msgspec.json.format(msgspec.json.encode(contents), indent=1))
        durable.publish(draft, target)
    return contents


def unpack(source: Path, directory: Path, tell: Tell = lambda done: None) -> Contents:
    """Write a bundle's files below a directory, which must be empty or new, and compare their digests.

    Raises:
        InputError: There is no bundle, or the directory holds something.
        StateError: The bundle is damaged or was cut off.
    """
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise InputError(f"{directory} holds other things; choose an empty place", field="state")
    found: dict[str, Item] = {}
    listed: bytes | None = None
    with durable.explained(directory):
        for name, file in _files(source):
            if name == LIST:
                listed = file.read()
            else:
                found[name] = _write(_safe(directory, name), file, tell)
    contents = _contents(source, listed)
    for name, item in contents.files.items():
        if found.get(name) != item:
            raise StateError(f"{name} in {source} is damaged or missing; take another backup")
    if len(found) != len(contents.files):
        extra = sorted(found.keys() - contents.files.keys())
        raise StateError(f"{source} holds {extra[0]}, which its list does not name; take another backup")
    return contents


def size_of(source: Path) -> int:
    """Bytes of a bundle as it lies on disk."""
    if source.is_dir():
        return sum(path.stat().st_size for path in source.rglob("*") if path.is_file())
    return source.stat().st_size if source.exists() else 0


class _Directory:
    """Files below a directory."""

    def __init__(self, draft: Path) -> None:
        self._draft = draft

    def __enter__(self) -> Self:
        shutil.rmtree(self._draft, ignore_errors=True)
        durable.make(self._draft)
        return self

    def add(self, source: Part, tell: Tell) -> Item:
        with source.open() as file:
            return _write(self._draft / source.name, _First(file, source.bytes), tell)

    def list(self, text: bytes) -> None:
        durable.write(self._draft / LIST, text)

    def __exit__(self, *error: object) -> None:
        """All of it is on disk already."""


class _Archive:
    """One file: a tar compressed with zstd."""

    def __init__(self, draft: Path) -> None:
        self._draft = draft

    def __enter__(self) -> Self:
        self._file = self._draft.open("wb")
        self._stream = pa.CompressedOutputStream(pa.PythonFile(self._file, "w"), "zstd")
        self._tar = tarfile.open(fileobj=self._stream, mode="w|", format=tarfile.PAX_FORMAT)
        return self

    def add(self, source: Part, tell: Tell) -> Item:
        entry = tarfile.TarInfo(source.name)
        entry.size, entry.mode = source.bytes, 0o600
        with source.open() as file:
            first = _First(file, source.bytes, tell)
            self._tar.addfile(entry, first)
        return first.item()

    def list(self, text: bytes) -> None:
        entry = tarfile.TarInfo(LIST)
        entry.size, entry.mode = len(text), 0o600
        self._tar.addfile(entry, pa.BufferReader(text))

    def __exit__(self, *error: object) -> None:
        self._tar.close()
        self._stream.close()
        if not self._file.closed:
            self._file.close()
        durable.sync_file(self._draft)


class _First:
    """The first bytes of a file, and their digest."""

    def __init__(self, file: IO[bytes], most: int, tell: Tell = lambda done: None) -> None:
        self._file = file
        self._left = most
        self._size = 0
        self._tell = tell
        self._digest = hashlib.blake2b(digest_size=32)

    def read(self, size: int = _AT_ONCE) -> bytes:
        part = self._file.read(min(size, self._left))
        self._left -= len(part)
        self._size += len(part)
        self._digest.update(part)
        self._tell(len(part))
        return part

    def item(self) -> Item:
        return Item(bytes=self._size, digest=self._digest.hexdigest())


def _write(path: Path, source: Any, tell: Tell) -> Item:
    """Write a file durably, and say what it was."""
    durable.make(path.parent)
    state, size = hashlib.blake2b(digest_size=32), 0
    fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(fd, "wb") as file:
        while part := source.read(_AT_ONCE):
            file.write(part)
            state.update(part)
            size += len(part)
            tell(len(part))
        file.flush()
        os.fsync(file.fileno())
    durable.sync_directory(path.parent)
    return Item(bytes=size, digest=state.hexdigest())


def _files(source: Path) -> Iterator[tuple[str, Any]]:
    """The names and the bytes of a bundle's files."""
    if source.is_dir():
        for path in sorted(path for path in source.rglob("*") if path.is_file()):
            with path.open("rb") as raw:
                yield path.relative_to(source).as_posix(), raw
    elif source.is_file():
        yield from _archived(source)
    else:
        raise InputError(f"there is no bundle {source}", field="source")


def _archived(source: Path) -> Iterator[tuple[str, Any]]:
    with contextlib.ExitStack() as stack:
        with _read_from(source):
            stream = stack.enter_context(pa.CompressedInputStream(pa.OSFile(str(source)), "zstd"))
            tar = stack.enter_context(tarfile.open(fileobj=stream, mode="r|"))
        while True:
            with _read_from(source):
                entry = tar.next()
            if entry is None:
                return
            file = tar.extractfile(entry) if entry.isfile() else None
            if file is None:
                raise StateError(f"{source} holds {entry.name!r}, which is no file; do not trust it")
            yield entry.name, _Packed(source, file)


class _Packed:
    """A file in an archive."""

    def __init__(self, source: Path, file: IO[bytes]) -> None:
        self._source = source
        self._file = file

    def read(self, size: int = -1) -> bytes:
        with _read_from(self._source):
            return self._file.read(size)


@contextlib.contextmanager
def _read_from(source: Path) -> Iterator[None]:
    """Errors of a reading: whatever they are called, the archive is not what was written."""
    try:
        yield
    except (tarfile.TarError, OSError, EOFError, pa.ArrowException) as error:
        raise StateError(f"{source} is damaged or was cut off ({error}); take another backup") from error


def _contents(source: Path, listed: bytes | None) -> Contents:
    if listed is None:
        raise StateError(f"{source} has no {LIST}: it was cut off, or is no bundle")
    try:
        contents = msgspec.json.decode(listed, type=Contents)
    except msgspec.DecodeError:
        raise StateError(f"the list {LIST} in {source} is damaged; take another backup") from None
    if contents.format > FORMAT:
        raise StateError(f"{source} has format {contents.format}; install a newer lossloop")
    return contents


def _safe(directory: Path, name: str) -> Path:
    """Where a file of a bundle goes: below the directory, whatever its name says."""
    parts = PurePosixPath(name)
    if parts.is_absolute() or ".." in parts.parts or not parts.parts or "\0" in name:
        raise StateError(f"the bundle holds a file named {name!r}; do not trust it")
    return directory / parts


@contextlib.contextmanager
def _removed_on_error(draft: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True) if draft.is_dir() else draft.unlink(missing_ok=True)
        raise
