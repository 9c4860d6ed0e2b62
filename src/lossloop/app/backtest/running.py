"""One watch while it is replayed: its state, and what it has said so far."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec
import numpy as np

from lossloop.act.watches import Watch
from lossloop.app.backtest.base import Alarm, Replayed
from lossloop.app.books import STEPS, Point, WatchState
from lossloop.app.judging import Lens
from lossloop.app.reigns import Reign
from lossloop.app.stepping import again, begun, is_over, step
from lossloop.app.watches import Found, by_rows, judge_of, of_outcomes
from lossloop.app.watching import BROKEN
from lossloop.core.calendar import Block, Int64
from lossloop.core.clock import Micros
from lossloop.core.errors import InputError
from lossloop.core.records import Verdict, VerdictKind
from lossloop.judges import parse
from lossloop.judges.base import Judge
from lossloop.ledger.joined.table import Rows
from lossloop.registry import Version

Waits = Callable[[Micros], bool]
"""Whether an incident waits for a rollout at a moment."""


class Look(NamedTuple):
    """What rows or a block say to a watch, and when."""

    now: Micros
    found: Found
    at: Int64
    """When each row came; of a block, when its last row did."""
    rows: int
    block: str = ""
    delay: Micros = 0
    """How long after it came a row may be judged."""


@dataclass
class Running:
    """One watch while it is replayed."""

    lens: Lens
    name: str
    watch: Watch
    waits: Waits
    judge: Judge[Any, Any, Verdict] | None = None
    state: WatchState | None = None
    points: list[Point] = field(default_factory=list)
    made: list[Micros] = field(default_factory=list)
    alarms: list[Alarm] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    gone: int = 0
    """Predictions that it should have judged by what is not there any more."""
    _base: tuple[Micros, int] | None = None
    """Of the step of time that rows are shown in: when it began, and its first point's place."""

    def crown(self, champion: Version, reign: Reign) -> None:
        """Begin anew on a champion, where the watch can judge it."""
        self.judge = self.state = None
        try:
            self.judge = judge_of(self.lens, self.watch, champion)
        except InputError as error:
            self.failed(champion, error)
            return
        self.state = begun(self.judge, reign.crowned)

    def look_at(self, champion: Version, mine: Rows, *, now: Micros, block: Block | None) -> None:
        """Judge a champion's rows at their judging age, as the loop does at the moment `now`."""
        kind = of_outcomes(self.watch)
        if kind is None or self.judge is None:
            return
        try:
            found = kind.evidence(self.lens, self.watch, champion, mine, block)
        except BROKEN as error:
            self.failed(champion, error)
            return
        label = "" if block is None else self.lens.policy.calendar.label(block)
        delay = self.lens.policy.labels.mature_after
        self.take(champion, Look(now=now, found=found, at=mine.at, rows=len(mine), block=label, delay=delay))

    def take(self, champion: Version, look: Look) -> None:
        """Judge one look, draw its point and answer it."""
        if self.judge is None or self.state is None:
            return
        try:
            self.state, point = self._stepped(look)
        except BROKEN as error:
            self.failed(champion, error)
            return
        self._draw(point, look)
        self._answer(point, look)

    def take_together(self, champion: Version, looks: Sequence[Look], whole: Look) -> None:
        """Judge looks that are shown as one point: all at once, where that is the same.

        How rows are cut changes no bit of the evidence; but a verdict changes, and an incident ends, at the
        look where it does.
        """
        if self.judge is None or self.state is None:
            return
        cooldown, incident = self.lens.policy.cooldown, self.state.incident
        alone = self._base is not None and self._base[0] == self._began(looks[0].now)
        if not alone and (incident is None or looks[-1].now < incident + cooldown):
            try:
                state, point = self._stepped(whole)
            except BROKEN as error:
                self.failed(champion, error)
                return
            begins = point.kind == VerdictKind.ALARM and incident is None
            before = self.state.verdict
            if before is not None and before.kind == point.kind and not begins:
                self.state = state
                self._draw(point, whole)
                return
        for look in looks:
            self.take(champion, look)

    def _stepped(self, look: Look) -> tuple[WatchState, Point]:
        assert self.judge is not None
        assert self.state is not None
        return step(
            self.judge,
            self.state,
            look.found,
            watch=self.name,
            now=look.now,
            rows=look.rows,
            block=look.block,
        )

    def _draw(self, point: Point, look: Look) -> None:
        """Keep a point as `Books.put_point` does: rows of a step of time are one while they say the same."""
        made = int(look.at[-1])
        began = self._began(point.at)
        if of_outcomes(self.watch) is None and not point.block:
            if self._base is None or self._base[0] != began:
                self._base = began, len(self.points)
            else:
                place = self._base[1]
                before = self.points[place]
                if (before.version, before.kind) == (point.version, point.kind):
                    self.points[place], self.made[place] = point.after(before), made
                    return
        self.points.append(point)
        self.made.append(made)

    def _began(self, now: Micros) -> Micros:
        """When the step of time began that rows of a moment are shown in."""
        return now - now % max(1, self.lens.policy.block // STEPS)

    def _answer(self, point: Point, look: Look) -> None:
        assert self.judge is not None
        assert self.state is not None
        waits = self.waits(point.at)
        if is_over(self.state, now=point.at, cooldown=self.lens.policy.cooldown, waits=waits):
            self.state = again(self.judge, self.state)
        elif point.kind == VerdictKind.ALARM and self.state.incident is None:
            self.alarms.append(self._alarm(point, look))
            self.state = msgspec.structs.replace(self.state, incident=point.at)

    def _alarm(self, point: Point, look: Look) -> Alarm:
        assert self.state is not None
        assert self.state.verdict is not None
        at, made, verdict = point.at, int(look.at[-1]), self.state.verdict
        if not point.block and verdict.crossed_at is not None and verdict.crossed_at < len(look.at):
            made = int(look.at[verdict.crossed_at])
            at = min(at, made + look.delay)
        return Alarm(
            at=at, made=made, version=point.version, block=point.block, evidence=point.evidence,
            threshold=point.threshold, mean=point.mean, count=verdict.count, reason=verdict.reason,
        )  # fmt: skip

    def failed(self, champion: Version, error: Exception) -> None:
        """Remember why a champion could not be judged."""
        reason = str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
        problem = f"{champion.name}: {reason}"
        if problem not in self.problems:
            self.problems.append(problem)

    def told(self) -> Replayed:
        """What it would have said."""
        rows = "outcomes" if of_outcomes(self.watch) else "predictions"
        found = Replayed(
            watch=self.name, asks=self.watch.kind, promise=parse(self.watch.promise).words,
            counts=rows if by_rows(self.watch) else "blocks",
            points=tuple(self.points), alarms=tuple(self.alarms), made=tuple(self.made),
            problems=tuple(self.problems),
        )  # fmt: skip
        if not self.gone:
            return found
        why = (
            f"anything: what was sent with {self.gone:,} predictions is not in the log any more; begin "
            "behind what has expired, with --since"
        )
        return msgspec.structs.replace(found, points=(), alarms=(), made=(), problems=(why, *found.problems))


def together(looks: Sequence[Look]) -> Look:
    """Looks at rows as one, at the moment of the last; their evidence is arrays of shape (n, m)."""
    if len(looks) == 1:
        return looks[0]
    rows = sum(look.rows for look in looks)
    means = [(look.found.mean, look.rows) for look in looks if look.found.mean is not None]
    mean = sum(mean * count for mean, count in means) / sum(count for _, count in means) if means else None
    evidence = np.concatenate([look.found.evidence for look in looks])
    at = np.concatenate([look.at for look in looks])
    return Look(now=looks[-1].now, found=Found(evidence=evidence, mean=mean), at=at, rows=rows)
