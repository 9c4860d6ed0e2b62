"""The outbox: outside effects that a decision asked for, until a fact says that they were done.

The loop writes an effect in the transaction of its decision. The worker carries it out, perhaps twice if it
is killed in between, each time with the same key; then it appends a command with the result to the log.
"""

from __future__ import annotations

from typing import Any

import msgspec

from lossloop.core.clock import MINUTE, SECOND, Micros
from lossloop.core.documents import Documents
from lossloop.core.records import Record

MOST_ATTEMPTS = 8
PENDING, SETTLED = "outbox", "outbox_settled"
"""Kinds of documents: what is settled is out of the way of what is looked at fifty times a second."""


class Effect(Record, frozen=True):
    """One outside effect. Its key names it for ever: a receiver may use it to drop a repeat."""

    key: str
    verb: str
    model: str
    target: str
    at: Micros
    body: dict[str, Any] = {}
    attempts: int = 0
    status: str = "pending"
    """``pending``, ``done`` or ``failed``."""
    detail: str = ""


def enqueue(documents: Documents, effect: Effect) -> None:
    """Ask for an effect; the same key again changes nothing."""
    if all(documents.get(kind, effect.key, Effect) is None for kind in (PENDING, SETTLED)):
        documents.put(PENDING, effect.key, effect)


def pending(documents: Documents) -> list[Effect]:
    """Effects that are still to be carried out, oldest decision first."""
    return list(documents.all(PENDING, Effect).values())


def settle(documents: Documents, key: str, *, ok: bool, detail: str) -> Effect | None:
    """Record how an attempt ended; after MOST_ATTEMPTS failures the effect is given up."""
    effect = documents.get(PENDING, key, Effect)
    if effect is None:
        return None
    attempts = effect.attempts + 1
    status = "done" if ok else "failed" if attempts >= MOST_ATTEMPTS else "pending"
    made = msgspec.structs.replace(effect, attempts=attempts, status=status, detail=detail)
    if status != "pending":
        documents.drop(PENDING, key)
    documents.put(PENDING if status == "pending" else SETTLED, key, made)
    return made


def pause_before(attempts: int) -> Micros:
    """How long to wait before the next attempt: 1 s, doubling, at most 5 minutes."""
    return min(SECOND << max(attempts - 1, 0), 5 * MINUTE) if attempts else 0
