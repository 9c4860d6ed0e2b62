"""Small files of the directory `access`: readable by their owner alone, there whole or not at all."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import msgspec

from lossloop.core.errors import StateError
from lossloop.core.ids import new_id

Kind = TypeVar("Kind")
Stamp = tuple[int, int, int]


def read(path: Path, kind: type[Kind]) -> Kind | None:
    """What a file holds, as JSON; None where there is none.

    Raises:
        StateError: It cannot be read.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateError(f"cannot read {path}: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise StateError(f"{path} cannot be read ({error}); restore it from a backup") from None


def write(path: Path, text: bytes) -> None:
    """Put bytes under a name, durable before the name is; raise StateError where that cannot be."""
    draft = path.with_name(f".{new_id()}")
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        fd = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        raise StateError(f"cannot write {path}: {error.strerror}") from error


def stamp(path: Path) -> Stamp | None:
    """What tells one state of a file from another; None where there is none."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateError(f"cannot read {path}: {error.strerror}") from error
    return found.st_ino, found.st_mtime_ns, found.st_size


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Keep other writers of a directory out for as long as the block lasts."""
    try:
        directory.mkdir(mode=0o700, exist_ok=True)
        fd = os.open(directory / "lock", os.O_CREAT | os.O_RDWR, 0o600)
    except OSError as error:
        raise StateError(f"cannot write to {directory}: {error.strerror}") from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)
