"""Rows that the server refused: told to the service, and kept for people in `refused.jsonl`."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from lossloop.client.rows import Entry

FILE = "refused.jsonl"


@dataclass(frozen=True, kw_only=True)
class Refusal:
    """A row that the server refused, and why. It is not sent again by itself."""

    kind: str
    """``prediction`` or ``outcome``."""
    model: str
    row: dict[str, Any]
    status: int
    """HTTP's: 422 for a bad row, 409 where its id has other content, 404 where there is no such model."""
    detail: str
    field: str | None = None


OnRefused = Callable[[Refusal], None]


def refusal(entry: Entry, status: int, detail: str, field: str | None = None) -> Refusal:
    """The refusal of a row of the spool."""
    row = msgspec.json.decode(entry.row)
    return Refusal(
        kind=entry.kind.noun, model=entry.model.decode(), row=row, status=status, detail=detail, field=field
    )


class DeadLetters:
    """The file `refused.jsonl` of a spool: one refusal a line, appended by all processes that share it."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / FILE
        self.known = self.measure()
        """Its bytes when this process last looked."""

    def measure(self) -> int:
        """Its bytes, 0 where it is not there."""
        try:
            self.known = self.path.stat().st_size
        except (FileNotFoundError, NotADirectoryError):
            self.known = 0
        return self.known

    def keep(self, refusals: Sequence[Refusal]) -> None:
        """Append refusals, all or none.

        Raises:
            OSError: They could not be written.
        """
        now = datetime.now(UTC)
        lines = b"".join(
            msgspec.json.encode({"at": now, **msgspec.to_builtins(each)}) + b"\n" for each in refusals
        )
        fd = os.open(self.path, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            before = os.fstat(fd).st_size
            try:
                written = os.write(fd, lines)
                while written < len(lines):
                    written += os.write(fd, lines[written:])
            except OSError:
                os.ftruncate(fd, before)
                raise
            self.known = before + written
        finally:
            os.close(fd)
