"""From a slab of history to its tally: the work that is done once per piece, wherever it is done. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from lossloop.app.judging import MOST
from lossloop.app.recompute.history import Slab, Span
from lossloop.app.recompute.tally import KEYS, Groups, Tally, merged
from lossloop.core.errors import InputError
from lossloop.ledger.columns import Array, Floats
from lossloop.losses import Loss

BATCH_ROWS = 1 << 17
"""Rows scored at once: what the checks and the kernel pass over stays in the processor's cache."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scoring:
    """What is asked of each row.

    losses: The loss, and the loss in force where that is another one.
    digests: Their digests where the work was given out.
    """

    losses: tuple[Loss, ...]
    digests: tuple[str, ...]
    span: Span

    def check(self) -> None:
        """Raise InputError where this process has other code under the same names."""
        for loss, digest in zip(self.losses, self.digests, strict=True):
            if loss.digest != digest:
                raise InputError(
                    f"this worker has {loss.version}, but {loss.name}@{digest[:6]} is asked for; "
                    "give it the same code",
                    field="loss",
                )


def score(slab: Slab, *, scoring: Scoring) -> Tally:
    """The tally of a slab's rows that lie in the span.

    Raises:
        InputError: The loss in this process is not the one that is asked for.
    """
    scoring.check()
    columns = {name: slab.column(name) for name in (*KEYS, "time", "y_pred", "y_true")}
    batches = (
        {name: values[start : start + BATCH_ROWS] for name, values in columns.items()}
        for start in range(0, len(slab), BATCH_ROWS)
    )
    return merged([_tally(rows, scoring) for rows in _inside(batches, scoring.span)])


def _inside(batches: Iterator[dict[str, Array]], span: Span) -> Iterator[dict[str, Array]]:
    for rows in batches:
        inside = span.holds(rows["time"])
        yield rows if inside is None else {name: values[inside] for name, values in rows.items()}


def _tally(rows: dict[str, Array], scoring: Scoring) -> Tally:
    y_true, y_pred = rows["y_true"], rows["y_pred"]
    groups = Groups([rows[name] for name in KEYS])
    known = ~np.isnan(y_true if y_true.ndim == 1 else y_true[:, 0])
    ...
    return Tally()
