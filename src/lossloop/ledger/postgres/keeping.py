"""Retention of a ledger in PostgreSQL: frames of a model that are too old or too much expire as a whole.

Only frames that their partition has folded do.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from lossloop.core.clock import Clock, Micros
from lossloop.ledger.expired import Needs, expired_all
from lossloop.ledger.frames import Frame, Kind
from lossloop.ledger.joined.keys import Keys
from lossloop.ledger.postgres.database import Database
from lossloop.ledger.postgres.log import READ_AT_ONCE
from lossloop.ledger.postgres.removing import Change, Remover
from lossloop.ledger.postgres.scanning import Key, fetched
from lossloop.ledger.postgres.session import Session
from lossloop.ledger.postgres.turns import maintained
from lossloop.ledger.removals import EXPIRED, Pruned, check_limits
from lossloop.ledger.retaining import Holding, oldest_first, plan

A_FRAME = 16 * 1024
"""Bytes that a frame counts beside its payload where a stretch is measured: about 1,000 are the most."""


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """Frames of a model that follow each other in a segment, as many as are removed in one step."""

    segment: str
    low: int
    high: int
    """Numbers of the first and the last one."""


class Head(NamedTuple):
    """A frame that goes, without its payload."""

    segment: str
    number: int
    kind: int
    time: Micros
    rows: int
    size: int

    @property
    def key(self) -> Key:
        """Which frame it is."""
        return Key(self.segment, self.number, self.size)


def prune(
    database: Database,
    model: str,
    *,
    keys: Keys,
    features: Collection[str] = (),
    cutoff: Micros | None = None,
    larger_than: int | None = None,
    dry_run: bool = False,
    clock: Clock | None = None,
) -> Pruned:
    """Let frames of a model expire that are too old or too much; a fact for each step says what went.

    Frames keep their numbers, the ledger may be in use, and it is folded as it was.

    Args:
        database: Where the ledger lies.
        model: Whose frames.
        keys: Those of the ledger: what is sent of these rows later is known by them.
        features: By which the model's rows are told apart: these are kept.
        cutoff: Frames received before this go.
        larger_than: Where frames that have not expired have more bytes than this, the oldest go.
        dry_run: Only say what would go.
        clock: Tells when.

    Raises:
        InputError: Neither an age nor a size.
        InUse: Another process prunes or erases.
        StateError: The database's user may not remove facts; `grant` it the part ``keeper``.
    """
    check_limits(cutoff, larger_than)
    session = Session(database)
    try:
        if dry_run:
            cuts = _cuts(session, model, cutoff, larger_than)
            heads = [head for stretch, before in cuts for head in _going(session, model, stretch, before)]
            return _would_go(model, heads)
        with maintained(database):
            remover, needs = Remover(session, clock), Needs(keys=keys, features=frozenset(features))
            for stretch, before in _cuts(session, model, cutoff, larger_than):
                _remove(session, remover, _going(session, model, stretch, before), needs)
        return _went(model, remover)
    finally:
        session.close()


def may_remove(database: Database) -> bool:
    """Whether the database's user may remove facts."""
    session = Session(database)
    try:
        return bool(session.rows("may_remove")[0][0])
    finally:
        session.close()


def _cuts(
    session: Session, model: str, cutoff: Micros | None, larger_than: int | None
) -> list[tuple[Stretch, Micros | None]]:
    """Of which stretches frames go, oldest first, and before when they came; None for all of one."""
    found: dict[str, Stretch] = {}
    held = []
    rows = session.rows("stretches", model=model, most=READ_AT_ONCE, a_frame=A_FRAME)
    for segment, low, high, count, size, first, last in rows:
        name = f"{segment}/{low:020d}"
        found[name] = Stretch(segment=segment, low=low, high=high)
        held.append(Holding(segment=name, rows=count, bytes=size, first=first, last=last))
    cuts = plan(oldest_first(held), cutoff=cutoff, larger_than=larger_than)
    return [(found[cut.segment], cut.before) for cut in cuts]


def _going(session: Session, model: str, stretch: Stretch, before: Micros | None) -> list[Head]:
    values = {"segment": stretch.segment, "low": stretch.low, "high": stretch.high, "before": before}
    return [Head(*row) for row in session.rows("going", model=model, **values)]


def _remove(session: Session, remover: Remover, heads: Sequence[Head], needs: Needs) -> None:
    there = [
        (stored, frame)
        for stored in fetched(session, [head.key for head in heads])
        if isinstance(frame := stored.frame(), Frame)  # damage stays, so that it is told
    ]
    left = expired_all([frame for _, frame in there], needs)
    changes = [
        Change(stored=stored, frame=frame, stays=np.zeros(stored.rows, np.bool_), left=kept)
        for (stored, frame), kept in zip(there, left, strict=True)
    ]
    if changes:
        remover.remove(changes, why=EXPIRED)


def _would_go(model: str, heads: Sequence[Head]) -> Pruned:
    some = [head for head in heads if head.rows]
    times = [head.time for head in some]
    return Pruned(
        model=model,
        predictions=sum(head.rows for head in some if head.kind == Kind.PREDICTION),
        outcomes=sum(head.rows for head in some if head.kind == Kind.OUTCOME),
        segments=len({head.segment for head in some}),
        bytes=sum(head.size for head in heads),
        first=min(times, default=None),
        last=max(times, default=None),
    )


def _went(model: str, remover: Remover) -> Pruned:
    some = [gone for gone in remover.gone if gone.predictions or gone.outcomes]
    return Pruned(
        model=model,
        predictions=sum(gone.predictions for gone in some),
        outcomes=sum(gone.outcomes for gone in some),
        segments=len({gone.segment for gone in some}),
        bytes=max(remover.freed, 0),
        first=min((gone.first for gone in some), default=None),
        last=max((gone.last for gone in some), default=None),
    )
