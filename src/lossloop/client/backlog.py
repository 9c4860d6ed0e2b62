"""How far sending in the background has come."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Backlog:
    """How far a client's sending in the background has come; the counts begin with the process."""

    rows: int
    """In the spool, still to be sent by this process."""
    bytes: int
    """That its files take."""
    sent: int
    """Rows that the server has taken."""
    refused: int
    """Rows that the server has refused; they are in `refused.jsonl`."""
    lost: int
    """Rows of `ll.record` and the middleware that could not be handed over; the log says why."""
    damaged_bytes: int
    """Bytes of the spool that were no rows any more, after a fault of a disk."""
    problem: str
    """Why the last attempt failed; empty where it did not."""
