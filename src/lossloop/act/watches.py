"""The watches a policy may have: a record per kind, with the keys that this kind takes.

A kind is told by its key `kind`. How it is judged is elsewhere (`app/watches`): here stands only what can be
written, and what is wrong with it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated

from lossloop.core.records import Record

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


AnyWatch = GuardrailWatch | RegressionWatch | DriftWatch | PredictionShiftWatch
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
