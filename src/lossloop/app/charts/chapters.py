"""A history cut into chapters: each has one question, and evidence that began anew with it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from lossloop.app.books import Point
from lossloop.app.charts.history import History
from lossloop.app.watches import asks_of_loss
from lossloop.core.clock import Micros

ROLLOUT, EXPERIMENT, HOLDOUT = "rollout: ", "experiment: ", "holdout: "
"""What the names of the two tests of a comparison begin with, of each sort."""
COMPARED = (ROLLOUT, EXPERIMENT, HOLDOUT)
_LEAVES_SHADOW = ("ramp", "refuse")


@dataclass(frozen=True, kw_only=True)
class Chapter:
    """The points of a watch on a version, or of a comparison of versions, by watch and time; at least one.

    A comparison is one stage of a rollout, an arm of an experiment, or a holdout.
    """

    watch: str
    """For a comparison one of COMPARED."""
    version: int
    in_shadow: bool
    points: Sequence[Point]
    era: int = 0
    """How often the loss had been switched."""
    loss: str = ""
    """What it is judged by, where that has changed."""

    @property
    def compares(self) -> bool:
        """Whether it is about the difference of versions."""
        return self.watch in COMPARED

    @property
    def title(self) -> str:
        """What it is about."""
        by = f" by {self.loss}" if self.loss else ""
        if self.watch == EXPERIMENT:
            return f"Version {self.version} in an experiment{by}"
        if self.watch == HOLDOUT:
            return f"All others beside version {self.version}, which is held out{by}"
        if self.watch == ROLLOUT:
            return f"Version {self.version} in {'shadow' if self.in_shadow else 'canary'}{by}"
        return f"Watch '{self.watch}' on version {self.version}{by}"


def chapters(history: History) -> list[Chapter]:
    """The chapters of a history, in the order in which they began."""
    ordered = sorted(history.points, key=lambda point: (_of(history, point), point.watch, point.at))
    found = []
    for (watch, version, in_shadow, era), group in groupby(ordered, key=lambda point: _of(history, point)):
        points = list(group)
        found.append(Chapter(
            watch=watch, version=version, in_shadow=in_shadow, points=points,
            era=era if era >= 0 else min(points[-1].era, len(history.earlier)),
            loss=history.eras[era].loss if history.earlier and era >= 0 else "",
        ))  # fmt: skip
    return sorted(found, key=lambda chapter: min(point.at for point in chapter.points))


def _of(history: History, point: Point) -> tuple[str, int, bool, int]:
    """A rollout's evidence begins anew when the challenger leaves the shadow; all of a loss with another one.

    The era is -1 where the loss does not matter.
    """
    sort = sort_of(point.watch)
    shadow = sort == ROLLOUT and point.at <= _left(history, point)
    return sort or point.watch, point.version, shadow, _era(history, point)


def sort_of(name: str) -> str:
    """Of which sort of comparison a test is; empty for a watch."""
    return next((sort for sort in COMPARED if name.startswith(sort)), "")


def _era(history: History, point: Point) -> int:
    era = min(point.era, len(history.earlier))
    watch = history.eras[era].watches.get(point.watch)
    return era if watch is None or asks_of_loss(watch) else -1


def _left(history: History, point: Point) -> Micros:
    """When a challenger left the shadow; before all time if in none, after all if it never did."""
    mine = [d for d in history.decisions if d.version == point.version and d.status == "done"]
    if not any(d.action == "start_rollout" and not d.share for d in mine):
        return -1
    return min((d.at for d in mine if d.action in _LEAVES_SHADOW), default=1 << 62)
