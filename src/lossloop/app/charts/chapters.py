"""A history cut into chapters: each has one question, and evidence that began anew with it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from lossloop.app.books import Point
from lossloop.app.charts.history import History
from lossloop.app.watches import asks_of_loss
from lossloop.core.clock import Micros

ROLLOUT = "rollout: "
"""What the names of a rollout's two tests begin with."""
_LEAVES_SHADOW = ("ramp", "refuse")


@dataclass(frozen=True, kw_only=True)
class Chapter:
    """The points of a watch on a version, or of one stage of a rollout, by watch and time; at least one."""

    watch: str
    """Empty for a rollout."""
    version: int
    in_shadow: bool
    points: Sequence[Point]
    era: int = 0
    """How often the loss had been switched."""
    loss: str = ""
    """What it is judged by, where that has changed."""

    @property
    def rollout(self) -> bool:
        """Whether it is about a challenger."""
        return not self.watch

    @property
    def title(self) -> str:
        """What it is about."""
        by = f" by {self.loss}" if self.loss else ""
        if not self.rollout:
            return f"Watch '{self.watch}' on version {self.version}{by}"
        return f"Version {self.version} in {'shadow' if self.in_shadow else 'canary'}{by}"


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
    rollout = point.watch.startswith(ROLLOUT)
    shadow = rollout and point.at <= _left(history, point)
    return ("" if rollout else point.watch), point.version, shadow, _era(history, point)


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
