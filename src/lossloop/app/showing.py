"""What dashboards show: losses as outcomes come, by version, role and block. No judge looks at these."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import msgspec
import numpy as np

from lossloop.app.judging import Lens
from lossloop.core.calendar import Block, Int64
from lossloop.core.documents import Documents
from lossloop.core.records import Record
from lossloop.ledger.joined.columns import Floats
from lossloop.ledger.joined.join import Taken
from lossloop.ledger.joined.table import ROLES, Table
from lossloop.summaries import Digest, Scale

_SHOWN = ("version", "role", "block", "y_true", "y_pred")
Place = tuple[int, str, Block]
"""Version, role, block."""


class Shown(Record, frozen=True):
    """One version's predictions in one role and block, and the losses of those that have an outcome."""

    version: int
    role: str
    block: Block
    predictions: int = 0
    losses: Digest = Digest()


def shown(documents: Documents, model: str) -> list[Shown]:
    """All that is shown of a model, by version, role and block."""
    return list(documents.all("summary", Shown, prefix=f"{model}/").values())


def show(documents: Documents, model: str, lens: Lens, taken: Taken) -> None:
    """Add new predictions and outcomes; a correction takes the old loss away and adds the new one."""
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
        key = _key(model, place)
        before = documents.get("summary", key, Shown) or _empty(place, lens)
        losses = before.losses
        for added, gone in changed.get(place, ()):
            losses = _corrected(losses, added, gone)
        after = msgspec.structs.replace(
            before, predictions=before.predictions + arrived[place], losses=losses
        )
        documents.put("summary", key, after)


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


def merge_shown(documents: Documents, model: str, lens: Lens, more: Shown) -> None:
    """Add to what is shown at a place; losses on another scale than the policy's are left out."""
    place = (more.version, more.role, more.block)
    before = documents.get("summary", _key(model, place), Shown) or _empty(place, lens)
    alike = before.losses.scale == more.losses.scale
    after = msgspec.structs.replace(
        before,
        predictions=before.predictions + more.predictions,
        losses=before.losses.merge(more.losses) if alike else before.losses,
    )
    documents.put("summary", _key(model, place), after)


def _key(model: str, place: Place) -> str:
    return f"{model}/{place[0]:09d}/{place[1]}/{place[2]:020d}"


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
