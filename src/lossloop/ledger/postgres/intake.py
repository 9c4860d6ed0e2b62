"""Facts from elsewhere into an empty ledger: all of them in one transaction, so whole or not at all.

They get a segment per partition, whose names are made of what they are: who brings in the same facts again,
because nobody told him that they had arrived, finds them there.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lossloop.core.clock import Micros
from lossloop.core.errors import StateError
from lossloop.core.ids import uuid7
from lossloop.ledger.frames import Frame
from lossloop.ledger.postgres.database import QUERIES, Database
from lossloop.ledger.postgres.frames import EVERY, model_in, partition_of, row_of
from lossloop.ledger.postgres.session import Session

if TYPE_CHECKING:
    import psycopg

Facts = Callable[[], Iterable[Frame]]
"""All facts in their order, from the beginning whenever it is called."""
Tell = Callable[[int], None]
_COLUMNS = ("segment", "number", "kind", "time", "rows", "crc", "model", "payload")
_TYPES = ("text", "int8", "int2", "int8", "int4", "int8", "text", "bytea")


@dataclass(frozen=True, kw_only=True, slots=True)
class Taken:
    """What went in."""

    frames: int = 0
    rows: int = 0
    known: bool = False
    """Whether these facts were there already, from an earlier time."""


def take_in(
    database: Database, facts: Facts, *, origin: str, salt: str, tell: Tell = lambda done: None
) -> Taken:
    """Bring facts into an empty ledger, which `init_store` has made; nobody sees any before all are there.

    They are read from there in the order in which they came, and folded as they were folded before. Where
    segments leave the order open, a receipt time is raised to the one before it, or by a microsecond.

    Args:
        database: Where the ledger lies.
        facts: What to bring in; asked again where the connection was lost.
        origin: What tells these facts from any others.
        salt: What their units are assigned by and ids are hashed with; the ledger gets it.
        tell: Told of progress, in bytes.

    Raises:
        StateError: The ledger holds other facts, or has a salt that this user may not change.
        StorageFull: There is no room; nothing was kept.
    """
    session = Session(database)

    def work(connection: psycopg.Connection) -> Taken:
        with connection.transaction():
            connection.execute(QUERIES["hold_back"])
            names = names_of(origin, session.partitions)
            there = {segment for segment, _, _ in connection.execute(QUERIES["segments"])}
            if there.intersection(names.values()):
                return Taken(known=True)
            _expect_nothing(connection, database)
            _give_salt(connection, database, salt)
            return _copied(connection, _Placing(names, session.partitions), facts(), tell)

    try:
        return session.run(work)
    finally:
        session.close()


def names_of(origin: str, partitions: int) -> dict[int, str]:
    """The segments of facts that come from somewhere, by partition; they sort before all that came later."""
    state = hashlib.blake2b(origin.encode(), person=b"lossloop.intake", digest_size=8)
    low = int.from_bytes(state.digest(), "big") & ((1 << 62) - 1)

    def name(partition: int) -> str:
        tail = ((partition + 1) << 62 | low).to_bytes(10, "big")
        return str(uuid7(now_ms=0, random=lambda size: tail))

    return {partition: name(partition) for partition in range(EVERY, partitions)}


def _expect_nothing(connection: psycopg.Connection, database: Database) -> None:
    ((anything,),) = connection.execute(QUERIES["holds_anything"]).fetchall()
    if anything:
        raise StateError(
            f"{database.place} holds facts already, and not those that you bring; name an empty database"
        )


def _give_salt(connection: psycopg.Connection, database: Database, salt: str) -> None:
    """Let the ledger have the salt; whoever runs over it already would go on with another one."""
    if connection.execute(QUERIES["salt"]).fetchall() == [(salt,)]:
        return
    if connection.execute(QUERIES["alive"]).fetchall():
        raise StateError(f"lossloop up runs over {database.place}; stop it on all machines, and try again")
    if connection.execute(QUERIES["may_give_salt"]).fetchall() != [(True,)]:
        raise StateError(
            f"{database.place} was made with a salt of its own, which this user may not change; let its "
            "owner bring the facts in"
        )
    connection.execute(QUERIES["give_salt"], {"salt": salt})


def _copied(connection: psycopg.Connection, placing: _Placing, frames: Iterable[Frame], tell: Tell) -> Taken:
    count = rows = 0
    with connection.cursor() as cursor, cursor.copy(QUERIES["take_in"]) as copy:
        copy.set_types(_TYPES)
        for frame in frames:
            row = placing.row(frame)
            copy.write_row([row[name] for name in _COLUMNS])
            count, rows = count + 1, rows + frame.batch.num_rows
            tell(len(row["payload"]))
    if count:
        connection.execute(QUERIES["took_in"], placing.ends())
    return Taken(frames=count, rows=rows)


class _Placing:
    """Where each frame goes, so that readers take them in the order in which they are given here.

    Readers merge segments by receipt time, ties by name.
    """

    def __init__(self, names: dict[int, str], partitions: int) -> None:
        self._names = names
        self._partitions = partitions
        self._numbers: dict[int, int] = {}
        self._last: tuple[Micros, str] = (0, "")

    def row(self, frame: Frame) -> dict[str, Any]:
        """A frame as values of columns."""
        model = model_in(frame)
        partition = EVERY if model is None else partition_of(model, self._partitions)
        segment, (time, before) = self._names[partition], self._last
        if frame.time <= time:
            frame = replace(frame, time=time + (segment < before))
        self._last = (frame.time, segment)
        self._numbers[partition] = self._numbers.get(partition, 0) + 1
        return {"segment": segment, "number": self._numbers[partition], **row_of(frame)}

    def ends(self) -> dict[str, list[Any]]:
        """The segments that have something, as values of a query."""
        return {
            "ended": [self._names[partition] for partition in self._numbers],
            "partition": list(self._numbers),
            "end": list(self._numbers.values()),
        }
