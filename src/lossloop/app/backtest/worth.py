"""What verdicts are worth: delays, false alarms, and the loss that acting on an alarm could have saved. Pure.

What another version would have lost on the same predictions is not in the ledger. The saving is therefore an
estimate under one assumption, which is told beside it: that the action brings the loss back to what it was
before the incident, at once. Where even that cannot be compared, the answer is "cannot tell".
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from lossloop.app.backtest.base import Account, Alarm, Day, Incident, Met, Replayed, Saving
from lossloop.judges.quantiles import t_quantile

LEAST_QUIET = 5
"""Blocks outside every incident that a mean of before is made of, at least."""
_LEVEL = 0.975


@dataclass(frozen=True, kw_only=True)
class Before:
    """What a champion's loss is compared with: its mean, how sure that is, and what it is."""

    mean: float
    variance: float
    """Of the mean."""
    blocks: int
    words: str

    @classmethod
    def of(cls, means: Sequence[float], words: str) -> Before:
        values = np.asarray(means, dtype=np.float64)
        variance = float(values.var(ddof=1)) / len(values) if len(values) > 1 else math.inf
        return cls(mean=float(values.mean()), variance=variance, blocks=len(values), words=words)


ReferenceOf = Callable[[int], Before | None]
"""The reference of a version, where it has one of the same loss."""


def account(
    replayed: Replayed, days: Sequence[Day], incidents: Sequence[Incident], reference: ReferenceOf
) -> Account:
    """One watch, held against the incidents that were marked."""
    if not replayed.points:
        return Account(replayed=replayed)
    met = tuple(_met(replayed, days, incident, incidents, reference) for incident in incidents)
    outside = [alarm for alarm in replayed.alarms if not any(_in(each, alarm.made) for each in incidents)]
    points = zip(replayed.points, replayed.made, strict=True)
    quiet = [point for point, made in points if not any(_in(each, made) for each in incidents)]
    return Account(
        replayed=replayed, met=met, false_alarms=len(outside) if incidents else None,
        quiet=replayed.judged(quiet),
    )  # fmt: skip


def _met(
    replayed: Replayed, days: Sequence[Day], incident: Incident, others: Sequence[Incident],
    reference: ReferenceOf,
) -> Met:  # fmt: skip
    alarm = next((each for each in replayed.alarms if _in(incident, each.made)), None)
    until = incident.end if alarm is None else alarm.made + 1
    points = zip(replayed.points, replayed.made, strict=True)
    judged = [point for point, made in points if incident.start <= made < until]
    if alarm is None:
        saving = Saving(why="it would not have fired")
        return Met(
            incident=incident.text, alarm=None, delay=None, judged=replayed.judged(judged), saving=saving
        )
    return Met(
        incident=incident.text, alarm=alarm.at, delay=alarm.at - incident.start,
        judged=replayed.judged(judged),
        saving=saving_of(alarm, days, incident, _before(alarm, days, incident, others, reference)),
    )  # fmt: skip


def _before(
    alarm: Alarm, days: Sequence[Day], incident: Incident, others: Sequence[Incident], reference: ReferenceOf
) -> Before | None:
    """The champion's reference, else its own blocks of before the incident and outside all others."""
    if (found := reference(alarm.version)) is not None:
        return found
    quiet = [
        day.mean
        for day in days
        if day.mean is not None
        and day.version == alarm.version
        and day.last < incident.start
        and not any(_in(each, day.last) for each in others)
    ]
    if len(quiet) < LEAST_QUIET:
        return None
    return Before.of(quiet, f"its mean over {len(quiet)} blocks before the incident")


def saving_of(alarm: Alarm, days: Sequence[Day], incident: Incident, before: Before | None) -> Saving:
    """The excess loss behind an alarm, until an incident's end."""
    behind = [
        day for day in days if day.first > alarm.at and day.first < incident.end and day.mean is not None
    ]
    if not behind:
        return Saving(why="no block with outcomes lies between the alarm and the incident's end")
    if any(day.version != alarm.version for day in behind):
        return Saving(
            why="another version took over meanwhile, and nobody knows what this one would have lost"
        )
    if before is None:
        return Saving(why=f"it has no reference of this loss, nor {LEAST_QUIET} blocks before the incident")
    rows = sum(day.labelled for day in behind)
    weights = np.array([day.labelled for day in behind], dtype=np.float64)
    excess = np.array([day.mean for day in behind], dtype=np.float64) - before.mean
    estimate = float(weights @ excess)
    error = _error(excess, weights, before)
    return Saving(
        rows=rows, estimate=estimate, low=None if error is None else estimate - error,
        high=None if error is None else estimate + error, against=before.words,
    )  # fmt: skip


def _error(excess: npt.NDArray[np.float64], weights: npt.NDArray[np.float64], before: Before) -> float | None:
    """Half the interval's width, by Student's t over blocks; None where there are too few of them."""
    if len(excess) < 2 or not math.isfinite(before.variance):
        return None
    spread = float(excess.var(ddof=1)) * float(weights @ weights)
    freedom = min(len(excess), before.blocks) - 1.0
    return t_quantile(_LEVEL, freedom) * math.sqrt(spread + before.variance * float(weights.sum()) ** 2)


def _in(incident: Incident, moment: int) -> bool:
    return incident.start <= moment < incident.end
