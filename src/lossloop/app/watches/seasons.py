"""Seasonal: is the champion's mean loss within the limit of its hour, weekday or month?"""

from __future__ import annotations

import numpy as np

from lossloop.act.watches import SeasonalWatch
from lossloop.app.judging import Lens, mean_of_block
from lossloop.app.watches.base import Found
from lossloop.app.watches.risk import check_reference, check_rows
from lossloop.core.calendar import Block, Calendar
from lossloop.core.clock import format_duration
from lossloop.core.errors import InputError
from lossloop.judges import Seasonal, SeasonalGuardrail, fill_missing, parse
from lossloop.ledger.joined.columns import Floats
from lossloop.ledger.joined.table import Rows
from lossloop.registry import Version


class SeasonalKind:
    """A limit for each part of a season."""

    cannot_see = "a season that is worse than the one its limits come from, as a winter may be than the last"

    def judge(self, lens: Lens, watch: SeasonalWatch, champion: Version) -> SeasonalGuardrail:
        """See `OfOutcomes`."""
        check_rows(lens, watch.promise, champion)
        limits_of(lens, watch, champion)
        return SeasonalGuardrail(promise=parse(watch.promise), floor=lens.floor)

    def evidence(
        self, lens: Lens, watch: SeasonalWatch, champion: Version, rows: Rows, block: Block | None
    ) -> Found:
        """See `OfOutcomes`; an outcome that did not come counts as the least loss."""
        limits = limits_of(lens, watch, champion)
        known = lens.matured_scores(rows)
        risk = fill_missing(known, lens.floor)
        if block is None:
            local = Calendar(span=watch.season.span, zone=lens.policy.timezone).blocks(rows.at)
            judged = Seasonal(loss=risk, limit=limits[watch.season.parts(local)])
        else:
            limit = limits[watch.season.parts(np.array([block]))]
            judged = Seasonal(loss=mean_of_block(risk, rows), limit=limit)
        return Found(
            evidence=judged, mean=float(judged.loss.mean()), labelled=int(np.count_nonzero(~np.isnan(known)))
        )


def limits_of(lens: Lens, watch: SeasonalWatch, champion: Version) -> Floats:
    """The limit of each part of the season, in the order of its names.

    Raises:
        InputError: A block holds several parts; or limits are to be learned, and the reference has no season.
    """
    span = lens.policy.block
    if watch.season.span % span:
        raise InputError(
            f"a block of {format_duration(span)} may lie in more than one {watch.season}; write a block that "
            f"{format_duration(watch.season.span)} is a multiple of",
            field="season",
        )
    if watch.limit is None:
        limits = np.array([watch.limits[name] for name in watch.season.names])
    else:
        limits = _learned(lens, watch, watch.limit, champion)
    if not (limits > lens.floor).all():
        low = watch.season.names[int(np.argmin(limits))]
        raise InputError(
            f"the limit of {low} is {limits.min():g}, not above the least loss {lens.floor:g}", field="limits"
        )
    return limits


def _learned(lens: Lens, watch: SeasonalWatch, limit: float, champion: Version) -> Floats:
    """The limit, times what each part of the season is of the reference's mean loss."""
    reference = check_reference(lens, champion)
    means = reference.seasons.get(watch.season)
    if means is None:
        raise InputError(
            f"the reference of {champion.name} has no season {watch.season}; register the version with one, "
            "or write limits",
            field="reference.seasons",
        )
    if not reference.mean > lens.floor:
        raise InputError(
            f"the reference of {champion.name} has no loss to learn a season of", field="reference.mean"
        )
    shape: Floats = (np.array(means) - lens.floor) / (reference.mean - lens.floor)
    return lens.floor + (limit - lens.floor) * shape
