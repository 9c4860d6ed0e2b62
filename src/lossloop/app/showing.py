"""What dashboards show: losses as outcomes come, by version, role and block. No judge looks at these."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec
import numpy as np

from lossloop.app.judging import Lens
from lossloop.core.calendar import Block
from lossloop.core.documents import Documents
from lossloop.core.records import Record
from lossloop.ledger.join import Change, Taken, numbers
from lossloop.summaries import Digest, Scale

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
    arrived = Counter(taken.arrived)
    changed: dict[Place, list[Change]] = {}
    for change in taken.changes:
        changed.setdefault((change.version, change.role, change.block), []).append(change)
    for place in sorted({*arrived, *changed}):
        key = f"{model}/{place[0]:09d}/{place[1]}/{place[2]:020d}"
        before = documents.get("summary", key, Shown) or _empty(place, lens)
        losses = _corrected(before.losses, lens, changed.get(place, ()))
        after = msgspec.structs.replace(
            before, predictions=before.predictions + arrived[place], losses=losses
        )
        documents.put("summary", key, after)


def _empty(place: Place, lens: Lens) -> Shown:
    low, high = lens.loss.bounds
    floor = float(low) if np.isfinite(low) else 0.0
    scale = Scale(floor=floor, bound=float(high) if np.isfinite(high) else None)
    return Shown(version=place[0], role=place[1], block=place[2], losses=Digest(scale=scale))


def _corrected(digest: Digest, lens: Lens, changes: Sequence[Change]) -> Digest:
    if not changes:
        return digest
    y_pred = numbers([change.y_pred for change in changes])
    added = lens.scores(np.array([change.after for change in changes], dtype=np.float64), y_pred)
    taken = lens.scores(np.array([change.before for change in changes], dtype=np.float64), y_pred)
    digest = digest.add(added[~np.isnan(added)])
    gone = taken[~np.isnan(taken)]
    return digest.minus(Digest(scale=digest.scale).add(gone)) if len(gone) else digest
