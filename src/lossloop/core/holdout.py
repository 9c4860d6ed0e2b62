"""A holdout: units that keep one version, so that it can be seen what all later ones are worth."""

from __future__ import annotations

from collections.abc import Iterator

from lossloop.core.clock import DAY, Duration
from lossloop.core.records import Record
from lossloop.core.written import Share

LARGEST = 0.5
"""Of all units: whoever is held out has an old version."""


class Holdout(Record, frozen=True):
    """A share of the units that one version answers, whatever is rolled out to all others.

    They show what the versions since then are worth, also where a model's answers shape its own future data.
    Who is held out is drawn anew every `period`, so that nobody has the old version for ever.
    """

    share: Share
    version: int
    period: Duration = 90 * DAY
    error: Share = 0.05
    """The chance in a period to find the others worse though they are not; and as much for better."""

    def problems(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        """What is wrong with it, by key."""
        if self.share > LARGEST:
            yield ("share",), f"hold out {LARGEST:.0%} of the units at most"
        if self.version < 1:
            yield ("version",), "versions are numbered from 1"
        if self.period <= 0:
            yield ("period",), "must last longer than nothing, such as 90d"
