"""The audit log: who did what when, in a file that only grows, each entry chained to the one before."""

from __future__ import annotations

import fcntl
import getpass
import hashlib
import os
import secrets
from pathlib import Path
from typing import Any

import msgspec

from lossloop.core.clock import Clock, SystemClock, format_time
from lossloop.core.errors import StateError
from lossloop.core.ids import digest
from lossloop.core.records import Record

_FIRST = "0" * 64


class Entry(Record, frozen=True):
    """One thing that was done."""

    number: int
    at: str
    who: str
    """The user of the operating system."""
    what: str
    details: dict[str, Any]
    before: str
    """The hash of the entry before; zeros for the first."""
    hash: str = ""
    """BLAKE2b-256 of this entry with an empty hash, as JSON."""


class AuditLog:
    """The audit log of a state directory: `audit.log`, one JSON document a line."""

    def __init__(self, directory: Path, clock: Clock | None = None) -> None:
        self.path = directory / "audit.log"
        self._key = directory / "audit.key"
        self._clock = clock or SystemClock()

    def append(self, what: str, details: dict[str, Any]) -> Entry:
        """Add an entry and make it durable.

        Raises:
            StateError: The file's last line is no entry.
        """
        fd = os.open(self.path, os.O_CREAT | os.O_RDWR | os.O_APPEND, 0o600)
        with os.fdopen(fd, "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            lines = file.read().splitlines()
            last = _read(lines[-1], self.path, len(lines)) if lines else None
            entry = Entry(
                number=1 if last is None else last.number + 1,
                at=format_time(self._clock.now()),
                who=_user(),
                what=what,
                details=details,
                before=_FIRST if last is None else last.hash,
            )
            entry = msgspec.structs.replace(entry, hash=_hash(entry))
            file.write(msgspec.json.encode(entry) + b"\n")
            file.flush()
            os.fsync(file.fileno())
        return entry

    def entries(self) -> list[Entry]:
        """All entries, oldest first.

        Raises:
            StateError: A line is no entry, was changed, or does not follow the one before.
        """
        found: list[Entry] = []
        lines = self.path.read_bytes().splitlines() if self.path.exists() else []
        for number, line in enumerate(lines, 1):
            entry = _read(line, self.path, number)
            before = found[-1].hash if found else _FIRST
            if (entry.number, entry.before) != (number, before):
                raise StateError(f"{self.path}, line {number} does not follow the line before")
            found.append(entry)
        return found

    def keyed(self, text: str) -> str:
        """A name as a hash that nobody can guess back without the key in `audit.key`."""
        if not self._key.exists():
            fd = os.open(self._key, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
            with os.fdopen(fd, "w") as file:
                file.write(secrets.token_hex(32))
        key = bytes.fromhex(self._key.read_text().strip())
        return hashlib.blake2b(text.encode(), key=key, digest_size=16).hexdigest()


def _read(line: bytes, path: Path, number: int) -> Entry:
    try:
        entry = msgspec.json.decode(line, type=Entry)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise StateError(f"{path}, line {number} is no entry; restore the file from a backup") from None
    if _hash(entry) != entry.hash or msgspec.json.encode(entry) != line:
        raise StateError(f"{path}, line {number} was changed; restore the file from a backup")
    return entry


def _hash(entry: Entry) -> str:
    return digest(msgspec.json.encode(msgspec.structs.replace(entry, hash="")))


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without a name
        return str(os.getuid())
