"""From a slab of history to its tally: the work that is done once per piece, wherever it is done. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from lossloop.app.judging import MOST, actions_of, fitting_labels
from lossloop.app.recompute.features import PREFIX
from lossloop.app.recompute.history import Columns, Slab, Span
from lossloop.app.recompute.tally import KEYS, Groups, Tally, merged
from lossloop.core.errors import InputError
from lossloop.core.records import Role
from lossloop.core.thresholds import Thresholds
from lossloop.ledger.joined.columns import Array, Floats, Int64
from lossloop.ledger.joined.table import ROLES
from lossloop.losses import Loss

_GROUPED = frozenset({*KEYS, "time"})
"""What is not looked at any more once rows are in their groups."""
DONE = "done"
"""The column of what was done about each prediction."""
_OVERRIDE = ROLES.index(Role.OVERRIDE)
BATCH_ROWS = 1 << 17
"""Rows scored at once: what the checks and the kernel pass over stays in the processor's cache."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Scoring:
    """What is asked of each row.

    losses: The loss, and the loss in force where that is another one.
    digests: Their digests where the work was given out.
    thresholds: Those of the versions that have any, where losses of what was done can be asked for.
    """

    losses: tuple[Loss, ...]
    digests: tuple[str, ...]
    span: Span
    thresholds: tuple[tuple[int, Thresholds], ...] = ()

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
    """The tally of a slab's rows that lie in the span, of which there is at least one.

    Raises:
        InputError: The loss in this process is not the one that is asked for.
    """
    scoring.check()
    _keep_memory()
    batches = slab.batches(BATCH_ROWS)
    return merged([_tally(rows, scoring) for rows in inside(batches, scoring.span)])


@lru_cache
def _keep_memory() -> None:
    """Let the C library keep what is freed for the next batch, instead of giving it back to the system.

    glibc learns from the largest block (up to 32 MB) that was freed; without this every batch faults its
    pages in anew, which costs more than the checks (docs/design/0010). Elsewhere it does nothing.
    """
    np.empty(31 << 20, np.uint8)


def inside(batches: Iterator[Columns], span: Span) -> Iterator[Columns]:
    """The rows of each batch that lie in the span; batches without any are left out.

    So are answers of a version that a tester asked for: they are no traffic of any role.
    """
    for rows in batches:
        held, asked_for = span.holds(rows["time"]), rows["role"] == _OVERRIDE
        if asked_for.any():
            held = ~asked_for if held is None else held & ~asked_for
        if held is None:
            yield rows
        elif held.any():
            yield {name: values[held] for name, values in rows.items()}


def _tally(rows: Columns, scoring: Scoring) -> Tally:
    groups = Groups([rows[name] for name in KEYS if name in rows])
    everyone = groups.count(groups.codes)
    y_true = rows["y_true"]
    known = ~np.isnan(y_true if y_true.ndim == 1 else y_true[:, 0])
    labelled = everyone if known.all() else groups.count(groups.codes[known])
    counted = everyone
    asked: Columns = {"codes": groups.codes, "known": known, **rows}
    if scoring.thresholds:
        done = actions_of(scoring.thresholds, rows["y_pred"], rows["version"])
        asked = {**asked, DONE: done}
    if not known.all() and all(loss.needs_outcome for loss in scoring.losses):
        asked = {name: values[known] for name, values in asked.items() if name not in _GROUPED}
        counted = labelled
    found = [_costs(loss, asked) for loss in scoring.losses]
    measures = [costs for costs, _ in found]
    if len(measures) == 2:
        measures.append(measures[0] - measures[1])
    moments = [groups.moments(asked["codes"], costs, counted) for costs in measures]
    there = everyone > 0
    counts, totals, deviations = (np.array(each)[:, there] for each in zip(*moments, strict=True))
    return Tally(
        keys=_padded(groups.keys[there]), rows=everyone[there], labelled=labelled[there],
        asked=(labelled if scoring.losses[0].needs_outcome else everyone)[there],
        counts=counts, totals=totals, deviations=deviations, problem=found[0][1],
    )  # fmt: skip


def _padded(keys: Int64) -> Int64:
    """Keys with 0 for what rows are not told apart by."""
    found = np.zeros((len(keys), len(KEYS)), np.int64)
    found[:, : keys.shape[1]] = keys
    return found


def _costs(loss: Loss, rows: Columns) -> tuple[Floats, str]:
    """Each row's cost, NaN where it has none, and why the first that should have one has none."""
    known = rows["known"]
    if DONE in rows and loss.kind == "class":
        rows = {**rows, "y_pred": rows[DONE]}
    if not loss.needs_outcome or known.all():
        return _scored(loss, rows)
    costs = np.full(len(known), np.nan)
    if not known.any():
        return costs, ""
    costs[known], problem = _scored(loss, {name: values[known] for name, values in rows.items()})
    return costs, problem


def _scored(loss: Loss, rows: Columns) -> tuple[Floats, str]:
    with np.errstate(over="ignore", invalid="ignore"):
        try:
            costs, problem = loss(rows["y_true"], rows["y_pred"], _features(loss, rows)), ""
        except InputError:  # some row is ill, or rows have different numbers of classes
            costs, problem = _row_by_row(loss, rows)
    # As in the loop: a cost beyond MOST counts as MOST, so that sums stay finite.
    bounded = np.isfinite(loss.bounds).all()
    return np.asarray(costs if bounded else np.clip(costs, -MOST, MOST), dtype=np.float64), problem


def _row_by_row(loss: Loss, rows: Columns) -> tuple[Floats, str]:
    y_pred = rows["y_pred"]
    costs = np.full(len(y_pred), np.nan)
    problems: list[tuple[int, str]] = []
    for places, width in _alike(y_pred):
        some = {name: values[places] for name, values in rows.items()}
        columns = some["y_pred"] if width is None else some["y_pred"][:, :width]
        true = fitting_labels(loss, some["y_true"], columns)
        try:
            costs[places], found = loss.rows(true, columns, _features(loss, some))
        except InputError as error:
            problems.append((int(places[0]), str(error)))
        else:
            problems += [(int(places[each.row]), each.message) for each in found[:1]]
    return costs, min(problems, default=(0, ""))[1]


def _alike(y_pred: Floats) -> Iterator[tuple[Int64, int | None]]:
    """Places of rows that have the same number of classes, and this number; None for plain numbers."""
    if y_pred.ndim == 1:
        yield np.arange(len(y_pred)), None
        return
    widths = np.maximum(np.count_nonzero(~np.isnan(y_pred), axis=1), 1)
    for width in np.unique(widths).tolist():
        yield np.flatnonzero(widths == width), width


def _features(loss: Loss, rows: Columns) -> dict[str, Array] | None:
    if not loss.needs_features:
        return None
    return {name.removeprefix(PREFIX): values for name, values in rows.items() if name.startswith(PREFIX)}
