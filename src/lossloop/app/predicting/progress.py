"""How far each batch has come: a folder per batch in the state directory.

    STATE/batches/ID/batch.json       which version answers which inputs, and how far it has come
    STATE/batches/ID/rejects.csv      rows without an answer, and why
    STATE/batches/ID/NNNNNN.arrow     answers that wait to be delivered together

What was recorded of a batch stays when it is done: it says what the ledger's rows of it came from.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lossloop.app.home import Home
from lossloop.app.locked import LockedFolder, read_document
from lossloop.core.clock import Micros
from lossloop.core.records import Record

DOCUMENT = "batch.json"


class Read(Record, frozen=True):
    """An input, by what is in it."""

    name: str
    digest: str


class Batch(Record, frozen=True):
    """A batch: what is asked, and how far it has come."""

    id: str
    key: str
    """Of the command: a batch that was not finished is found again by it."""
    model: str
    version: int
    digest: str
    """Of the version."""
    inputs: tuple[Read, ...]
    output: str
    role: str
    began: Micros
    at: Micros
    place: int = 0
    """The input that is being read."""
    read: int = 0
    """Rows of it that are done with."""
    rows: int = 0
    """Rows of all inputs that are done with."""
    taken: int = 0
    rejected: int = 0
    rejects_size: int = 0
    parts: int = 0
    delivering: bool = False
    """Whether the output may have some or all of it."""
    finished: bool = False
    error: str = ""


class Folder(LockedFolder[Batch]):
    """One batch's folder, locked for as long as it is open.

    Raises:
        InUse: Another process works at the same batch.
    """

    def __init__(self, home: Home, id: str) -> None:
        super().__init__(_place(home) / id, DOCUMENT, Batch, busy="another process works at the same batch")

    def part(self, number: int) -> Path:
        return self.path / f"{number:06}.arrow"

    def clear(self) -> None:
        """Remove the answers that were kept to be delivered."""
        for path in self.path.glob("*.arrow*"):
            path.unlink(missing_ok=True)


def all_batches(home: Home) -> Iterator[Batch]:
    """Every batch that was begun."""
    for path in sorted(_place(home).glob(f"*/{DOCUMENT}")):
        found = read_document(path, Batch)
        if found is not None:
            yield found


def _place(home: Home) -> Path:
    return home.path / "batches"
