"""The replay: a policy's watches over the reigns of the past, step by step as the loop takes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

from lossloop.act.policy import Policy
from lossloop.act.watches import Watch
from lossloop.app.backtest import arrivals
from lossloop.app.backtest.arrivals import Sent
from lossloop.app.backtest.base import Alarm, Day, Replayed
from lossloop.app.backtest.past import Past, Remembering
from lossloop.app.books import Point, WatchState
from lossloop.app.judging import Lens
from lossloop.app.reigns import Reign
from lossloop.app.stepping import again, begun, is_over, step
from lossloop.app.watches import by_rows, judge_of, of_outcomes
from lossloop.core.calendar import Block
from lossloop.core.clock import Micros
from lossloop.core.errors import InputError
from lossloop.core.records import Verdict, VerdictKind
from lossloop.judges import parse
from lossloop.judges.base import Judge
from lossloop.ledger.joined.table import Rows
from lossloop.registry import Version, versions

Tell = Callable[[int], None]
"""Told of rows that were replayed."""


@dataclass
class _Running:
    """One watch while it is replayed."""

    lens: Lens
    name: str
    watch: Watch
    sent: Sent
    judge: Judge[Any, Any, Verdict] | None = None
    state: WatchState | None = None
    points: list[Point] = field(default_factory=list)
    made: list[Micros] = field(default_factory=list)
    alarms: list[Alarm] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def crown(self, champion: Version, reign: Reign) -> None:
        """Begin anew on a champion, where the watch can judge it."""
        self.judge = self.state = None
        try:
            self.judge = judge_of(self.lens, self.watch, champion)
        except InputError as error:
            self._failed(champion, error)
            return
        self.state = begun(self.judge, reign.crowned)

    def look(self, champion: Version, mine: Rows, *, now: Micros, block: Block | None, waits: bool) -> None:
        """Judge a champion's rows as the loop does at the moment `now`."""
        if self.judge is None or self.state is None:
            return
        kind = of_outcomes(self.watch)
        try:
            found = (
                arrivals.evidence(self.lens, self.name, champion, mine, self.sent)
                if kind is None
                else kind.evidence(self.lens, self.watch, champion, mine, block)
            )
        except InputError as error:
            self._failed(champion, error)
            return
        label = "" if block is None else self.lens.policy.calendar.label(block)
        self.state, point = step(
            self.judge, self.state, found, watch=self.name, now=now, rows=len(mine), block=label
        )
        self.points.append(point)
        self.made.append(int(mine.at[-1]))
        self._answer(point, mine, waits=waits)

    def _answer(self, point: Point, mine: Rows, *, waits: bool) -> None:
        assert self.judge is not None
        assert self.state is not None
        if is_over(self.state, now=point.at, cooldown=self.lens.policy.cooldown, waits=waits):
            self.state = again(self.judge, self.state)
        elif point.kind == VerdictKind.ALARM and self.state.incident is None:
            self.alarms.append(self._alarm(point, mine))
            self.state = msgspec.structs.replace(self.state, incident=point.at)

    def _alarm(self, point: Point, mine: Rows) -> Alarm:
        assert self.state is not None
        assert self.state.verdict is not None
        at, made, verdict = point.at, int(mine.at[-1]), self.state.verdict
        if not point.block and verdict.crossed_at is not None and verdict.crossed_at < len(mine):
            made = int(mine.at[verdict.crossed_at])
            waited = 0 if of_outcomes(self.watch) is None else self.lens.policy.labels.mature_after
            at = min(at, made + waited)
        return Alarm(
            at=at, made=made, version=point.version, block=point.block, evidence=point.evidence,
            threshold=point.threshold, mean=point.mean, count=verdict.count,
            reason=verdict.reason,
        )  # fmt: skip

    def _failed(self, champion: Version, error: InputError) -> None:
        problem = f"{champion.name}: {error}"
        if problem not in self.problems:
            self.problems.append(problem)

    def told(self) -> Replayed:
        return Replayed(
            watch=self.name, asks=self.watch.kind, promise=parse(self.watch.promise).words,
            counts="outcomes" if by_rows(self.watch) else "blocks",
            points=tuple(self.points), alarms=tuple(self.alarms), made=tuple(self.made),
            problems=tuple(self.problems),
        )  # fmt: skip


def replay(
    past: Past, policy: Policy, sent: Sent, tell: Tell = lambda rows: None
) -> tuple[list[Replayed], list[Day]]:
    """What each watch of a policy would have said of the past, and what each block lost."""
    lens = Remembering(policy=policy, thresholds=past.thresholds)
    running = [
        _Running(lens=lens, name=name, watch=watch, sent=sent) for name, watch in policy.watches.items()
    ]
    judged = [each for each in running if of_outcomes(each.watch)]
    arriving = [each for each in running if not of_outcomes(each.watch)]
    by_block = [each for each in judged if not by_rows(each.watch)]
    days: list[Day] = []
    for reign in past.reigns:
        if reign.crowned.at >= past.until or reign.end <= past.since:
            continue
        champion = versions.find(past.books.documents, past.model, reign.crowned.version)
        for each in running:
            each.crown(champion, reign)
        for now, block, mine in champion_blocks(past, lens, reign, tell):
            days.append(_day(lens, block, champion.number, mine))
            for each in by_block:
                each.look(champion, mine, now=now, block=block, waits=past.waits(now))
        for each in judged:
            if by_rows(each.watch):
                for now, mine in _looks(past, lens, reign, each.name, tell):
                    each.look(champion, mine, now=now, block=None, waits=past.waits(now))
        if arriving:
            _arrive(past, lens, reign, champion, arriving)
    return [each.told() for each in running], days


def _arrive(
    past: Past, lens: Lens, reign: Reign, champion: Version, arriving: Sequence[_Running]
) -> None:  # fmt: skip
    """Show the predictions of a reign to watches that judge them as they arrive."""
    for now, block, mine in arrivals.arrived_blocks(past, lens, reign):
        for each in arriving:
            rows = by_rows(each.watch)
            at, of = (int(mine.at[-1]), None) if rows else (now, block)
            each.look(champion, mine, now=at, block=of, waits=past.waits(at))


def champion_blocks(
    past: Past, lens: Lens, reign: Reign, tell: Tell = lambda rows: None
) -> Iterator[tuple[Micros, Block, Rows]]:
    """Blocks that were judged in a reign, with the champion's rows, and when that was."""
    policy, crowned = lens.policy, reign.crowned
    recorded = past.recorded_blocks(policy)
    for block, start, end in past.blocks(policy, crowned.seq):
        due = policy.calendar.end(block) + policy.labels.mature_after
        told = recorded.get((crowned.version, policy.calendar.label(block)))
        now = max(due, crowned.at) if told is None or not crowned.at <= told <= reign.end else told
        if now > min(reign.end, past.now):
            return
        if told is None and now == reign.end and recorded:
            return  # in this very moment the loop changed its champion before it came to the block
        mine = _mine(lens, reign, past.table.slice(max(start, crowned.seq), end))
        tell(end - start)
        if len(mine):
            yield now, block, mine


def _looks(past: Past, lens: Lens, reign: Reign, watch: str, tell: Tell) -> Iterator[tuple[Micros, Rows]]:
    """Rows that were judged in a reign, in the batches in which the loop judged them, else by block."""
    place = max(past.first, reign.crowned.seq)
    for now, end in _recorded(past, lens, reign, watch) or _by_block(past, lens, reign):
        stop = min(end, past.end)
        if place < stop:
            mine = _mine(lens, reign, past.table.slice(place, stop))
            tell(stop - place)
            place = stop
            if len(mine):
                yield now, mine


def _recorded(past: Past, lens: Lens, reign: Reign, watch: str) -> list[tuple[Micros, int]]:
    """When the loop judged rows for this watch, and the row behind the last one each time."""
    crowned = reign.crowned
    looks = past.recorded_looks(lens.policy, watch).get(crowned.version, [])
    within = [point for point in looks if crowned.at <= point.at <= reign.end]
    if not within:
        return []
    places = past.champion_rows(crowned)
    reached = np.cumsum([point.rows for point in within], dtype=np.int64)
    return [
        (point.at, int(places[count - 1]) + 1)
        for point, count in zip(within, reached.tolist(), strict=True)
        if count <= len(places)
    ]


def _by_block(past: Past, lens: Lens, reign: Reign) -> Iterator[tuple[Micros, int]]:
    """A look for each block, once the last of its rows has reached the judging age."""
    age, last = lens.policy.labels.mature_after, min(reign.end, past.now)
    for block, _, end in past.blocks(lens.policy, reign.crowned.seq):
        now = min(lens.policy.calendar.end(block) + age, last)
        yield max(now, reign.crowned.at), min(end, past.table.rows_up_to("at", now - age))


def _mine(lens: Lens, reign: Reign, rows: Rows) -> Rows:
    mine = lens.champion_rows(rows, reign.crowned.version)
    return mine.pick(mine.seq > reign.crowned.seq)


def _day(lens: Lens, block: Block, version: int, mine: Rows) -> Day:
    known = lens.matured_scores(mine)
    came = ~np.isnan(known)
    return Day(
        block=lens.policy.calendar.label(block), first=int(mine.at[0]), last=int(mine.at[-1]),
        version=version, rows=len(mine), labelled=int(came.sum()),
        mean=float(known[came].mean()) if came.any() else None,
    )  # fmt: skip
