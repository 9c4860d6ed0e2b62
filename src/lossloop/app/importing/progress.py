"""How far each source was imported: a document per source, model and mapping, in the state directory.

    STATE/imports/KEY/progress.json    rewritten once the rows that it counts are durable in the log
    STATE/imports/KEY/rejects.csv      rows that were not taken, and why

The key is made of what is in a file, not of its name: a file given again, or under another name, is known.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from lossloop.app.home import Home
from lossloop.app.importing.mapping import Naming
from lossloop.app.locked import REJECTS, LockedFolder, read_document
from lossloop.core.clock import Micros, format_time
from lossloop.core.ids import digest
from lossloop.core.records import Record
from lossloop.ledger.frames import Kind

DOCUMENT = "progress.json"


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


class Folder(LockedFolder[Progress]):
    """One source's folder, locked for as long as it is open.

    Raises:
        InUse: Another process imports the same.
    """

    def __init__(self, home: Home, key: str) -> None:
        busy = "another process imports the same source with the same mapping"
        super().__init__(_place(home) / key, DOCUMENT, Progress, busy=busy)


def read_progress(home: Home, key: str) -> Progress | None:
    """How far a source was imported, also while another process imports it; None where it was not begun."""
    return read_document(_place(home) / key / DOCUMENT, Progress)


def all_progress(home: Home) -> Iterator[tuple[Path, Progress]]:
    """Every source that was begun, and its folder."""
    for path in sorted(_place(home).glob(f"*/{DOCUMENT}")):
        found = read_document(path, Progress)
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
