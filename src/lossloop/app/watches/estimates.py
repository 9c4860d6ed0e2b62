"""Estimate: is the loss within its limit, before labels come, or with the labels of a few that were drawn?"""

from __future__ import annotations

import numpy as np

from lossloop.act.watches import EstimateWatch
from lossloop.app.judging import Lens, mean_of_block
from lossloop.app.labels.draws import drawn
from lossloop.app.watches.base import Arrived, Found
from lossloop.app.watches.risk import check_reference, check_rows, reference_for
from lossloop.core.calendar import Block, Int64
from lossloop.core.errors import InputError
from lossloop.core.estimates import DIRECT, Estimate
from lossloop.judges import (
    Audited,
    Estimated,
    direct_loss,
    expected_loss,
    parse,
    probabilities,
)
from lossloop.ledger.joined.columns import Floats
from lossloop.ledger.joined.table import Rows
from lossloop.registry import Version

MOST_CLASSES = 50
"""Each class is tried as the true one, for every prediction."""


class EstimateKind:
    """Judged as predictions arrive: no label is waited for."""

    asks = ""
    shows_mean = True
    cannot_see = "concept drift: where the answer to the same inputs has changed, the estimate has not"

    def judge(self, lens: Lens, watch: EstimateWatch, champion: Version) -> Estimated:
        """See `OfArrivals`."""
        check_rows(lens, watch.promise, champion)
        estimate_of(lens, champion)
        return Estimated(limit=_limit(lens, watch, champion), promise=parse(watch.promise), floor=lens.floor)

    def evidence(self, lens: Lens, watch: EstimateWatch, champion: Version, arrived: Arrived) -> Floats:
        """See `OfArrivals`; the loss to expect of each prediction, shape (n, 1)."""
        return _estimated(lens, champion, arrived.y_pred)[:, None]

    def of_block(self, means: Floats, rows: int) -> Floats:
        """See `OfArrivals`."""
        return means


class AuditedKind:
    """Judged at the judging age, with the labels of those that were drawn for an audit."""

    cannot_see = "who is to blame: a harder season raises the loss as a worse model does"

    def judge(self, lens: Lens, watch: EstimateWatch, champion: Version) -> Audited:
        """See `OfOutcomes`."""
        check_rows(lens, watch.promise, champion)
        estimate = estimate_of(lens, champion)
        return Audited(
            limit=_limit(lens, watch, champion), promise=parse(watch.promise), rate=watch.audit or 1.0,
            cap=max(0.0, estimate.most - lens.floor), floor=lens.floor,
        )  # fmt: skip

    def evidence(
        self, lens: Lens, watch: EstimateWatch, champion: Version, rows: Rows, block: Block | None
    ) -> Found:
        """See `OfOutcomes`; an audit whose label did not come counts as the least loss."""
        wanted = drawn(rows.key_low, watch.audit or 1.0)
        losses = np.where(wanted, lens.matured_scores(rows), np.nan)
        estimates = _estimated(lens, champion, rows.y_pred)
        audits = self.judge(lens, watch, champion).audits(estimates, losses, wanted)
        if block is not None:
            audits = audits.averaged(lambda values: mean_of_block(values, rows))
        unbiased = audits.estimate - audits.drawn_estimate + audits.drawn_loss
        labelled = int(np.count_nonzero(~np.isnan(losses))) if wanted.any() else None
        return Found(evidence=audits, mean=float(unbiased.mean()) + lens.floor, labelled=labelled)


def _estimated(lens: Lens, champion: Version, y_pred: Floats) -> Floats:
    return estimated(lens, estimate_of(lens, champion), y_pred, np.full(len(y_pred), champion.number))


def estimated(lens: Lens, estimate: Estimate, y_pred: Floats, version: Int64 | None = None) -> Floats:
    """The loss to expect of predictions, (n,) or (n, classes), to (n,); NaN where there is none."""
    if estimate.by == DIRECT:
        return direct_loss(estimate, y_pred) if y_pred.ndim == 1 else np.full(len(y_pred), np.nan)
    maps = len(estimate.knots)
    if y_pred.ndim == 2:
        fitting = np.count_nonzero(~np.isnan(y_pred), axis=1) == maps
        y_pred = np.where(fitting[:, None], y_pred, np.nan)[:, :maps]
        if y_pred.shape[1] < maps:
            return np.full(len(y_pred), np.nan)
    chances = probabilities(estimate, y_pred)
    costs = [lens.scores(np.full(len(y_pred), float(k)), y_pred, version) for k in range(chances.shape[1])]
    found = expected_loss(estimate, chances, np.column_stack(costs))
    return np.where(np.isnan(chances).any(axis=1), np.nan, np.maximum(found, lens.floor))


def estimate_of(lens: Lens, champion: Version) -> Estimate:
    """How the champion's reference estimates the loss.

    Raises:
        InputError: It does not, or it is of another loss.
    """
    found = check_reference(lens, champion).estimate
    if found is None:
        raise InputError(
            f"the reference of {champion.name} has no estimate; make one of held-out rows with "
            "ll.judges.calibration or ll.judges.direct, and register the version with it",
            field="reference.estimate",
        )
    if len(found.knots) > MOST_CLASSES:
        raise InputError(
            f"a loss is expected over at most {MOST_CLASSES} classes, not {len(found.knots)}",
            field="reference.estimate",
        )
    return found


def _limit(lens: Lens, watch: EstimateWatch, champion: Version) -> float:
    if watch.limit is not None:
        return watch.limit
    return reference_for(lens, parse(watch.promise), champion).upper + (watch.tolerance or 0.0)
