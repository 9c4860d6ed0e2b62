"""Files that are there whole or not at all, also after a power cut."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from lossloop.core.errors import InUse, StateError, StorageFull

DRAFT = ".draft"
"""How files end that are not whole yet; nobody reads them."""
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def make(directory: Path) -> None:
    """Make a directory, and those above it, so that a crash does not lose it; one there already is fine."""
    if directory.is_dir():
        return
    make(directory.parent)
    with contextlib.suppress(FileExistsError):
        directory.mkdir(mode=0o700)
    sync_directory(directory.parent)


def sync_file(path: Path) -> None:
    """Make what a file holds durable."""
    _sync(path, os.O_RDWR)


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable."""
    _sync(directory, os.O_RDONLY)


def publish(draft: Path, path: Path) -> None:
    """Give a whole, durable draft its name."""
    os.replace(draft, path)
    sync_directory(path.parent)


def write(path: Path, data: bytes) -> None:
    """Put bytes under a name, whole or not at all."""
    draft = path.with_name(path.name + DRAFT)
    with draft.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    publish(draft, path)


def digest_of(path: Path) -> str:
    """Hex BLAKE2b-256 of a file's bytes, as ``b2sum -l 256`` prints it."""
    state = hashlib.blake2b(digest_size=32)
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            state.update(part)
    return state.hexdigest()


@contextlib.contextmanager
def explained(directory: Path) -> Iterator[None]:
    """Errors of the disk as ours.

    Raises:
        StorageFull: The disk takes no more.
        StateError: It refuses otherwise.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise StorageFull(f"no room in {directory}; free some space and try again") from error
        where = error.filename or directory
        raise StateError(f"cannot change {where}: {error.strerror or error}") from error


@contextlib.contextmanager
def maintained(directory: Path) -> Iterator[None]:
    """The right to change what is sealed below a directory; freed when the process dies.

    Raises:
        InUse: Another process seals, prunes, erases or exports just now.
    """
    with explained(directory):
        make(directory)
        fd = os.open(directory / "lock", os.O_CREAT | os.O_RDWR, 0o600)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InUse(
                f"another process seals, prunes, erases or exports {directory.parent}; try again later"
            ) from None
        yield
    finally:
        os.close(fd)


def _sync(path: Path, flags: int) -> None:
    fd = os.open(path, flags)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
