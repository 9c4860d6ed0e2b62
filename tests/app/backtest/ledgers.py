"""Ledgers made quickly: days of rows of one champion, written as the applier would have left them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from lossloop.app.books import Crowned
from lossloop.app.home import Home
from lossloop.app.reigns import crown
from lossloop.core.clock import DAY, HOUR
from lossloop.registry import Reference, versions
from tests.app.desk import MODEL, START, external
from tests.app.past import Past, labels, rows

Array = np.ndarray[Any, Any]


def reference_of(means: Array) -> Reference:
    """A reference over days, of the Brier score."""
    return Reference(
        loss="brier", mean=float(means.mean()), block="1d", block_means=tuple(means.tolist()),
        rows=100 * len(means), design_effect=1.0, row_upper=float(means.mean()) + 0.01,
    )  # fmt: skip


def ledger(
    path: Path, losses: Array, *, reference: Reference | None = None, missing: float = 0.0,
    shadow: Array | None = None, policy: dict[str, Any] | None = None,
) -> Home:  # fmt: skip
    """One champion from the first day on.

    Args:
        path: Where the state directory is made.
        losses: What each row lost, shape (days, rows a day).
        reference: The champion's reference.
        missing: The share of rows whose outcome did not come.
        shadow: What a challenger in shadow would have lost on the same rows.
        policy: Keys of the policy in force.
    """
    days, per_day = losses.shape
    past, count = Past.at(path, **(policy or {})), days * per_day
    made = START + (
        np.repeat(np.arange(days) * DAY, per_day) + np.tile(np.arange(per_day), days) * (DAY // per_day)
    )
    columns = dict(rows(np.sqrt(losses.ravel()), day=np.repeat(np.arange(days), per_day), time=made))
    columns["at"] = made
    if shadow is not None:
        columns["shadow_version"] = np.full(count, 2, np.int32)
        columns["shadow_y_pred"] = np.sqrt(shadow.ravel())
    past.predicted(columns)
    came = np.flatnonzero(np.random.default_rng(7).random(count) >= missing)
    told = dict(labels(came + 1, np.zeros(len(came))))
    told["labelled_at"] = made[came] + HOUR
    past.told(told)
    _crown(past.home, days, reference)
    return past.home


def _crown(home: Home, days: int, reference: Reference | None) -> None:
    state = home.writable_state()
    with state.transaction():
        versions.register(state, MODEL, external("first", reference), at=START)
        versions.enthrone(state, MODEL, 1, at=START - 1, reason="")
        crown(state, MODEL, Crowned(version=1, at=START - 1, seq=0, by_rollout=False))
        state.put("clock", "now", START + (days + 1) * DAY)
    state.close()
