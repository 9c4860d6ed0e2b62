"""Erasing a unit from a ledger in PostgreSQL: its predictions, the outcomes of those; counts are kept.

Frames are rewritten without the unit's rows, and keep their place also where no row is left. Servers may go
on appending meanwhile: what was not folded when it began is not looked at.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from lossloop.core.clock import Clock
from lossloop.ledger.belonging import Belonging, Named, identified
from lossloop.ledger.expired import EXPIRED_KINDS
from lossloop.ledger.facts import PREDICTIONS, model_in
from lossloop.ledger.findings import Tell
from lossloop.ledger.frames import Damage, Frame
from lossloop.ledger.joined.keys import Keys
from lossloop.ledger.postgres.removing import Change, Remover
from lossloop.ledger.postgres.scanning import Key, Stored, batches, fetched, pages
from lossloop.ledger.postgres.session import Session
from lossloop.ledger.postgres.turns import maintained
from lossloop.ledger.postgres.whole import Whole
from lossloop.ledger.removals import ERASED, Erased, Held, Mask, Summarise

_Going = Callable[[Frame], Mask]
"""Which rows of a frame are the unit's."""


@dataclass(kw_only=True)
class Found:
    """What a ledger holds of a unit, and in which frames."""

    whose: Belonging
    held: Erased = field(default_factory=dict)
    named: list[Key] = field(default_factory=list)
    """Frames with rows that have an id of the unit, and not the unit."""
    mine: list[Key] = field(default_factory=list)
    """Frames with predictions of the unit: these tell the ids, so they go last."""
    damaged: list[Key] = field(default_factory=list)
    """Frames of which nobody can tell whose rows they have."""


def survey(
    session: Session,
    unit: str,
    models: Collection[str] | None = None,
    *,
    keys: Keys,
    tell: Tell = lambda done: None,
) -> Found:
    """What was folded of a unit.

    Args:
        session: Where the ledger lies.
        unit: Whose rows.
        models: Of these models, or of all.
        keys: Those of the ledger: rows that have expired are known by them.
        tell: Told of progress, in bytes.
    """
    found = Found(whose=Belonging(unit, keys))
    ends = {segment: end for segment, _, end in session.rows("segments")}
    for page in pages(session, ends, folded=True):
        for stored in page:
            _take_ids(stored, models, found)
        tell(sum(len(stored.payload) for stored in page))
    named = {model: found.whose.named(held) for model, held in found.held.items()}
    for page in pages(session, ends, models=found.held, folded=True) if found.held else ():
        _take(page, named, found)
    return found


def erase(
    whole: Whole, found: Found, *, clock: Clock | None = None, summarise: Summarise | None = None
) -> Erased:
    """Remove what was found of a unit; a fact for each step says how many rows went.

    An id that stands at one prediction of the unit is the unit's: all predictions with that id go, for they
    counted as one, and all its outcomes. Bytes that were damaged go too: nobody can tell whose they are.
    Doing it again, after another survey, goes on where it was cut off.

    Raises:
        InUse: Another process prunes or erases, or has taken the ledger over.
        StateError: The database's user may not do that.
    """
    with maintained(whole.database):
        remover = Remover(whole.session, clock, summarise, tokens=whole.tokens())
        for keys in batches(found.damaged):
            remover.forget_damage(fetched(whole.session, keys))
        named = {model: found.whose.named(held) for model, held in found.held.items()}
        for keys in batches(found.named):
            changes = _changes(whole.session, keys, lambda frame: _named(frame, found.whose, named))
            remover.remove(changes, why=ERASED)
        for keys in batches(found.mine):
            changes = _changes(whole.session, keys, lambda frame: _mine(frame, found.whose))
            remover.remove(changes, why=ERASED)
    return found.held


def _changes(session: Session, keys: Sequence[Key], going: _Going) -> list[Change]:
    changes = []
    for stored in fetched(session, keys):
        frame = stored.frame()
        if isinstance(frame, Frame) and (mask := going(frame)).any():
            changes.append(Change(stored=stored, frame=frame, stays=~mask))
    return changes


def _mine(frame: Frame, whose: Belonging) -> Mask:
    """Which rows are predictions of the unit."""
    if frame.kind not in PREDICTIONS:
        return np.zeros(frame.batch.num_rows, np.bool_)
    return whose.mine(frame.batch)


def _named(frame: Frame, whose: Belonging, named: Mapping[str, Named]) -> Mask:
    """Which rows have an id of the unit, and not the unit."""
    return named[model_in(frame)].those(frame.batch) & ~_mine(frame, whose)


def _take_ids(stored: Stored, models: Collection[str] | None, found: Found) -> None:
    """Note the ids of a unit's predictions, and what is damaged."""
    frame = stored.frame()
    if isinstance(frame, Damage):
        if stored.payload:
            found.damaged.append(stored.key)
    elif models is None or model_in(frame) in models:
        going = _mine(frame, found.whose)
        if going.any():
            found.whose.note(frame.batch, going, found.held.setdefault(model_in(frame), Held()))


def _take(page: Sequence[Stored], named: Mapping[str, Named], found: Found) -> None:
    """Note which frames have rows that go; those of a model that are alike are looked at together."""
    frames: dict[tuple[str, bool], list[tuple[Stored, Frame]]] = {}
    for stored in page:
        frame = stored.frame()
        if isinstance(frame, Frame) and model_in(frame) in named:
            expired = frame.kind in EXPIRED_KINDS.values()
            frames.setdefault((model_in(frame), expired), []).append((stored, frame))
    for (model, _), some in frames.items():
        rows = pa.concat_batches([identified(frame.batch) for _, frame in some])
        ends = np.cumsum([frame.batch.num_rows for _, frame in some])
        those = np.split(named[model].those(rows), ends[:-1])
        for (stored, frame), mask in zip(some, those, strict=True):
            _count(stored, frame, mask, named[model], found)


def _count(stored: Stored, frame: Frame, named: Mask, whose: Named, found: Found) -> None:
    mine, held = _mine(frame, found.whose), found.held[model_in(frame)]
    if len(whose.nameless) and frame.kind not in EXPIRED_KINDS.values():
        # An id that nobody knew is known now.
        found.whose.note(frame.batch, named, held)
    going = int(np.count_nonzero(named | mine))
    if frame.kind in PREDICTIONS:
        held.predictions += going
    else:
        held.outcomes += going
    if (named & ~mine).any():
        found.named.append(stored.key)
    if mine.any():
        found.mine.append(stored.key)
