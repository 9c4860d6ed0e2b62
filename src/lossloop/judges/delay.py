"""How late labels come: the share that has come by each age, and when to judge (statistics.md, 2g).

Many predictions are too young to say when their label will come. Such a prediction is known to have waited
so long, which is what a life table is for (Cutler, Ederer 1958; Kaplan, Meier 1958): at each age the share
that comes then, of those that were still without a label and are old enough to tell.

What a curve cannot see: labels that come later than the oldest prediction is old. A recommendation therefore
needs predictions twice as old as the age that it names, and says so where there are none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import msgspec
import numpy as np
import numpy.typing as npt

from lossloop.core.clock import DAY, HOUR, LONGEST, MINUTE, SECOND, Micros, format_duration
from lossloop.core.errors import InputError
from lossloop.core.records import Record

Array = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]

PER_DECADE = 32
"""Bins from one age to the tenfold: two neighbours are 7.5% apart."""
FIRST_AGE: Micros = 1_000
"""The first bin holds all that came within a millisecond."""
BINS = 1 + math.ceil(PER_DECADE * math.log10(LONGEST / FIRST_AGE))
EDGES: Array = FIRST_AGE * 10.0 ** (np.arange(BINS) / PER_DECADE)
"""Each bin's upper end in microseconds, ascending, shape (BINS,)."""
FEWEST = 100
"""Predictions that must be old enough to tell, for an age to stand on the curve."""
USUAL_SHARE = 0.99
_STORED = np.dtype("<i8")
_EMPTY = bytes(BINS * _STORED.itemsize)
_UNITS = (DAY, HOUR, MINUTE, SECOND, SECOND // 1_000)
_PLAIN: tuple[Micros, ...] = tuple(
    number * unit
    for unit, numbers in (
        (SECOND // 1_000, (1, 2, 3, 5, 10, 15, 20, 30, 50, 75, 100, 150, 200, 300, 500, 750)),
        (SECOND, (*range(1, 11), 15, 20, 30, 45)),
        (MINUTE, (*range(1, 11), 12, 15, 20, 25, 30, 40, 45, 50, 60, 75, 90)),
        (HOUR, (*range(2, 11), 12, 15, 18, 24, 30, 36, 48, 60)),
        (DAY, (*range(3, 11), 12, 14, 18, 21, 25, 30, 35, 40, 45, 60, 75, 90, 120, 150, 180, 240, 300, 365)),
    )
    for number in numbers
)
"""Ages that a person would write into a policy."""


class Delays(Record, frozen=True):
    """Predictions counted at one moment, by age; counts merge by addition. About 10 kB."""

    came: bytes = _EMPTY
    """How many labels took so long."""
    waits: bytes = _EMPTY
    """How many predictions are so old and have no label."""
    aged: bytes = _EMPTY
    """How many predictions are so old, with or without one."""

    def add(self, took: Int64, age: Int64) -> Self:
        """With predictions that are of an `age` and whose label `took` so long, shape (n,), microseconds.

        A label that took longer than the prediction is old has not come. Below 0 (it was there first) is 0.
        """
        if took.shape != age.shape:
            raise InputError("needs an age for each label", field="age")
        there = took <= age
        added = msgspec.structs.replace(
            self, came=_counts(took[there]), waits=_counts(age[~there]), aged=_counts(age)
        )
        return self.merge(added)

    def merge(self, other: Self) -> Self:
        """Both together."""
        pairs = ((self.came, other.came), (self.waits, other.waits), (self.aged, other.aged))
        came, waits, aged = (_added(one, two) for one, two in pairs)
        return msgspec.structs.replace(self, came=came, waits=waits, aged=aged)

    @property
    def labelled(self) -> int:
        """How many predictions have a label."""
        return int(_unpack(self.came).sum())

    @property
    def waiting(self) -> int:
        """How many have none."""
        return int(_unpack(self.waits).sum())

    def curve(self) -> Curve:
        """The share that has come by each age."""
        came, waits = _unpack(self.came), _unpack(self.waits)
        at_risk = np.cumsum((came + waits)[::-1])[::-1]
        # Who is as old as this bin was there for half of it, as a life table has it.
        exposed = np.maximum(at_risk - 0.5 * waits, 1.0)
        kept = np.cumprod(1.0 - np.minimum(came / exposed, 1.0))
        aged = _unpack(self.aged)
        old_enough = np.flatnonzero(aged.sum() - np.cumsum(aged) >= FEWEST)  # older than the bin's end
        end = int(old_enough[-1]) + 1 if len(old_enough) else 0
        return Curve(shares=1.0 - kept[:end])


@dataclass(frozen=True, kw_only=True, eq=False)
class Curve:
    """The share of predictions whose label has come by each of EDGES, up to the horizon."""

    shares: Array
    """Shape (n,), n <= BINS, never falling."""

    @property
    def horizon(self) -> Micros:
        """The greatest age beyond which there are FEWEST predictions; 0 where there is none."""
        return round(EDGES[len(self.shares) - 1]) if len(self.shares) else 0

    @property
    def within(self) -> str:
        """The horizon in words, rounded down."""
        return format_duration(plain_duration(self.horizon, up=False)) if self.horizon else "0s"

    @property
    def ever(self) -> float:
        """The share of predictions whose label comes within the horizon."""
        return float(self.shares[-1]) if len(self.shares) else 0.0

    def share(self, age: Micros) -> float | None:
        """The share of all predictions with a label by this age; None beyond the horizon."""
        if age > self.horizon:
            return None
        return float(np.interp(age, self._ages, self._shares))

    def age(self, share: float) -> Micros | None:
        """The age by which this share has come of those that come within the horizon; None of nothing."""
        if not 0.0 < share < 1.0:
            raise InputError(f"a share lies between 0 and 1, not {share}", field="share")
        if self.ever == 0.0:
            return None
        place = int(np.searchsorted(self._shares, share * self.ever))
        return round(float(self._ages[place]))

    @cached_property
    def _ages(self) -> Array:
        return np.concatenate(([0.0], EDGES[: len(self.shares)]))

    @cached_property
    def _shares(self) -> Array:
        return np.concatenate(([0.0], self.shares))


class Recommendation(Record, frozen=True):
    """From which age on a prediction may be judged, or why that is not known yet."""

    mature_after: Micros | None
    """None while it is not known."""
    share: float
    """Of the labels that ever come: how many have come by then."""
    reason: str


def recommend(delays: Delays, share: float = USUAL_SHARE) -> Recommendation:
    """The age by which `share` of the labels that ever come have come, rounded up to a plain duration.

    Raises InputError unless 0 < share < 1.
    """
    curve = delays.curve()
    age = curve.age(share)
    if age is None:
        seen = delays.labelled + delays.waiting
        why = f"{delays.labelled:,} of {seen:,} predictions have a label; it needs some, of {FEWEST} or more"
        return Recommendation(mature_after=None, share=share, reason=f"not known yet: {why}")
    found = plain_duration(age)
    if curve.horizon < 2 * age:
        return Recommendation(
            mature_after=None,
            share=share,
            reason=f"not known yet: labels still come at {format_duration(found)}, and too few predictions "
            f"are older than {curve.within}",
        )
    return Recommendation(
        mature_after=found,
        share=share,
        reason=f"{share:.4g} of the labels that come within "
        f"{curve.within} have come by {format_duration(found)}",
    )


class Gap(Record, frozen=True):
    """What predictions without a label can hide: their share, and how far that can move a mean loss."""

    share: float
    bound: float | None
    """The share times the loss's range; None where the loss has no bound."""

    def warnings(self, tolerances: Sequence[tuple[str, float]]) -> list[str]:
        """What cannot be certified, for each named tolerance, in the loss's unit."""
        if self.share == 0.0:
            return []
        if self.bound is None:
            missing = f"{100 * self.share:.3g}% have no label at the judging age"
            return [f"{missing}, and the loss has no bound: neither has what they hide; write one with a cap"]
        return [
            f"{name}: {100 * self.share:.3g}% without a label at the judging age can move the mean loss by "
            f"{self.bound:.3g}, more than {tolerance:g}; wait longer, or get more of the labels"
            for name, tolerance in tolerances
            if self.bound > tolerance
        ]


def gap(missing: int, of: int, *, floor: float, bound: float) -> Gap:
    """What `missing` of `of` predictions can hide of losses in [floor, bound]; `bound` may be infinite."""
    if not 0 <= missing <= of:
        raise InputError(f"{missing} of {of} are missing: needs 0 <= missing <= all", field="missing")
    share = missing / of if of else 0.0
    return Gap(share=share, bound=share * (bound - floor) if math.isfinite(bound) else None)


def plain_duration(age: float, *, up: bool = True) -> Micros:
    """An age as people would write one, such as 45m, 9h or 14d.

    Rounded up to the next of these, so never below the age; or down to whole units, within 10% of it. At
    least a millisecond.
    """
    if up:
        months = 30 * DAY
        return next((plain for plain in _PLAIN if plain >= age), math.ceil(age / months) * months)
    sizes = (max(1, math.floor(age / unit)) * unit for unit in _UNITS)
    return next((size for size in sizes if 0.9 * age <= size <= age), max(1, int(age) // 1_000) * 1_000)


def _counts(ages: Int64) -> bytes:
    """How many ages lie in each bin."""
    if ages.ndim != 1 or ages.dtype.kind not in "iu":
        raise InputError("ages must be whole microseconds, shape (n,)", field="ages")
    places = np.searchsorted(EDGES, ages)
    counts = np.bincount(np.minimum(places, BINS - 1), minlength=BINS)
    return counts.astype(_STORED).tobytes()


def _added(one: bytes, other: bytes) -> bytes:
    return (_unpack(one) + _unpack(other)).astype(_STORED).tobytes()


def _unpack(raw: bytes) -> Int64:
    return np.frombuffer(raw, dtype=_STORED)
