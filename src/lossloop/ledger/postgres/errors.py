"""What PostgreSQL says when it refuses, as errors of ours that name the fix."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lossloop.core.errors import (
    Away,
    InputError,
    LossloopError,
    Overloaded,
    StateError,
    StorageFull,
    TooLarge,
)
from lossloop.ledger.postgres.database import Database

if TYPE_CHECKING:
    import psycopg


class Fenced(StateError):
    """Another applier has taken the partition over; nothing of this commit was kept."""


class Trouble(Exception):
    """Work that failed: the error to raise, and whether it may pass. It stays in this folder."""

    def __init__(self, error: LossloopError, *, passes: bool) -> None:
        super().__init__(str(error))
        self.error = error
        self.passes = passes


_BUSY = ("40001", "40P01", "53200", "53300", "53400", "55P03", "57014")
"""Serialization, deadlock, memory, connections, configured limits, locks, cancelled."""
_PASSES = ("40001", "40P01", "53300", "55P03", "57P01", "57P02", "57P03", "57P05")
_REFUSED = (
    "password authentication failed",
    "no pg_hba.conf entry",
    "does not exist",
    "no password supplied",
)
"""What a server says, in English, to a connection that it will not take the next time either."""


def trouble_of(error: psycopg.Error, database: Database) -> Trouble:
    """What an error of psycopg's means, without the secrets that it may hold."""
    import psycopg

    state = error.sqlstate
    said = error.diag.message_primary or next(iter(str(error).splitlines()), "") or type(error).__name__
    detail = database.without_secrets(said)
    if state is None and isinstance(error, (psycopg.OperationalError, psycopg.InterfaceError)):
        return _lost(database, detail)
    if state is None:
        return Trouble(InputError(f"this cannot be kept in PostgreSQL: {detail}"), passes=False)
    if state.startswith("08") or state in ("57P01", "57P02", "57P03", "57P05"):
        return Trouble(_away(database, detail), passes=True)
    if state in _BUSY:
        busy = Overloaded(f"{database} cannot take more just now ({detail}); send it again after a pause")
        return Trouble(busy, passes=state in _PASSES)
    return Trouble(_refusal(state, database, detail), passes=False)


def _lost(database: Database, detail: str) -> Trouble:
    """No connection, or one that broke: the server is away, or does not want us."""
    if any(words in detail for words in _REFUSED):
        return Trouble(StateError(f"{database} takes no connection: {detail}"), passes=False)
    if "too many c" in detail or "connection slots" in detail:
        busy = Overloaded(f"{database} has no connection left ({detail}); raise its limit, or stop something")
        return Trouble(busy, passes=True)
    return Trouble(_away(database, detail), passes=True)


def _away(database: Database, detail: str) -> Away:
    return Away(f"{database} does not answer ({detail}); see whether it runs")


def _refusal(state: str, database: Database, detail: str) -> LossloopError:
    place = database.place
    match state:
        case "53100":
            return StorageFull(f"no room on the disk of {database}; free some space")
        case "54000" | "22001":
            return TooLarge(f"too large for {database} ({detail}); send it in parts, or with shorter names")
        case "3F000" | "42P01":
            return StateError(
                f"there is no ledger in {place}, or none for this user; make one with init_store, or let "
                "grant give this user a part"
            )
        case "42501":
            return StateError(f"{place} does not let this user do that ({detail}); grant it with grant")
        case "25006":
            return StateError(f"{database} takes no writes: it is a standby; use the address of the primary")
        case _:
            return StateError(f"{database} refuses: {detail} ({state})")
