"""Watches of arrivals, replayed: the frames that predictions came in, one by one, as the loop met them.

What rows say depends on no border of a frame; the sums of a block do, in their last bits, and so does the
moment when an incident ends. Where the loop has judged the same blocks, its own moments are taken.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import groupby

import numpy as np

from lossloop.act.policy import Policy
from lossloop.app.arriving import NOTHING, Sums, found_of_block, found_of_rows
from lossloop.app.backtest.past import Closings, Past
from lossloop.app.backtest.running import Look, Running, together
from lossloop.app.backtest.sent import Said, Sent
from lossloop.app.books import STEPS
from lossloop.app.judging import CHAMPION
from lossloop.app.reigns import Reign
from lossloop.app.watches import Arrived, OfArrivals, by_rows, of_arrivals
from lossloop.app.watching import BROKEN
from lossloop.core.calendar import Block
from lossloop.core.clock import Micros
from lossloop.ledger.joined.places import Came
from lossloop.ledger.joined.table import Rows
from lossloop.registry import Version

_AT_ONCE = 1 << 16
"""Rows that lie between two borders at most, where no frame is known."""


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """A champion's rows of one frame, and when the loop met it."""

    now: Micros
    rows: Rows
    said: Said


@dataclass
class _Gathering:
    """A watch's blocks of one reign: what their rows say so far, and when the last of them came."""

    sums: dict[Block, Sums] = field(default_factory=dict)
    last: dict[Block, Micros] = field(default_factory=dict)


@dataclass(kw_only=True)
class Arriving:
    """Watches that look at arrivals, and one reign that they are shown.

    Args:
        past: What came.
        policy: Theirs.
        champion: Who reigned.
        reign: From when to when.
        sent: Has the features; None where no watch looks at them.
    """

    past: Past
    policy: Policy
    champion: Version
    reign: Reign
    sent: Sent | None

    def replay(self, running: Sequence[Running], tell: Callable[[int], None]) -> None:
        """Show them what came in the reign."""
        by_block = {each.name: _Gathering() for each in running if not by_rows(each.watch)}
        span = max(1, self.policy.block // STEPS)
        came = arrivals(self.past, self.reign, self.sent)
        for _, at_once in groupby(came, key=lambda each: each.now // span):
            looks: dict[str, list[Look]] = defaultdict(list)
            for arrival in at_once:
                tell(len(arrival.rows))
                for each in running:
                    look = _look(each, self.champion, arrival)
                    if look is not None and each.name in by_block:
                        self._gather(by_block[each.name], look, arrival.rows)
                    elif look is not None:
                        looks[each.name].append(look)
            for each in running:
                if looks[each.name]:
                    each.take_together(self.champion, looks[each.name], together(looks[each.name]))
        for each in running:
            if each.name in by_block:
                self._judge_blocks(each, by_block[each.name])

    @cached_property
    def _closings(self) -> Closings:
        return self.past.closings(self.policy)

    def _gather(self, gathering: _Gathering, look: Look, rows: Rows) -> None:
        """Add rows to their blocks; a block that the loop has judged takes no more than it had."""
        calendar = self.policy.calendar
        blocks = rows.block if calendar == self._closings.calendar else calendar.blocks(rows.at)
        for block in np.unique(blocks).tolist():
            before, here = gathering.sums.get(block, NOTHING), blocks == block
            closing = self._closings.of(self.reign, calendar.label(block))
            if closing is None or before.rows < closing.rows:
                gathering.sums[block] = before.add(look.found.evidence[here])
                gathering.last[block] = int(rows.at[here][-1])

    def _judge_blocks(self, each: Running, gathering: _Gathering) -> None:
        """Judge the blocks that were over in this reign, and lie whole in the span."""
        calendar = self.policy.calendar
        whole = {block for block, _, _ in self.past.blocks(self.policy, self.reign.crowned.seq)}
        for block in sorted(whole.intersection(gathering.sums)):
            label, sums = calendar.label(block), gathering.sums[block]
            closing = self._closings.of(self.reign, label)
            now = max(calendar.end(block), self.reign.crowned.at) if closing is None else closing.at
            if now > min(self.reign.end, self.past.now):
                return
            found, last = found_of_block(each.lens, each.name, sums), np.array([gathering.last[block]])
            each.take(self.champion, Look(now=now, found=found, at=last, rows=sums.rows, block=label))


def arrivals(past: Past, reign: Reign, sent: Sent | None) -> Iterator[Arrival]:
    """The champion's rows of each frame, oldest first."""
    crowned, clock, met = reign.crowned, reign.crowned.at, past.met(reign)
    behind = past.next_crowned(reign)
    first, end = max(past.first, crowned.seq), min(past.end, len(past.table) if behind is None else behind)
    for frame in borders(past, first, end):
        rows = past.table.slice(max(frame.first, first), min(frame.end, end))
        clock = max(clock, _moment(past, frame, rows))
        mine = rows.pick((rows.version == crowned.version) & (rows.role == CHAMPION))
        if len(mine):
            clock = max(clock, met.get(int(mine.seq[-1]), clock))
            said = Said() if sent is None else sent.of(frame, mine.key_low)
            yield Arrival(now=clock, rows=mine, said=said)


def borders(past: Past, first: int, end: int) -> Iterator[Came]:
    """The frames that rows `first` to `end` came in; where none were noted, so many rows at a time."""
    reached = first
    for frame in past.frames:
        if frame.end <= first or frame.first >= end:
            continue
        yield from _unknown(reached, frame.first)
        yield frame
        reached = frame.end
    yield from _unknown(reached, end)


def sent_of(past: Past, policy: Policy) -> Sent | None:
    """What was sent with predictions of the past, where a watch looks at it."""
    kinds = [of_arrivals(watch) for watch in policy.watches.values()]
    if past.log is None or not any(kind is not None and kind.asks for kind in kinds):
        return None
    frames = [each for each in past.frames if past.first < each.end and each.first < past.end]
    return Sent(log=past.log, keys=past.keys, store=past.store, model=past.model, frames=frames)


def _unknown(first: int, end: int) -> Iterator[Came]:
    for start in range(first, end, _AT_ONCE):
        yield Came(first=start, end=min(end, start + _AT_ONCE), segment="", start=0)


def _moment(past: Past, frame: Came, rows: Rows) -> Micros:
    """When the loop met a frame: at its receipt; in a replay of events at its first one."""
    if not past.by_event:
        return int(rows.at[0])
    (times,) = past.table.columns(["time"], np.arange(frame.first, frame.end))
    return int(times.min())


def _look(each: Running, champion: Version, arrival: Arrival) -> Look | None:
    """What a frame's rows say to a watch; None where it cannot judge them."""
    kind = _kind(each)
    if each.judge is None or each.gone:
        each.gone += arrival.said.gone if each.gone else 0
        return None
    if kind.asks and arrival.said.gone:
        each.gone = arrival.said.gone
        return None
    rows, said = arrival.rows, arrival.said
    shown = Arrived(
        y_pred=_as_sent(rows),
        unit=rows.unit,
        seq=rows.seq,
        features=said.features,
        latency_ms=said.latency_ms,
    )
    try:
        evidence = kind.evidence(each.lens, each.watch, champion, shown)
    except BROKEN as error:
        each.failed(champion, error)
        return None
    found = found_of_rows(each.lens, each.name, evidence)
    return Look(now=arrival.now, found=found, at=rows.at, rows=len(rows))


def _kind(each: Running) -> OfArrivals:
    kind = of_arrivals(each.watch)
    assert kind is not None
    return kind


def _as_sent(rows: Rows) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """What was predicted, in as many columns as the frame had: a table has as many as any row of it."""
    if rows.y_pred.ndim == 1:
        return rows.y_pred
    width = int(np.count_nonzero(~np.isnan(rows.y_pred), axis=1).max(initial=1))
    return rows.y_pred[:, : max(1, width)]
