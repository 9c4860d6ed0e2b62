"""Forgetting a unit in the rows that imports rejected: they are not in the log, and stand in files."""

from __future__ import annotations

import contextlib
import csv
import io
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from lossloop.app.home import Home
from lossloop.app.importing.progress import Folder, all_progress
from lossloop.app.locked import LockedFolder
from lossloop.ledger.files import durable


def forget_rejects(home: Home, unit: str, ids: Mapping[str, Collection[str]], model: str | None) -> int:
    """Remove rejected rows that name a unit, or an id of its predictions; return how many went.

    Args:
        home: The state directory.
        unit: Whom.
        ids: Of its predictions, by model.
        model: In rejected rows of this model, or of all.

    Raises:
        InUse: Something is being imported.
    """
    gone = 0
    for path, progress in all_progress(home):
        if model in (None, progress.model):
            with contextlib.closing(Folder(home, path.name)) as folder:
                gone += forget_in(folder, progress, unit, ids.get(progress.model, ()))
    return gone


class Kept(Protocol):
    """A document of what was done, and how much of the rejects belongs to it."""

    @property
    def error(self) -> str: ...
    @property
    def rejects_size(self) -> int: ...


def forget_in(folder: LockedFolder[Any], progress: Kept, unit: str, ids: Collection[str]) -> int:
    """Remove rejected rows that name a unit from one folder; return how many went."""
    named = _Named(unit, ids)
    if named.by(progress.error):
        progress = _changed(progress, error="")
        folder.write(progress)
    if not folder.rejects.exists():
        return 0
    # What lies behind is of rows that will be looked at again.
    text = folder.rejects.read_bytes()[: progress.rejects_size].decode(errors="replace")
    csv.field_size_limit(max(csv.field_size_limit(), len(text) + 1))
    rows = list(csv.reader(io.StringIO(text, newline="")))
    kept = [row for place, row in enumerate(rows) if not place or not named.in_cells(row)]
    if len(kept) < len(rows):
        written = io.StringIO(newline="")
        csv.writer(written, lineterminator="\n").writerows(kept)
        data = written.getvalue().encode()
        durable.write(folder.rejects, data)
        folder.rejects.chmod(0o600)
        folder.write(_changed(progress, rejects_size=len(data)))
    return len(rows) - len(kept)


def _changed(progress: Any, **more: Any) -> Any:
    return msgspec.structs.replace(progress, **more)


class _Named:
    """What names a unit: itself, ids of its predictions, and the cells that such an id was made of."""

    def __init__(self, unit: str, ids: Collection[str]) -> None:
        self._whole = {unit, *ids}
        self._parts: dict[str, list[tuple[str, ...]]] = {}
        for id in ids:
            first, *others = id.split("/")
            if others:
                self._parts.setdefault(first, []).append(tuple(others))

    def in_cells(self, row: Sequence[str]) -> bool:
        """Whether one cell names it, or several do together."""
        cells = set(row)
        return not self._whole.isdisjoint(cells) or any(
            cells.issuperset(others) for cell in cells for others in self._parts.get(cell, ())
        )

    def by(self, words: str) -> bool:
        """Whether a sentence has it in quotes, as messages have what they quote."""
        return any(repr(each) in words for each in self._whole)
