"""The peer: SQLite with the id as key, every transaction durable."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import apsw
import numpy as np

from lossloop.app.bench import rows
from lossloop.ledger.joined.keys import Int64

_TABLE = """CREATE TABLE predictions
(id TEXT PRIMARY KEY, version INTEGER, at INTEGER, y_pred REAL, y_true REAL) WITHOUT ROWID"""
_INSERT = "INSERT INTO predictions VALUES (?, 1, 0, 0.5, NULL)"
_UPDATE = "UPDATE predictions SET y_true = 1.0 WHERE id = ?"
_CACHE = "-262144"
"""256 MiB."""
_AT_ONCE = 100_000


class Keyed:
    """A table of predictions."""

    def __init__(self, path: Path) -> None:
        self._connection = apsw.Connection(str(path))
        for pragma, value in (("journal_mode", "WAL"), ("synchronous", "FULL"), ("cache_size", _CACHE)):
            self._connection.pragma(pragma, value)
        self._connection.execute(_TABLE)

    def load(self, count: int) -> None:
        """Insert predictions 0 to `count`, in the order of their ids."""
        for start in range(0, count, _AT_ONCE):
            self._run(_INSERT, np.arange(start, min(count, start + _AT_ONCE)))

    def insert(self, numbers: Int64, size: int) -> list[float]:
        """Insert predictions, so many a transaction; return the seconds of each."""
        return [self._run(_INSERT, numbers[start : start + size]) for start in range(0, len(numbers), size)]

    def update(self, numbers: Int64, size: int) -> list[float]:
        """Give predictions their outcome, so many a transaction; return the seconds of each."""
        return [self._run(_UPDATE, numbers[start : start + size]) for start in range(0, len(numbers), size)]

    def counts(self) -> tuple[int, int]:
        """How many predictions there are, and how many have their outcome."""
        (found,) = self._connection.execute("SELECT count(*), count(y_true) FROM predictions")
        return int(found[0]), int(found[1])

    def close(self) -> None:
        self._connection.close()

    def _run(self, statement: str, numbers: Int64) -> float:
        bound = [(id,) for id in rows.ids(numbers).to_pylist()]
        started = time.perf_counter()
        with self._connection:
            self._connection.executemany(statement, bound)
        return time.perf_counter() - started


@contextmanager
def keyed(directory: Path, count: int = 0) -> Iterator[Keyed]:
    """A table with so many predictions, for as long as the block lasts."""
    with TemporaryDirectory(dir=directory) as folder:
        table = Keyed(Path(folder) / "peer.db")
        try:
            table.load(count)
            yield table
        finally:
            table.close()
