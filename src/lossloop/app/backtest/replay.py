"""The replay: a policy's watches over the reigns of the past, step by step as the loop takes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from lossloop.act.policy import Policy
from lossloop.app.backtest.arrivals import Arriving, sent_of
from lossloop.app.backtest.base import Day, Replayed
from lossloop.app.backtest.blocks import Tell, champion_blocks, mine_of
from lossloop.app.backtest.measuring import champion_of
from lossloop.app.backtest.past import Past, Remembering
from lossloop.app.backtest.running import Running
from lossloop.app.judging import Lens
from lossloop.app.reigns import Reign
from lossloop.app.watches import by_rows, of_outcomes
from lossloop.core.calendar import Block
from lossloop.core.clock import Micros
from lossloop.ledger.joined.table import Rows
from lossloop.registry import Version


def replay(past: Past, policy: Policy, tell: Tell = lambda rows: None) -> tuple[list[Replayed], list[Day]]:
    """What each watch of a policy would have said of the past, and what each block lost."""
    lens = Remembering(policy=policy, thresholds=past.thresholds)
    running = [
        Running(lens=lens, name=name, watch=watch, waits=past.waits) for name, watch in policy.watches.items()
    ]
    judged = [each for each in running if of_outcomes(each.watch)]
    arriving = [each for each in running if not of_outcomes(each.watch)]
    sent, days = sent_of(past, policy), list[Day]()
    for reign in past.reigns:
        if reign.crowned.at >= past.until or reign.end < past.since:
            continue
        champion = champion_of(past, lens, reign.crowned.version)
        for each in running:
            each.crown(champion, reign)
        days += _replay_outcomes(past, lens, reign, champion, judged, tell=tell)
        if arriving:
            shown = Arriving(past=past, policy=policy, champion=champion, reign=reign, sent=sent)
            shown.replay(arriving, tell)
    return [each.told() for each in running], days


def _replay_outcomes(
    past: Past, lens: Lens, reign: Reign, champion: Version, judged: Sequence[Running], *, tell: Tell
) -> list[Day]:
    """Show watches that wait for outcomes one reign; what each of its blocks lost."""
    days = []
    for now, block, mine in champion_blocks(past, lens, reign, tell):
        days.append(_day(lens, block, champion.number, mine))
        for each in judged:
            if not by_rows(each.watch):
                each.look_at(champion, mine, now=now, block=block)
    for each in judged:
        if by_rows(each.watch):
            for now, mine in _looks(past, lens, reign, each.name, tell):
                each.look_at(champion, mine, now=now, block=None)
    return days


def _looks(past: Past, lens: Lens, reign: Reign, watch: str, tell: Tell) -> Iterator[tuple[Micros, Rows]]:
    """Rows that were judged in a reign, in the batches in which the loop judged them, else by block."""
    place = max(past.first, reign.crowned.seq)
    for now, end in _recorded(past, lens, reign, watch) or _by_block(past, lens, reign):
        stop = min(end, past.end)
        if place < stop:
            mine = mine_of(lens, reign, past.table.slice(place, stop))
            tell(stop - place)
            place = stop
            if len(mine):
                yield now, mine


def _recorded(past: Past, lens: Lens, reign: Reign, watch: str) -> list[tuple[Micros, int]]:
    """When the loop judged rows for this watch, and the row behind the last one each time."""
    return past.reached(reign, past.recorded_looks(lens.policy, watch))


def _by_block(past: Past, lens: Lens, reign: Reign) -> Iterator[tuple[Micros, int]]:
    """A look for each block, once the last of its rows has reached the judging age."""
    age, last = lens.policy.labels.mature_after, min(reign.end, past.now)
    for block, _, end in past.blocks(lens.policy, reign.crowned.seq):
        now = min(lens.policy.calendar.end(block) + age, last)
        yield max(now, reign.crowned.at), min(end, past.table.rows_up_to("at", now - age))


def _day(lens: Lens, block: Block, version: int, mine: Rows) -> Day:
    known = lens.matured_scores(mine)
    came = ~np.isnan(known)
    return Day(
        block=lens.policy.calendar.label(block), first=int(mine.at[0]), last=int(mine.at[-1]),
        version=version, rows=len(mine), labelled=int(came.sum()),
        mean=float(known[came].mean()) if came.any() else None,
    )  # fmt: skip
