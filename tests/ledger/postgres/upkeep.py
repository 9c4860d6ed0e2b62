"""Ledgers for tests of upkeep: facts of several models, what folds them, and what is left of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec
import psycopg
import pyarrow as pa

from lossloop.core.clock import SystemClock
from lossloop.ledger.applier import Applier
from lossloop.ledger.base import Entry
from lossloop.ledger.frames import Frame, Kind
from lossloop.ledger.postgres.database import Database
from lossloop.ledger.postgres.erasing import Found, erase, survey
from lossloop.ledger.postgres.log import PostgresLog
from lossloop.ledger.postgres.whole import Whole, held
from lossloop.ledger.removals import Erased, Gone
from lossloop.ledger.store import Store
from tests.ledger.samples import KEYS, outcome_frame, prediction_frame, tick_frame

UNIT = "Ada Lovelace-ERASE-ME"


class Passing:
    """A fold that makes nothing of facts, and has read them."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def fold(self, frame: Frame, *, segment: str, start: int) -> list[tuple[str, str]]:
        return []

    def flush(self) -> None:
        """Nothing is kept."""


def facts(start: int = 0) -> list[Frame]:
    """Two models; a unit's predictions, their outcomes, and those of others."""
    ids = [f"id-{start}-{number}" for number in range(4)]
    return [
        prediction_frame(ids, unit=[UNIT, "bob", UNIT, None], version=[1, 2, 1, 1], time=start),
        tick_frame(start),
        prediction_frame([f"late-{start}"], unit=[UNIT], model="late", time=start),
        outcome_frame(dict.fromkeys(ids, 1.0), time=start + 1),
        outcome_frame({ids[0]: 0.0, "unknown": 1.0}, time=start + 2),
        outcome_frame({f"late-{start}": 1.0}, model="late", time=start + 2),
    ]


def write(database: Database, *parts: Sequence[Frame]) -> None:
    """Append each part through a writer of its own, a frame at a time."""
    for part in parts:
        writer = PostgresLog(database).writer()
        for frame in part:
            writer.append([frame])
        writer.close()


def fold(database: Database) -> None:
    """Fold all there is."""
    with whole(database) as found:
        fold_in(found)


def fold_in(whole: Whole) -> None:
    for share in whole.shares():
        applier = Applier(share.log, share.store, Passing(share.store), SystemClock())
        while applier.step():
            continue
        applier.close()


@contextmanager
def whole(database: Database) -> Iterator[Whole]:
    with held(database, name="test") as found:
        yield found


def erased(database: Database, unit: str = UNIT, models: Sequence[str] | None = None) -> Erased:
    """Fold all there is, and erase a unit from it."""
    with whole(database) as found:
        fold_in(found)
        return erase(found, surveyed(found, unit, models))


def surveyed(whole: Whole, unit: str = UNIT, models: Sequence[str] | None = None) -> Found:
    return survey(whole.session, unit, models, keys=KEYS)


def everything(database: Database, most: int = 1 << 20) -> list[Entry]:
    """The log as a reader reads it that begins at its beginning, and comes to its end."""
    reader, offsets, found = PostgresLog(database).reader(), dict[str, int](), list[Entry]()
    while entries := list(reader.read(offsets, most=most)):
        offsets |= {entry.position.segment: entry.position.offset for entry in entries}
        found += entries
    assert not reader.behind(offsets)
    reader.close()
    return found


def rows(entries: Sequence[Entry], model: str) -> list[tuple[str, str, int]]:
    """Kind, id and time of every row of a model."""
    return sorted(
        (entry.frame.kind.name, id, entry.frame.time)
        for entry in entries
        if isinstance(entry.frame, Frame)
        and (entry.frame.batch.schema.metadata or {}).get(b"model") == model.encode()
        and "id" in entry.frame.batch.schema.names
        for id in entry.frame.batch.column("id").to_pylist()
    )


def told(entries: Sequence[Entry]) -> list[Gone]:
    """What facts say is gone."""
    return [
        msgspec.json.decode(body, type=Gone)
        for entry in entries
        if isinstance(entry.frame, Frame) and entry.frame.kind is Kind.COMMAND
        for body in entry.frame.batch.column("body").to_pylist()
    ]


def change(database: Database, statement: str) -> int:
    """Change something behind everybody's back; return how many rows that was."""
    with psycopg.connect(database.url, autocommit=True) as connection:
        connection.execute("SELECT set_config('search_path', %s, false)", [database.schema])
        return connection.execute(statement.encode()).rowcount


def asked(database: Database, statement: str) -> list[tuple[Any, ...]]:
    """What the owner finds."""
    with psycopg.connect(database.url, autocommit=True) as connection:
        connection.execute("SELECT set_config('search_path', %s, false)", [database.schema])
        return connection.execute(statement.encode()).fetchall()


def left(database: Database, *texts: str) -> list[str]:
    """Which of these texts stand in any table still."""
    found = []
    for text in texts:
        hexed = text.encode().hex()
        for table, column in (("frames", "payload"), ("chunks", "body")):
            where = f"position('\\x{hexed}'::bytea IN {column}) > 0"
            found += [f"{text} in {table}" for _ in asked(database, f"SELECT 1 FROM {table} WHERE {where}")]
        words = text.replace("'", "''")
        found += [
            f"{text} in documents"
            for _ in asked(database, f"SELECT 1 FROM documents WHERE position('{words}' IN body) > 0")
        ]
    return found


def summed(model: str, segment: str, frames: object, ids: Sequence[pa.RecordBatch]) -> dict[str, object]:
    """A summary for tests: which ids, and how many."""
    return {"ids": sorted(id for batch in ids for id in batch.column("id").to_pylist())}
