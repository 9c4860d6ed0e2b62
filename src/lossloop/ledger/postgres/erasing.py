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
from lossloop.ledger.facts import model_in
from lossloop.ledger.findings import Tell
from lossloop.ledger.frames import Damage, Frame, Kind
from lossloop.ledger.postgres.removing import Change, Remover, column_of
from lossloop.ledger.postgres.scanning import Key, Stored, batches, fetched, pages
from lossloop.ledger.postgres.session import Session
from lossloop.ledger.postgres.turns import maintained
from lossloop.ledger.postgres.whole import Whole
from lossloop.ledger.removals import ERASED, Erased, Held, Mask, Summarise, is_one_of

_Going = Callable[[Frame], Mask]
"""Which rows of a frame are the unit's."""


@dataclass(kw_only=True)
class Found:
    """What a ledger holds of a unit, and in which frames."""

    unit: str
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
    tell: Tell = lambda done: None,
) -> Found:
    """What was folded of a unit.

    Args:
        session: Where the ledger lies.
        unit: Whose rows.
        models: Of these models, or of all.
        tell: Told of progress, in bytes.
    """
    found = Found(unit=unit)
    ends = {segment: end for segment, _, end in session.rows("segments")}
    for page in pages(session, ends, folded=True):
        for stored in page:
            _take_ids(stored, models, found)
        tell(sum(len(stored.payload) for stored in page))
    for page in pages(session, ends, models=found.held, folded=True) if found.held else ():
        _take(page, found)
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
        ids = {model: pa.array(sorted(held.ids), pa.string()) for model, held in found.held.items()}
        for keys in batches(found.named):
            changes = _changes(whole.session, keys, lambda frame: _named(frame, found.unit, ids))
            remover.remove(changes, why=ERASED)
        for keys in batches(found.mine):
            changes = _changes(whole.session, keys, lambda frame: _mine(frame, found.unit))
            remover.remove(changes, why=ERASED)
    return found.held


def _changes(session: Session, keys: Sequence[Key], going: _Going) -> list[Change]:
    changes = []
    for stored in fetched(session, keys):
        frame = stored.frame()
        if isinstance(frame, Frame) and (mask := going(frame)).any():
            changes.append(Change(stored=stored, frame=frame, stays=~mask))
    return changes


def _mine(frame: Frame, unit: str) -> Mask:
    """Which rows are predictions of the unit."""
    if frame.kind is not Kind.PREDICTION:
        return np.zeros(frame.batch.num_rows, np.bool_)
    return is_one_of(column_of(frame.batch, "unit"), pa.array([unit]))


def _named(frame: Frame, unit: str, ids: Mapping[str, pa.Array]) -> Mask:
    """Which rows have an id of the unit, and not the unit."""
    return is_one_of(column_of(frame.batch, "id"), ids[model_in(frame)]) & ~_mine(frame, unit)


def _take_ids(stored: Stored, models: Collection[str] | None, found: Found) -> None:
    """Note the ids of a unit's predictions, and what is damaged."""
    frame = stored.frame()
    if isinstance(frame, Damage):
        if stored.payload:
            found.damaged.append(stored.key)
    elif models is None or model_in(frame) in models:
        going = _mine(frame, found.unit)
        if going.any():
            ids = column_of(frame.batch, "id").filter(pa.array(going)).cast(pa.string())
            found.held.setdefault(model_in(frame), Held()).ids.update(ids.drop_null().to_pylist())


def _take(page: Sequence[Stored], found: Found) -> None:
    """Note which frames have rows that go; those of a model are looked at together."""
    frames: dict[str, list[tuple[Stored, Frame]]] = {}
    for stored in page:
        frame = stored.frame()
        if isinstance(frame, Frame) and model_in(frame) in found.held:
            frames.setdefault(model_in(frame), []).append((stored, frame))
    for model, some in frames.items():
        ids = [column_of(frame.batch, "id").cast(pa.string()) for _, frame in some]
        known = is_one_of(pa.concat_arrays(ids), pa.array(sorted(found.held[model].ids), pa.string()))
        ends = np.cumsum([len(each) for each in ids])
        for (stored, frame), named in zip(some, np.split(known, ends[:-1]), strict=True):
            _count(stored, frame, named, found)


def _count(stored: Stored, frame: Frame, named: Mask, found: Found) -> None:
    mine, held = _mine(frame, found.unit), found.held[model_in(frame)]
    going = int(np.count_nonzero(named | mine))
    if frame.kind is Kind.PREDICTION:
        held.predictions += going
    else:
        held.outcomes += going
    if (named & ~mine).any():
        found.named.append(stored.key)
    if mine.any():
        found.mine.append(stored.key)
