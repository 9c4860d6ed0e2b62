"""Guardrail and regression: is the champion's mean loss within its limit?"""

from __future__ import annotations

import numpy as np

from lossloop.act.watches import GuardrailWatch, RegressionWatch
from lossloop.app.judging import MOST, Lens, mean_of_block
from lossloop.app.watches.base import Found
from lossloop.core.calendar import Block
from lossloop.core.clock import format_duration, parse_duration
from lossloop.core.errors import InputError
from lossloop.judges import (
    Counts,
    Guardrail,
    Promise,
    Reference,
    Regression,
    fill_missing,
    parse,
    reference_of_blocks,
    refuse_per_row,
)
from lossloop.ledger.joined.table import Rows
from lossloop.registry import Reference as Measured
from lossloop.registry import Version


class _Risk:
    """What both make of rows: their losses, or the mean of a block's."""

    def evidence(
        self, lens: Lens, watch: GuardrailWatch | RegressionWatch, champion: Version, rows: Rows,
        block: Block | None,
    ) -> Found:  # fmt: skip
        """See `OfOutcomes`; an outcome that did not come counts as the least loss."""
        known = lens.matured_scores(rows)
        risk = fill_missing(known, lens.floor)
        judged = risk if block is None else mean_of_block(risk, rows)
        return Found(
            evidence=judged, mean=float(judged.mean()), labelled=int(np.count_nonzero(~np.isnan(known)))
        )


class GuardrailKind(_Risk):
    """A limit for the mean loss."""

    cannot_see = "who is to blame: a harder season raises the loss as a worse model does"

    def judge(self, lens: Lens, watch: GuardrailWatch, champion: Version) -> Guardrail:
        """See `OfOutcomes`."""
        check_rows(lens, watch.promise, champion)
        return Guardrail(limit=watch.limit, promise=parse(watch.promise), floor=lens.floor)


class RegressionKind(_Risk):
    """A limit for how far the mean loss may rise above the reference."""

    cannot_see = (
        "who is to blame: a harder season raises the loss as a worse model does; "
        "and a reference that was not like production to begin with"
    )

    def judge(self, lens: Lens, watch: RegressionWatch, champion: Version) -> Regression:
        """See `OfOutcomes`."""
        check_rows(lens, watch.promise, champion)
        promise = parse(watch.promise)
        reference = reference_for(lens, promise, champion)
        return Regression(reference=reference, tolerance=watch.tolerance, promise=promise, floor=lens.floor)


def check_rows(lens: Lens, promise: str, champion: Version) -> None:
    """Refuse to judge rows that depend on each other, as the champion's reference measured it."""
    reference = champion.manifest.reference
    if parse(promise).counts is Counts.OUTCOMES and reference is not None:
        refuse_per_row(reference.design_effect)


def check_reference(lens: Lens, champion: Version) -> Measured:
    """The champion's reference, if it is of the policy's loss; else raise InputError."""
    found = champion.manifest.reference
    if found is None:
        raise InputError(
            f"{champion.name} has no reference; register it with one, or use a guardrail", field="reference"
        )
    if not lens.is_of(found.loss):
        raise InputError(
            f"the reference of {champion.name} is of {found.loss}, the policy's loss {lens.policy.loss}; "
            "register the version with a reference of this loss (beside: [...] in its manifest)",
            field="reference.loss",
        )
    if max(map(abs, (found.mean, found.row_upper or 0.0, *found.block_means))) > MOST:
        raise InputError(
            f"the reference of {champion.name} has losses beyond {MOST:g}, which nothing can be measured by",
            field="reference",
        )
    return found


def reference_for(lens: Lens, promise: Promise, champion: Version) -> Reference:
    """The bound of the champion's reference that a promise needs: over its rows, or over its blocks.

    Raises:
        InputError: There is no reference, or it is of another loss or over other blocks.
    """
    found = check_reference(lens, champion)
    if parse_duration(found.block) != lens.policy.block:
        raise InputError(
            f"the reference of {champion.name} is over blocks of {found.block}, the policy's are of "
            f"{format_duration(lens.policy.block)}",
            field="reference.block",
        )
    if promise.counts is not Counts.OUTCOMES:
        return reference_of_blocks(found.block_means)
    if found.row_upper is None:
        raise InputError(f"the reference of {champion.name} has no row_upper; write the promise per blocks")
    return Reference(estimate=found.mean, upper=found.row_upper, count=found.rows, method="betting")
