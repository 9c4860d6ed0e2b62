"""How far each source was imported: a document per source, model and mapping, in the state directory.

    STATE/imports/KEY/progress.json    rewritten once the rows that it counts are durable in the log
    STATE/imports/KEY/rejects.csv      rows that were not taken, and why

The key is made of what is in a file, not of its name: a file given again, or under another name, is known.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from lossloop.app.home import Home
from lossloop.app.importing.mapping import Naming
from lossloop.core.clock import Micros, format_time
from lossloop.core.errors import InUse, StateError, StorageFull
from lossloop.core.ids import digest
from lossloop.core.records import Record
from lossloop.ledger.frames import Kind

DOCUMENT = "progress.json"
REJECTS = "rejects.csv"


class Progress(Record, frozen=True):
    """How far a source was imported."""

    model: str
    kind: str
    source: str
    """As it was called when it was last read."""
    stamp: tuple[int, ...] = ()
    """Size and time of a file: as long as both stay, it need not be read to know it."""
    began: Micros = 0
    at: Micros = 0
    read: int = 0
    """Rows that are done with, in the order in which they are read."""
    taken: int = 0
    rejected: int = 0
    superseded: int = 0
    rejects_size: int = 0
    """Bytes of the rejects; what lies behind them was written for rows that are not done with."""
    sorts: dict[str, str] = {}
    """What values features have."""
    pieces: tuple[str, ...] = ()
    """Digests of pieces that were sent, of a source that has no order of its own."""
    finished: bool = False
    error: str = ""


def key_of(model: str, kind: Kind, digest_of_source: str, naming: Naming, *, history: bool) -> str:
    """The name of a source's progress."""
    said = [model, kind.name, digest_of_source, msgspec.to_builtins(naming), history]
    return digest(msgspec.json.encode(said, order="deterministic"))[:24]


class Folder:
    """One source's folder, locked for as long as it is open.

    Raises:
        InUse: Another process imports the same.
    """

    def __init__(self, home: Home, key: str) -> None:
        self.path = _place(home) / key
        self.path.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._lock = os.open(self.path, os.O_RDONLY)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            words = f"another process imports the same source with the same mapping ({self.path}); let it end"
            raise InUse(words) from None

    @property
    def rejects(self) -> Path:
        return self.path / REJECTS

    def read(self) -> Progress | None:
        return _read(self.path / DOCUMENT)

    def write(self, progress: Progress) -> None:
        """Put a document in the place of the one before, whole or not at all."""
        fresh = self.path / "progress.new"
        try:
            with fresh.open("wb") as file:
                file.write(msgspec.json.format(msgspec.json.encode(progress), indent=1))
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self.path / DOCUMENT)
            os.fsync(self._lock)
        except OSError as error:
            raise StorageFull(f"cannot write {fresh} ({error.strerror}); free some space") from None

    def close(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def read_progress(home: Home, key: str) -> Progress | None:
    """How far a source was imported, also while another process imports it; None where it was not begun."""
    return _read(_place(home) / key / DOCUMENT)


def all_progress(home: Home) -> Iterator[tuple[Path, Progress]]:
    """Every source that was begun, and its folder."""
    for path in sorted(_place(home).glob(f"*/{DOCUMENT}")):
        found = _read(path)
        if found is not None:
            yield path.parent, found


def recent(home: Home, model: str, *, most: int = 3) -> list[dict[str, Any]]:
    """What was imported of a model last, the newest first, as plain values."""
    found = [(path, each) for path, each in all_progress(home) if each.model == model]
    found.sort(key=lambda pair: pair[1].at, reverse=True)
    return [
        {
            "source": each.source, "kind": f"{each.kind}s", "at": format_time(each.at), "read": each.read,
            "taken": each.taken, "rejected": each.rejected, "finished": each.finished, "error": each.error,
            "rejects": str(path / REJECTS) if each.rejected else None,
        }
        for path, each in found[:most]
    ]  # fmt: skip


def _place(home: Home) -> Path:
    return home.path / "imports"


def _read(path: Path) -> Progress | None:
    """A document; one that is damaged is none: what is sent again changes nothing."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Progress)
    except (FileNotFoundError, msgspec.MsgspecError):
        return None
    except OSError as error:
        raise StateError(f"cannot read {path} ({error.strerror}); is it yours?") from None
