"""Watches that judge predictions as they arrive: rows at once, blocks once they are over.

Of an open block only sums are kept, so that it costs the same however many predictions it has.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import msgspec
import numpy as np
import pyarrow as pa

from lossloop.app.acting import Acting
from lossloop.app.books import Books, Crowned
from lossloop.app.judging import CHAMPION, Lens
from lossloop.app.references import version_under
from lossloop.app.watches import Arrived, Found, OfArrivals, by_rows, of_arrivals
from lossloop.app.watches.base import mean_of
from lossloop.app.watching import BROKEN, fail, judge_found
from lossloop.core.calendar import Block, Int64
from lossloop.core.clock import Micros
from lossloop.core.records import Record
from lossloop.ledger.facts import optional
from lossloop.ledger.joined.columns import Floats, numbers
from lossloop.ledger.joined.join import Arrivals

_NONE = -(1 << 62)


class Sums(Record, frozen=True):
    """What an open block's predictions say so far; `totals` and `counts` are m little-endian float64."""

    rows: int
    totals: bytes
    counts: bytes

    def add(self, evidence: Floats) -> Sums:
        """With more rows, shape (n, m); NaN says nothing."""
        there = ~np.isnan(evidence)
        totals, counts = np.where(there, evidence, 0.0).sum(axis=0), there.sum(axis=0).astype(np.float64)
        if self.rows:
            totals, counts = totals + np.frombuffer(self.totals), counts + np.frombuffer(self.counts)
        return Sums(rows=self.rows + len(evidence), totals=totals.tobytes(), counts=counts.tobytes())

    @property
    def said(self) -> int:
        """How many rows said something."""
        return int(np.frombuffer(self.counts).max(initial=0.0))

    @property
    def means(self) -> Floats:
        """The mean of each column, shape (1, m); NaN of nothing."""
        totals, counts = np.frombuffer(self.totals), np.frombuffer(self.counts)
        means: Floats = np.divide(totals, counts, out=np.full(len(counts), np.nan), where=counts > 0)
        return means[None]


NOTHING = Sums(rows=0, totals=b"", counts=b"")


class Gathered(Record, frozen=True):
    """The blocks of a champion that a watch waits for, and the last one it has judged."""

    version: int
    since: Micros
    passed: Block = _NONE
    open: dict[str, Sums] = {}
    """By block: in JSON a key is text."""


def take_arrivals(acting: Acting, lens: Lens, batch: pa.RecordBatch, arrived: list[Arrivals]) -> None:
    """Show new predictions to the watches that look at arrivals."""
    crowned = acting.books.crowned(acting.model)
    watches = list(_watches(lens))
    if crowned is None or not watches:
        return
    for new in arrived:
        mine = (new.version == crowned.version) & (new.role == CHAMPION) & (new.seq > crowned.seq)
        if not mine.any():
            continue
        mine_of = shown(batch, new, mine)
        for name, kind in watches:
            if acting.books.crowned(acting.model) != crowned:
                return  # an alarm of the watch before changed the champion: these rows are the old one's
            _take(acting, lens, name, kind, mine_of, new.block[mine])


def judge_arrivals(acting: Acting, lens: Lens) -> None:
    """Judge the blocks of arrivals that are over."""
    for name, block in list(closed(acting.books, acting.model, lens, acting.now)):
        gathered = acting.books.documents.get("gathered", f"{acting.model}/{name}", Gathered)
        if gathered is None or str(block) not in gathered.open:
            continue
        sums = gathered.open[str(block)]
        rest = {each: kept for each, kept in gathered.open.items() if each != str(block)}
        after = msgspec.structs.replace(gathered, passed=block, open=rest)
        acting.books.documents.put("gathered", f"{acting.model}/{name}", after)
        crowned = acting.books.crowned(acting.model)
        if crowned is not None and _is_of(gathered, crowned):
            judge_found(acting, lens, name, found_of_block(lens, name, sums), rows=sums.rows, block=block)


def closed(books: Books, model: str, lens: Lens, now: Micros) -> Iterator[tuple[str, Block]]:
    """Watches and their blocks that are over, oldest first."""
    for name, _ in _watches(lens):
        gathered = books.documents.get("gathered", f"{model}/{name}", Gathered)
        for block in sorted(map(int, gathered.open)) if gathered is not None else ():
            if lens.policy.calendar.end(block) <= now:
                yield name, block


def _watches(lens: Lens) -> Iterator[tuple[str, OfArrivals]]:
    for name, watch in lens.policy.watches.items():
        if (kind := of_arrivals(watch)) is not None:
            yield name, kind


def shown(batch: pa.RecordBatch, new: Arrivals, mine: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Arrived:
    """Some of the new predictions of a batch, as watches see them."""
    places = new.place[mine]
    features, took = (_of(batch, name, places) for name in ("features", "latency_ms"))
    return Arrived(
        y_pred=new.y_pred[mine], unit=new.unit[mine], seq=new.seq[mine], features=features,
        latency_ms=None if took is None else numbers(took),
    )  # fmt: skip


def _of(batch: pa.RecordBatch, name: str, places: Int64) -> pa.Array | None:
    """Some rows of a column that may be left out."""
    column = optional(batch, name)
    return column if column is None or len(places) == batch.num_rows else column.take(pa.array(places))


def _take(acting: Acting, lens: Lens, name: str, kind: OfArrivals, shown: Arrived, blocks: Int64) -> None:
    crowned, watch = acting.books.crowned(acting.model), lens.policy.watches[name]
    if crowned is None:
        return
    champion = version_under(acting.books.documents, lens, crowned.version)
    try:
        evidence = kind.evidence(lens, watch, champion, shown)
    except BROKEN as error:
        fail(acting, name, error)
        return
    if by_rows(watch):
        found = found_of_rows(lens, name, evidence)
        judge_found(acting, lens, name, found, rows=len(shown), block=None)
    else:
        _gather(acting.books, f"{acting.model}/{name}", crowned, evidence, blocks)


def found_of_rows(lens: Lens, name: str, evidence: Floats) -> Found:
    """What rows say to a watch that judges them."""
    kind = of_arrivals(lens.policy.watches[name])
    shows = kind is not None and kind.shows_mean
    return Found(evidence=evidence, mean=mean_of(evidence.ravel()) if shows else None)


def found_of_block(lens: Lens, name: str, sums: Sums) -> Found:
    """What a block that is over says to a watch that judges blocks."""
    found, kind = found_of_rows(lens, name, sums.means), of_arrivals(lens.policy.watches[name])
    said = found.evidence if kind is None else kind.of_block(sums.means, sums.said)
    return replace(found, evidence=said)


def _gather(books: Books, key: str, crowned: Crowned, evidence: Floats, blocks: Int64) -> None:
    """Add rows to their blocks; a block that was judged takes no more."""
    gathered = books.documents.get("gathered", key, Gathered)
    if gathered is None or not _is_of(gathered, crowned):
        gathered = Gathered(version=crowned.version, since=crowned.at)
    sums = dict(gathered.open)
    for block in np.unique(blocks[blocks > gathered.passed]).tolist():
        before = sums.get(str(block)) or NOTHING
        sums[str(block)] = before.add(evidence[blocks == block])
    books.documents.put("gathered", key, msgspec.structs.replace(gathered, open=sums))


def _is_of(gathered: Gathered, crowned: Crowned) -> bool:
    return gathered.version == crowned.version and gathered.since == crowned.at
