"""Turns: of several processes over one database, one at a time does what must not be done twice."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

from lossloop.core.errors import InUse
from lossloop.ledger.postgres.database import Database
from lossloop.ledger.postgres.session import Session

UPKEEP = "upkeep"
"""The turn of whoever exports or removes facts."""


class Turn:
    """The right to do something, held by one session of the database until that ends, however it ends.

    Args:
        database: Whose processes take turns.
        name: What is done.
    """

    def __init__(self, database: Database, name: str) -> None:
        self._session = Session(database)
        text = f"{database.schema}:{name}".encode()
        self._number = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big", signed=True)

    def mine(self) -> bool:
        """Whether this process has the turn; it is taken if it is free.

        Asked anew each time: a session that broke has lost it, and another process may have taken it.
        """
        return bool(self._session.rows("take_turn", number=self._number)[0][0])

    def close(self) -> None:
        """Give the turn back; closing twice is harmless."""
        self._session.close()


@contextmanager
def maintained(database: Database) -> Iterator[None]:
    """The right to remove facts, or to see to it that none is removed; freed when the process dies.

    Raises:
        InUse: Another process prunes, erases or exports just now.
    """
    turn = Turn(database, UPKEEP)
    try:
        if not turn.mine():
            raise InUse(f"another process prunes, erases or exports {database.place}; try again later")
        yield
    finally:
        turn.close()
