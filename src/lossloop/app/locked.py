"""A folder of one piece of work that can be killed and goes on: a document, rejected rows, and a lock."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import Generic, TypeVar

import msgspec

from lossloop.core.errors import InUse, StateError, StorageFull
from lossloop.core.records import Record

REJECTS = "rejects.csv"

Document = TypeVar("Document", bound=Record)


class LockedFolder(Generic[Document]):
    """A folder, locked for as long as it is open.

    Args:
        path: Where; made if it is not there.
        name: Of the document in it.
        kind: What the document is.
        busy: What to say where another process holds it.

    Raises:
        InUse: Another process holds it.
    """

    def __init__(self, path: Path, name: str, kind: type[Document], *, busy: str) -> None:
        self.path = path
        self._name, self._kind = name, kind
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = os.open(path, os.O_RDONLY)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise InUse(f"{busy} ({path}); let it end") from None

    @property
    def rejects(self) -> Path:
        return self.path / REJECTS

    def read(self) -> Document | None:
        return read_document(self.path / self._name, self._kind)

    def write(self, document: Document) -> None:
        """Put a document in the place of the one before, whole or not at all."""
        fresh = self.path / f"{self._name.partition('.')[0]}.new"
        try:
            with fresh.open("wb") as file:
                file.write(msgspec.json.format(msgspec.json.encode(document), indent=1))
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self.path / self._name)
            os.fsync(self._lock)
        except OSError as error:
            raise StorageFull(f"cannot write {fresh} ({error.strerror}); free some space") from None

    def close(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def read_document(path: Path, kind: type[Document]) -> Document | None:
    """A document; one that is damaged is none: what is sent again changes nothing."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except (FileNotFoundError, msgspec.MsgspecError):
        return None
    except OSError as error:
        raise StateError(f"cannot read {path} ({error.strerror}); is it yours?") from None
