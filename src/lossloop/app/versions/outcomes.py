"""What both lost on recent rows whose outcomes are known: paired, over blocks; shown, and no test.

It is no certificate: the rows were looked at as often as somebody asked, the outcomes may have come about
through what the champion answered, and the champion may have been trained on them.
"""

from __future__ import annotations

import numpy as np

from lossloop.act.checks import Check, Status
from lossloop.app.judging import actions_of
from lossloop.app.versions.base import Arm, Case, Shown, told
from lossloop.judges.blocks import block_interval
from lossloop.ledger.joined.columns import Floats

_NO_TEST = "shown only: no test that stays valid, and outcomes may follow from what the champion answered"


def check(case: Case) -> Shown:
    """The difference of the losses on the same rows, with its interval over blocks."""
    if case.champion is None:
        return told(Check.OUTCOMES, Status.SKIPPED, "there is no other champion to hold it against")
    ours, theirs = (
        _losses(case, arm, answers.values)
        for arm, answers in ((case.version, case.mine), (case.champion, case.theirs))
    )
    known = ~np.isnan(ours) & ~np.isnan(theirs)
    if not known.any():
        why = "no recent row has an outcome and an answer of both"
        return told(Check.OUTCOMES, Status.NOT_TOLD, why)
    change, blocks = (ours - theirs)[known], case.recent.block[known]
    figures = {
        "rows": float(known.sum()), "blocks": float(len(np.unique(blocks))),
        "difference": float(change.mean()), "mean": float(ours[known].mean()),
        "mean_of_champion": float(theirs[known].mean()),
    }  # fmt: skip
    words = (
        f"mean loss {figures['mean']:.4g}, the champion's {figures['mean_of_champion']:.4g}: "
        f"{figures['difference']:+.4g}"
    )
    if figures["blocks"] >= 2:
        found = block_interval(change, blocks)
        figures |= {"low": found.low, "high": found.high}
        words += f", between {found.low:+.4g} and {found.high:+.4g}"
    told_of = f"over {int(known.sum()):,} outcomes in {int(figures['blocks'])} blocks ({_NO_TEST})"
    return told(Check.OUTCOMES, Status.REPORTED, f"{words}, {told_of}", figures)


def _losses(case: Case, arm: Arm, values: Floats) -> Floats:
    """The loss of each row, NaN where there is no outcome or no answer. Shape (n,)."""
    thresholds = arm.manifest.thresholds
    if case.lens.of_actions and thresholds is not None and values.ndim == 1:
        values = actions_of(((1, thresholds),), values, np.ones(len(values), np.int64))
    return case.lens.scores(case.recent.y_true, values)
