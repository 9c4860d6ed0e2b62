"""A state directory with a story about a person, for tests of what is kept and what is erased."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from lossloop.app.home import Home
from lossloop.app.reading import status
from tests.app.desk import MODEL, Desk, asked, happened, ticked

UNIT = "Ada Lovelace-ERASE-ME"
UNITS = [UNIT, "bob", UNIT, None]


def storied(place: Path, *, days: int = 2, **given: Any) -> Desk:
    """Days with predictions about a person and others, and their outcomes."""
    desk = Desk.ready(place, **given)
    for day in range(days):
        ids, hour = desk.ids(4), 24 * day + 8
        desk.send(asked(hour, [0.25] * 4, ids, units=UNITS), happened(hour + 1, ids), ticked(24 * day + 31))
    return desk


def figures(home: Home) -> dict[str, Any]:
    """What is shown of the model, as far as facts make it."""
    desk = Desk(home=home)
    with desk.books() as books:
        found = status(books, MODEL)
    return {name: found[name] for name in ("counts", "losses", "traffic", "watches")}


def places_of(home: Home, text: str) -> list[str]:
    """Files of a state directory that hold a text, in compressed columns too."""
    found = []
    for path in sorted(home.path.rglob("*")):
        if path.is_file():
            raw = path.read_bytes()
            if path.suffix == ".parquet":
                raw += str(pq.ParquetFile(path).read().to_pylist()).encode()
            if text.encode() in raw:
                found.append(path.relative_to(home.path).as_posix())
    return found
