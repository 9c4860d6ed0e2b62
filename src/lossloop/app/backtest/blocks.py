"""The blocks of the past, as a champion was judged on them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from lossloop.app.backtest.past import Past
from lossloop.app.judging import Lens
from lossloop.app.reigns import Reign
from lossloop.core.calendar import Block
from lossloop.core.clock import Micros
from lossloop.ledger.joined.table import Rows

Tell = Callable[[int], None]
"""Told of rows that were replayed."""


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
        mine = mine_of(lens, reign, past.table.slice(max(start, crowned.seq), end))
        tell(end - start)
        if len(mine):
            yield now, block, mine


def mine_of(lens: Lens, reign: Reign, rows: Rows) -> Rows:
    """The rows that a reign's champion answered as champion."""
    mine = lens.champion_rows(rows, reign.crowned.version)
    return mine.pick(mine.seq > reign.crowned.seq)
