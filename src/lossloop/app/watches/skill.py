"""Baseline: is the champion still better than one answer for all?"""

from __future__ import annotations

import numpy as np

from lossloop.act.policy import Missing
from lossloop.act.watches import BaselineWatch
from lossloop.app.judging import Lens, mean_of_block
from lossloop.app.watches.base import Found, mean_of
from lossloop.app.watches.risk import check_reference, check_rows
from lossloop.core.calendar import Block
from lossloop.core.errors import InputError
from lossloop.judges import Skill, parse
from lossloop.ledger.joined.columns import Floats
from lossloop.ledger.joined.table import Rows
from lossloop.registry import Version

MOST_CLASSES = 1_000
"""As of a prediction."""


class BaselineKind:
    """The champion's loss less the baseline's, on the same rows: what hits both alike cancels."""

    cannot_see = "a loss that rises for model and baseline alike, as in a harder season"

    def judge(self, lens: Lens, watch: BaselineWatch, champion: Version) -> Skill:
        """See `OfOutcomes`."""
        check_rows(lens, watch.promise, champion)
        baseline_of(lens, champion)
        reach = _reach(lens, watch)
        return Skill(
            tolerance=watch.tolerance, promise=parse(watch.promise), reach=reach,
            clips=reach < lens.bound - lens.floor,
        )  # fmt: skip

    def evidence(
        self, lens: Lens, watch: BaselineWatch, champion: Version, rows: Rows, block: Block | None
    ) -> Found:
        """See `OfOutcomes`; an outcome that did not come counts as `labels.missing` says."""
        labels = rows.labels_by(lens.policy.labels.mature_after)
        baseline = baseline_of(lens, champion)
        answers = np.array(np.broadcast_to(baseline, (len(rows), *baseline.shape)))
        found = lens.matured_scores(rows) - lens.scores(labels, answers, rows.version)
        labelled = int(np.count_nonzero(~np.isnan(found)))
        if lens.policy.labels.missing is Missing.SAME_IN_BOTH_ARMS:
            judged = found[~np.isnan(found)] if block is None else mean_of_block(found, rows)
            judged = judged[~np.isnan(judged)]
        else:
            worst = np.where(np.isnan(found), -_reach(lens, watch), found)
            judged = worst if block is None else mean_of_block(worst, rows)
        return Found(evidence=judged, mean=mean_of(found), labelled=labelled)


def baseline_of(lens: Lens, champion: Version) -> Floats:
    """The one prediction of the champion's baseline: a number, or one for each class.

    Raises:
        InputError: The reference has none, or the policy's loss does not take it.
    """
    found = check_reference(lens, champion).baseline
    if found is None:
        raise InputError(
            f"the reference of {champion.name} has no baseline; register the version with one, such as the "
            "share of 1 among held-out labels",
            field="reference.baseline",
        )
    baseline = np.asarray(found, dtype=np.float64)
    if baseline.size > MOST_CLASSES:  # it stands beside every row that is judged
        raise InputError(
            f"the baseline of {champion.name} has {baseline.size:,} numbers; at most "
            f"{MOST_CLASSES:,} are possible",
            field="reference.baseline",
        )
    if np.isnan(lens.scores(np.zeros(1), baseline[None], np.array([champion.number]))).all():
        raise InputError(
            f"{lens.policy.loss} does not take the baseline {found} of {champion.name}",
            field="reference.baseline",
        )
    return baseline


def _reach(lens: Lens, watch: BaselineWatch) -> float:
    """The largest difference of two losses that counts."""
    clip, reach = watch.clip_difference, lens.bound - lens.floor
    return reach if clip is None else min(clip, reach)
