"""What dashboards show: losses as outcomes come, by version, role and block. No judge looks at these.

Of the loss that judges and of each that runs beside it, in the same way.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import msgspec
import numpy as np

from lossloop.app.judging import Lens
from lossloop.core.calendar import Block, Int64
from lossloop.core.documents import Documents
from lossloop.core.ids import digest
from lossloop.core.records import Record
from lossloop.ledger.joined.columns import Floats
from lossloop.ledger.joined.join import Taken
from lossloop.ledger.joined.table import MOST_OPEN, ROLES, Table, keep_within
from lossloop.summaries import Digest, Scale

_SHOWN = ("version", "role", "block", "y_true", "y_pred")
_AT_ONCE = 1 << 17
Place = tuple[int, str, Block]
"""Version, role, block."""


class Shelf(NamedTuple):
    """Where what is shown of a model under one loss lies: a kind of documents, and how their keys begin."""

    kind: str
    prefix: str


class Shown(Record, frozen=True):
    """One version's predictions in one role and block, and the losses of those that have an outcome."""

    version: int
    role: str
    block: Block
    predictions: int = 0
    losses: Digest = Digest()


def judging(model: str) -> Shelf:
    """Where the figures of the loss that judges lie."""
    return Shelf("summary", f"{model}/")


def beside(model: str, loss: str) -> Shelf:
    """Where the figures of a loss beside lie, by its text in the policy."""
    return Shelf("beside", f"{model}/{digest(loss)[:16]}/")


def shelves(model: str, lens: Lens) -> Iterator[tuple[Shelf, Lens]]:
    """Where the figures of each of a policy's losses lie; the one that judges comes first."""
    yield judging(model), lens
    for other in lens.beside:
        yield beside(model, other.policy.loss), other


def shown(documents: Documents, model: str, shelf: Shelf | None = None) -> list[Shown]:
    """All that is shown of a model under the loss that judges, or another, by version, role and block."""
    kind, prefix = shelf or judging(model)
    return list(documents.all(kind, Shown, prefix=prefix).values())


def show(documents: Documents, model: str, lens: Lens, taken: Taken) -> None:
    """Add new predictions and outcomes; a correction takes the old loss away and adds the new one."""
    for shelf, seen in shelves(model, lens):
        _show(documents, shelf, seen, taken)


def _show(documents: Documents, shelf: Shelf, lens: Lens, taken: Taken) -> None:
    arrived = Counter[Place]()
    changed: dict[Place, list[tuple[Floats, Floats]]] = {}
    for new in taken.arrived:
        nothing = np.full(len(new), np.nan)
        known = nothing if lens.loss.needs_outcome else lens.scores(nothing, new.y_pred, new.version)
        for place, rows in by_place(new.version, new.role, new.block):
            arrived[place] += len(rows)
            changed.setdefault(place, []).append((known[rows], nothing[rows]))
    for changes in taken.changes if lens.loss.needs_outcome else ():
        added = lens.scores(changes.after, changes.y_pred, changes.version)
        # Most outcomes are the first of their prediction: nothing is taken back then.
        corrects = not np.isnan(changes.before).all()
        nothing = np.full(len(changes), np.nan)
        gone = lens.scores(changes.before, changes.y_pred, changes.version) if corrects else nothing
        for place, rows in by_place(changes.version, changes.role, changes.block):
            changed.setdefault(place, []).append((added[rows], gone[rows]))
    for place in sorted({*arrived, *changed}):
        key = _key(shelf, place)
        before = documents.get(shelf.kind, key, Shown) or _empty(place, lens)
        losses = before.losses
        for added, gone in changed.get(place, ()):
            losses = _corrected(losses, added, gone)
        after = msgspec.structs.replace(
            before, predictions=before.predictions + arrived[place], losses=losses
        )
        documents.put(shelf.kind, key, after)


def begin(documents: Documents, model: str, lens: Lens, tables: Sequence[Table]) -> None:
    """Make what is shown under a loss beside, of all that has come by now.

    How many predictions there were is known from the loss that judges: of rows that are gone nothing else is.

    Args:
        documents: Of the state.
        model: Whose.
        lens: The policy under that loss.
        tables: Of the model, flushed; full parts of them are closed again.
    """
    shelf = beside(model, lens.policy.loss)
    places = [(each.version, each.role, each.block) for each in shown(documents, model)]
    found = {place: _empty(place, lens).losses for place in places}
    for table in tables:
        for start in range(0, len(table), _AT_ONCE):
            for part in digests(lens, table, np.arange(start, min(start + _AT_ONCE, len(table)))):
                place = (part.version, part.role, part.block)
                found[place] = found[place].merge(part.losses) if place in found else part.losses
            keep_within([table], MOST_OPEN)
    sent = {(each.version, each.role, each.block): each.predictions for each in shown(documents, model)}
    for place in sorted(found):
        kept = msgspec.structs.replace(
            _empty(place, lens), predictions=sent.get(place, 0), losses=found[place]
        )
        documents.put(shelf.kind, _key(shelf, place), kept)


def clear(documents: Documents, shelf: Shelf) -> None:
    """Forget all that is shown under a loss."""
    for key in documents.all(shelf.kind, Shown, prefix=shelf.prefix):
        documents.drop(shelf.kind, key)


def move(documents: Documents, old: Shelf, new: Shelf) -> None:
    """Put all of a shelf on another one, in place of what is there."""
    found = documents.all(old.kind, Shown, prefix=old.prefix)
    clear(documents, old)
    clear(documents, new)
    for key, each in found.items():
        documents.put(new.kind, new.prefix + key.removeprefix(old.prefix), each)


def digests(lens: Lens, table: Table, rows: Int64) -> Iterator[Shown]:
    """What rows of a table add to what is shown, by place."""
    version, role, block, y_true, y_pred = table.columns(_SHOWN, rows)
    losses = lens.scores(y_true, y_pred, version)
    for place, mine in by_place(version, role, block):
        empty = _empty(place, lens)
        found = losses[mine]
        yield msgspec.structs.replace(
            empty, predictions=len(mine), losses=empty.losses.add(found[~np.isnan(found)])
        )


def merge_shown(documents: Documents, shelf: Shelf, lens: Lens, more: Shown) -> None:
    """Add to what is shown at a place; losses on another scale than the policy's are left out."""
    key, place = _key(shelf, (more.version, more.role, more.block)), (more.version, more.role, more.block)
    before = documents.get(shelf.kind, key, Shown) or _empty(place, lens)
    alike = before.losses.scale == more.losses.scale
    after = msgspec.structs.replace(
        before,
        predictions=before.predictions + more.predictions,
        losses=before.losses.merge(more.losses) if alike else before.losses,
    )
    documents.put(shelf.kind, key, after)


def _key(shelf: Shelf, place: Place) -> str:
    return f"{shelf.prefix}{place[0]:09d}/{place[1]}/{place[2]:020d}"


def by_place(version: Int64, role: Int64, block: Int64) -> Iterator[tuple[Place, Int64]]:
    """Which rows belong to each place; most batches have but one."""
    for number, mine in _by_value(version, np.arange(len(version))):
        for code, ours in _by_value(role, mine):
            for day, here in _by_value(block, ours):
                yield (number, ROLES[code], day), here


def _by_value(values: Int64, rows: Int64) -> Iterator[tuple[int, Int64]]:
    """Some rows by their values, in the order of these."""
    asked = values[rows]
    if len(asked) and (asked == asked[0]).all():
        yield int(asked[0]), rows
        return
    for value in np.unique(asked).tolist():
        yield value, rows[asked == value]


def _empty(place: Place, lens: Lens) -> Shown:
    low, high = lens.loss.bounds
    floor = float(low) if np.isfinite(low) else 0.0
    scale = Scale(floor=floor, bound=float(high) if np.isfinite(high) else None)
    return Shown(version=place[0], role=place[1], block=place[2], losses=Digest(scale=scale))


def _corrected(digest: Digest, added: Floats, gone: Floats) -> Digest:
    digest = digest.add(added[~np.isnan(added)])
    gone = gone[~np.isnan(gone)]
    return digest.minus(Digest(scale=digest.scale).add(gone)) if len(gone) else digest
