"""Forgetting a unit in batches: rejected rows that name it, and answers that wait to be delivered."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping

import msgspec

from lossloop.app.home import Home
from lossloop.app.importing.forgetting import forget_in
from lossloop.app.predicting.progress import Folder, all_batches


def forget_batches(home: Home, unit: str, ids: Mapping[str, Collection[str]], model: str | None) -> int:
    """Remove a unit from what batches keep; return how many rejected rows went.

    A batch that is not finished begins anew: the answers that it kept may be of that unit.

    Args:
        home: The state directory.
        unit: Whom.
        ids: Of its predictions, by model.
        model: In batches of this model, or of all.

    Raises:
        InUse: A batch is being answered.
    """
    gone = 0
    for batch in list(all_batches(home)):
        if model in (None, batch.model):
            with contextlib.closing(Folder(home, batch.id)) as folder:
                gone += forget_in(folder, batch, unit, ids.get(batch.model, ()))
                if not batch.finished:
                    folder.clear()
                    folder.rejects.unlink(missing_ok=True)
                    folder.write(
                        msgspec.structs.replace(
                            batch,
                            place=0,
                            read=0,
                            rows=0,
                            taken=0,
                            rejected=0,
                            rejects_size=0,
                            parts=0,
                            error="",
                        )
                    )
    return gone
