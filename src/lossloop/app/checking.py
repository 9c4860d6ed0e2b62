"""Verifying a ledger, wherever it lies."""

from __future__ import annotations

from lossloop.app.home import Home
from lossloop.ledger.base import Offsets
from lossloop.ledger.files import verify as in_files
from lossloop.ledger.findings import Report, Tell
from lossloop.ledger.postgres import checking as in_postgres


def verify(home: Home, *, tell: Tell = lambda done: None) -> Report:
    """Check every checksum of a log, which may be in use; derived state is not folded for it.

    Args:
        home: Whose log.
        tell: Told of progress, in bytes.

    Raises:
        NewerFormat: A newer release wrote something.
    """
    if home.database is not None:
        return in_postgres.verify(home.database, tell=tell)
    return in_files.verify(home.segments.directory, offsets_of(home), tell=tell)


def size(home: Home) -> int:
    """Bytes that verifying reads, about."""
    if home.database is not None:
        return in_postgres.size(home.database)
    return in_files.size(home.segments.directory)


def offsets_of(home: Home) -> Offsets | None:
    """How far the log was folded; None where nobody knows."""
    if not home.is_folded():
        return None
    state = home.state()
    try:
        return dict(state.offsets())
    finally:
        state.close()
