"""The watches a policy may have: a record per kind, with the keys that this kind takes.

A kind is told by its key `kind`. How it is judged is elsewhere (`app/watches`): here stands only what can be
written, and what is wrong with it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated

from lossloop.core.clock import Duration
from lossloop.core.records import Record
from lossloop.core.seasons import Season
from lossloop.core.written import Share

LEAST = 1e-100
"""Of a limit or a tolerance: losses are divided by it, and the largest is 1e100."""

Names = Annotated[tuple[str, ...], "names"]
"""Some names, written as a list, or ``all``, which is none of them."""
Wrong = tuple[str, str]
"""A key, and what is wrong with its value."""


class Watch(Record, frozen=True, tag_field="kind"):
    """A standing question about a model's champion, and the promise on its false alarms."""

    promise: str

    @property
    def kind(self) -> str:
        """The kind's name in a policy."""
        return str(self.__struct_config__.tag)

    def problems(self) -> Iterator[Wrong]:
        """What is wrong with the watch, by key."""
        yield from ()


class GuardrailWatch(Watch, frozen=True, tag="guardrail"):
    """Is the mean loss at most `limit`?"""

    limit: float

    def problems(self) -> Iterator[Wrong]:
        """See `Watch`."""
        yield from positive("limit", self.limit)


class RegressionWatch(Watch, frozen=True, tag="regression"):
    """Is the mean loss at most the reference's upper bound plus `tolerance`?"""

    tolerance: float
    against: str = "reference"

    def problems(self) -> Iterator[Wrong]:
        """See `Watch`."""
        yield from positive("tolerance", self.tolerance)
        if self.against != "reference":
            yield "against", f"{self.against!r} is not possible; there are: reference"


class DriftWatch(Watch, frozen=True, tag="drift"):
    """Do the features look as they did in the reference, within `tolerance`?"""

    features: Names = ()
    """Which are looked at; none for all of the profile."""
    tolerance: float = 0.02
    joint: bool = False
    """Whether a domain classifier looks at how they go together."""

    def problems(self) -> Iterator[Wrong]:
        """See `Watch`."""
        yield from share("tolerance", self.tolerance)


class PredictionShiftWatch(Watch, frozen=True, tag="prediction_shift"):
    """Do the predictions look as they did in the reference, within `tolerance`?"""

    tolerance: float = 0.02

    def problems(self) -> Iterator[Wrong]:
        """See `Watch`."""
        yield from share("tolerance", self.tolerance)


class EstimateWatch(Watch, frozen=True, tag="estimate"):
    """Is the loss that is estimated before labels come within `limit`, or the reference plus `tolerance`?"""

    limit: float | None = None
    tolerance: float | None = None
    audit: Share | None = None
    """How many predictions are drawn for an audit; it is then judged at the judging age, by their labels."""

    def problems(self) -> Iterator[Wrong]:
        """See `Watch`."""
        if (self.limit is None) == (self.tolerance is None):
            yield "kind", "an estimate needs either the key 'limit' or the key 'tolerance'"
        for key, number in (("limit", self.limit), ("tolerance", self.tolerance)):
            if number is not None:
                yield from positive(key, number)


class SeasonalWatch(Watch, frozen=True, tag="seasonal"):
    """Is the mean loss at most the limit of its season?"""

    season: Season
    limit: float | None = None
    """Of a season as the reference's is on average; each gets its share of it, as the reference has it."""
    limits: dict[str, float] = {}
    """The limit of each part of the season, by its name."""

    def problems(self) -> Iterator[Wrong]:
        """See `Watch`."""
        if (self.limit is None) == (not self.limits):
            yield "kind", "a seasonal watch needs either the key 'limit' or the key 'limits'"
        if self.limit is not None:
            yield from positive("limit", self.limit)
        for number in self.limits.values():
            yield from positive("limits", number)
        if self.limits and set(self.limits) != set(self.season.names):
            names = ", ".join(self.season.names)
            yield "limits", f"needs a limit for each {self.season}, and no other: {names}"


class BaselineWatch(Watch, frozen=True, tag="baseline"):
    """Is the mean loss at most that of the reference's baseline plus `tolerance`, on the same rows?"""

    tolerance: float
    clip_difference: float | None = None
    """Differences are cut to this; needed where the loss is unbounded."""

    def problems(self) -> Iterator[Wrong]:
        """See `Watch`."""
        if not (math.isfinite(self.tolerance) and self.tolerance >= 0):
            yield "tolerance", f"must be 0 or above, in the loss's unit, not {self.tolerance:g}"
        if self.clip_difference is not None and not (
            math.isfinite(self.clip_difference) and self.clip_difference > max(self.tolerance, LEAST)
        ):
            yield "clip_difference", "must be above the tolerance, or no evidence could reach it"


class SlicesWatch(Watch, frozen=True, tag="slices"):
    """Is the mean loss of each slice at most its reference's upper bound plus `tolerance`, or `limit`?"""

    by: Names = ()
    """Which of the policy's slices; none for all of them."""
    tolerance: float | None = None
    limit: float | None = None

    def problems(self) -> Iterator[Wrong]:
        """See `Watch`."""
        if (self.tolerance is None) == (self.limit is None):
            yield "kind", "slices need either a tolerance, above the reference, or a limit"
        for key, number in (("tolerance", self.tolerance), ("limit", self.limit)):
            if number is not None:
                yield from positive(key, number)


class LatencyWatch(Watch, frozen=True, tag="latency"):
    """Do at most `tolerance` of the answers take longer than `slower_than`?

    A limit for a percentile: that the 99th is at most 200 ms says that at most 1% are slower.
    """

    slower_than: Duration
    tolerance: Share

    def problems(self) -> Iterator[Wrong]:
        """See `Watch`."""
        if self.slower_than <= 0:
            yield "slower_than", "must be longer than nothing, such as 200ms"


class ErrorsWatch(Watch, frozen=True, tag="errors"):
    """Do at most `tolerance` of the predictions fail?"""

    tolerance: Share


AnyWatch = (
    BaselineWatch | DriftWatch | ErrorsWatch | EstimateWatch | GuardrailWatch | LatencyWatch
    | PredictionShiftWatch | RegressionWatch | SeasonalWatch | SlicesWatch
)  # fmt: skip
"""Every kind there is; strict reading picks one by its tag."""


def positive(key: str, number: float) -> Iterator[Wrong]:
    """Problems with a number that losses are divided by."""
    if not (math.isfinite(number) and number > 0):
        yield key, f"must be above 0, not {number:g}"
    elif number < LEAST:
        yield key, f"{number:g} is too small to divide by; write {LEAST:g} or more"


def share(key: str, number: float) -> Iterator[Wrong]:
    """Problems with a share of rows, or of ranks."""
    if not 0.0 < number < 1.0:
        yield key, f"must lie above 0 and below 1, not at {number:g}"
