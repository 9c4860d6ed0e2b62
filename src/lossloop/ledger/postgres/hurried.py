"""A connection for who has others to answer: no call waits until a database that is away is back."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from lossloop.core.errors import LossloopError
from lossloop.ledger.postgres.database import Database
from lossloop.ledger.postgres.errors import Trouble
from lossloop.ledger.postgres.session import Session

if TYPE_CHECKING:
    import psycopg

T = TypeVar("T")
REST = 5
"""After an attempt to connect that failed, so many times as long as it took nobody tries again."""


class Hurried(Session):
    """A session that tells at once that the server is away, and looks for it anew with a later call.

    A server that refuses connections costs a call next to nothing. One that vanished without a word costs two
    or three seconds, which are spent seldom.
    """

    settings = {**Session.settings, "connect_timeout": "2", "tcp_user_timeout": "3000"}

    def __init__(self, database: Database) -> None:
        super().__init__(database)
        self._missed: tuple[float, LossloopError] | None = None

    def run(self, work: Callable[[psycopg.Connection], T]) -> T:
        with self._lock:
            if not self._connected():
                return self._anew(work)
            try:
                return self._attempt(work)
            except Trouble as trouble:
                if self._connected() or not trouble.passes:
                    raise trouble.error from None
            # It may have been lost long ago, as idle ones are: another connection tells more.
            return self._anew(work)

    def _connected(self) -> bool:
        return self._connection is not None

    def _anew(self, work: Callable[[psycopg.Connection], T]) -> T:
        begun = time.monotonic()
        if self._missed is not None and begun < self._missed[0]:
            raise self._missed[1].with_traceback(None)
        try:
            return self._attempt(work)
        except Trouble as trouble:
            if not self._connected():
                now = time.monotonic()
                self._missed = now + REST * (now - begun), trouble.error
            raise trouble.error from None
