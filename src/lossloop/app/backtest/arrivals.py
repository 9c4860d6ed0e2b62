"""Predictions as they arrived: what watches of drift, of answers and of estimates are replayed on.

The ledger's columns have the answers. Features lie in the log, and are read from there once a watch asks for
them; those of rows that expired are gone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa

from lossloop.app.arriving import Sums, found_of_block, found_of_rows
from lossloop.app.backtest.past import Past
from lossloop.app.home import Home
from lossloop.app.judging import CHAMPION, Lens
from lossloop.app.recompute.features import read_features
from lossloop.app.reigns import Reign
from lossloop.app.watches import Arrived, Found, by_rows, of_arrivals
from lossloop.core.calendar import Block
from lossloop.core.clock import Micros
from lossloop.core.errors import InputError
from lossloop.ledger.joined.columns import Array
from lossloop.ledger.joined.keys import Keys
from lossloop.ledger.joined.table import Rows, Table, history_of
from lossloop.ledger.store import Store
from lossloop.registry import Version

FEATURES, LATENCY = "features", "latency_ms"


@dataclass(frozen=True)
class Sent:
    """The features of a model's predictions in a span, from the log."""

    home: Home
    store: Store
    past: Past

    @cached_property
    def _columns(self) -> dict[str, Array]:
        past, log = self.past, self.home.log.reader()
        wanted = np.zeros(len(past.table), dtype=bool)
        wanted[past.first : past.end] = True
        none = np.zeros(len(Table(self.store, history_of(past.model))), dtype=bool)
        try:
            keys = Keys(self.home.settings().secret)
            return read_features(log, self.store, keys, past.model, (none, wanted))[1]
        finally:
            log.close()

    def of(self, rows: Rows) -> pa.Array | None:
        """A struct of the features of some rows; null where none were sent. None where nobody sent any."""
        if not self._columns:
            return None
        found = {
            name: pa.array(values[rows.seq - 1], from_pandas=True) for name, values in self._columns.items()
        }
        there = np.zeros(len(rows), dtype=bool)
        for column in found.values():
            there |= column.is_valid().to_numpy(zero_copy_only=False)
        return pa.StructArray.from_arrays(list(found.values()), names=list(found), mask=pa.array(~there))


def arrived_blocks(past: Past, lens: Lens, reign: Reign) -> Iterator[tuple[Micros, Block, Rows]]:
    """Blocks that were over in a reign, with the champion's rows, and when they were."""
    crowned, calendar = reign.crowned, lens.policy.calendar
    recorded = past.recorded_arrivals(lens.policy)
    for block, start, end in past.blocks(lens.policy, crowned.seq):
        over = max(calendar.end(block), crowned.at)
        now = recorded.get((crowned.version, calendar.label(block)), over)
        if now > min(reign.end, past.now):
            return
        rows = past.table.slice(max(start, crowned.seq), end)
        # Those that failed too: they have no loss, but whoever watches arrivals saw them.
        mine = rows.pick(
            (rows.version == crowned.version) & (rows.role == CHAMPION) & (rows.seq > crowned.seq)
        )
        if len(mine):
            yield now, block, mine


def evidence(lens: Lens, name: str, champion: Version, rows: Rows, sent: Sent) -> Found:
    """What rows say to a watch of arrivals: of each, or, where it judges blocks, of all of them together.

    Raises:
        InputError: The watch cannot judge this champion, or there are more rows than features are read of.
    """
    watch = lens.policy.watches[name]
    kind = of_arrivals(watch)
    assert kind is not None
    if kind.asks == LATENCY:
        raise InputError("what answers took is not among the ledger's columns: not replayed", field=name)
    features = sent.of(rows) if kind.asks == FEATURES else None
    arrived = Arrived(y_pred=rows.y_pred, unit=rows.unit, seq=rows.seq, features=features)
    said = kind.evidence(lens, watch, champion, arrived)
    if by_rows(watch):
        return found_of_rows(lens, name, said)
    return found_of_block(lens, name, Sums(rows=0, totals=b"", counts=b"").add(said))
