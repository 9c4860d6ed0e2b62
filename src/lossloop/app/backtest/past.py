"""The past as a policy would have looked at it: a champion's rows by block, and when they were judged."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np

from lossloop.act.policy import Policy
from lossloop.app.books import Books, Crowned, Point
from lossloop.app.eras import switches
from lossloop.app.judging import CHAMPION, Lens
from lossloop.app.reigns import Reign, reigns, rollout_times
from lossloop.app.watches import of_arrivals
from lossloop.core.calendar import Block, Calendar, Int64
from lossloop.core.clock import Micros
from lossloop.core.thresholds import Thresholds
from lossloop.ledger.base import LogReader
from lossloop.ledger.joined.columns import Floats
from lossloop.ledger.joined.keys import Keys
from lossloop.ledger.joined.places import Came, frames_of
from lossloop.ledger.joined.table import Rows, Table
from lossloop.ledger.store import Store
from lossloop.registry import Reference, versions

MOST_KEPT = 4 << 20
"""Losses that are kept while the same rows may be asked for again."""


class Closing(NamedTuple):
    """When the loop judged a block, and how many rows it had."""

    at: Micros
    rows: int


@dataclass(frozen=True, kw_only=True)
class Closings:
    """When the loop judged blocks of arrivals, by version and block."""

    calendar: Calendar
    found: Mapping[tuple[int, str], Sequence[Closing]]

    def of(self, reign: Reign, block: str) -> Closing | None:
        """When a block was judged in a reign; None where it was not, or nobody knows."""
        there = self.found.get((reign.crowned.version, block), ())
        return next((each for each in there if reign.crowned.at <= each.at <= reign.end), None)


@dataclass(frozen=True, kw_only=True)
class Past:
    """What the ledger holds of a model, read once and never changed.

    Args:
        table: Its predictions.
        since: From when rows are replayed, and `until` before when.
        now: Where the loop's clock stands: what was not due by then is not judged.
        store: Where all of it lies.
        keys: How ids became keys.
        by_event: Whether time was that of events, and not of receipt.
        log: Has what was sent with predictions; None where that is not asked for.
    """

    model: str
    store: Store
    keys: Keys
    books: Books
    table: Table
    by_event: bool = False
    log: LogReader | None = None
    since: Micros
    until: Micros
    now: Micros
    measures: dict[tuple[str, int], tuple[Reference | None, bool]] = field(
        default_factory=dict, repr=False, compare=False
    )
    """References under other losses, as `measuring` keeps them."""

    @cached_property
    def in_force(self) -> Policy:
        return self.books.policy(self.model)

    @cached_property
    def thresholds(self) -> tuple[tuple[int, Thresholds], ...]:
        return versions.thresholds(self.books.documents, self.model)

    @cached_property
    def reigns(self) -> list[Reign]:
        return reigns(self.books, self.model, self.table)

    @cached_property
    def _rollouts(self) -> list[tuple[Micros, Micros]]:
        return list(rollout_times(self.books, self.model))

    @cached_property
    def _points(self) -> list[Point]:
        return self.books.points(self.model)

    @property
    def champions(self) -> list[int]:
        """The versions that reigned in the span."""
        return sorted({
            reign.crowned.version for reign in self.reigns
            if reign.crowned.at < self.until and reign.end > self.since
        })  # fmt: skip

    def waits(self, now: Micros) -> bool:
        """Whether a rollout ran at a moment: until its end an incident's actions have not had their time."""
        return any(start < now <= end for start, end in self._rollouts)

    @property
    def first(self) -> int:
        """The number of the first row that is replayed, from 0."""
        return self.table.rows_up_to("at", self.since - 1)

    @property
    def end(self) -> int:
        """The number of the row behind the last one."""
        return self.table.rows_up_to("at", self.until - 1)

    def recorded_blocks(self, policy: Policy) -> dict[tuple[int, str], Micros]:
        """When the loop judged blocks, by version and block; nothing where this policy has others."""
        if not cuts_alike(policy, self.in_force):
            return {}
        return {
            (point.version, point.block): point.at
            for point in self._points
            if point.block and point.watch not in self._arriving
        }

    def closings(self, policy: Policy) -> Closings:
        """The same of blocks of arrivals, which are judged once they are over."""
        found: dict[tuple[int, str], list[Closing]] = defaultdict(list)
        if policy.calendar == self.in_force.calendar:
            for point in self._points:
                if point.block and point.watch in self._arriving:
                    found[point.version, point.block].append(Closing(at=point.at, rows=point.rows))
        return Closings(calendar=self.in_force.calendar, found=found)

    @cached_property
    def _arriving(self) -> set[str]:
        return {name for name, watch in self.in_force.watches.items() if of_arrivals(watch)}

    def recorded_looks(self, policy: Policy, watch: str) -> list[Point]:
        """The loop's looks at rows for a watch; nothing where this policy has another watch.

        Nor where the loss was switched: the rows of before were looked at for another loss, and those that
        waited then for none.
        """
        same = policy.watches[watch] == self.in_force.watches.get(watch) and not switches(
            self.books.documents, self.model
        )
        if not same or policy.labels != self.in_force.labels:
            return []
        return [point for point in self._points if point.watch == watch and not point.block]

    def met(self, reign: Reign) -> dict[int, Micros]:
        """When the loop showed rows to watches as they arrived, by the seq of each look's last row."""
        found: dict[int, Micros] = {}
        for name in self._arriving:
            looks = [point for point in self._points if point.watch == name and not point.block]
            for at, end in self.reached(reign, looks, failed=True):
                found[end] = max(at, found.get(end, at))
        return found

    def reached(
        self, reign: Reign, looks: Sequence[Point], *, failed: bool = False
    ) -> list[tuple[Micros, int]]:
        """When rows of a reign were looked at, those that failed too or not, and the seq of the last ones."""
        crowned = reign.crowned
        mine = [point for point in looks if point.version == crowned.version]
        within = [point for point in mine if crowned.at <= point.at <= reign.end]
        if not within:
            return []
        within.sort(key=lambda point: point.at)
        places = self.champion_rows(crowned, failed=failed)
        counts = np.cumsum([point.rows for point in within], dtype=np.int64)
        return [
            (point.at, int(places[count - 1]) + 1)
            for point, count in zip(within, counts.tolist(), strict=True)
            if count <= len(places)
        ]

    @cached_property
    def frames(self) -> list[Came]:
        """The frames that its predictions came in."""
        return frames_of(self.store, self.model, len(self.table))

    def next_crowned(self, reign: Reign) -> int | None:
        """How many rows there were when the next champion took over; None while this one is it."""
        place = next(place for place, each in enumerate(self.reigns) if each is reign)
        return self.reigns[place + 1].crowned.seq if place + 1 < len(self.reigns) else None

    def champion_rows(self, crowned: Crowned, *, failed: bool = False) -> Int64:
        """The numbers of all rows behind a coronation that its version answered, or failed to, from 0."""
        behind = np.arange(crowned.seq, len(self.table))
        version, role, y_pred, key = self.table.columns(["version", "role", "y_pred", "key_low"], behind)
        silent = np.isnan(y_pred if y_pred.ndim == 1 else y_pred[:, 0]) & (key != 0)
        mine: Int64 = behind[(version == crowned.version) & (role == CHAMPION) & (failed | ~silent)]
        return mine

    def blocks(self, policy: Policy, after: int) -> Iterator[tuple[Block, int, int]]:
        """Blocks that lie whole in the span and have rows behind `after`, with their first row and end."""
        cut = self._as_kept(after) if cuts_alike(policy, self.in_force) else _cut(self.table, policy, after)
        for block, start, end in cut:
            if start >= self.first and end <= self.end:
                yield block, start, end

    def _as_kept(self, after: int) -> Iterator[tuple[Block, int, int]]:
        block = (
            None if after >= len(self.table) else int(self.table.columns(["block"], np.array([after]))[0][0])
        )
        while block is not None:
            yield block, self.table.rows_up_to("block", block - 1), self.table.rows_up_to("block", block)
            block = self.table.first_block_after(block)


def cuts_alike(one: Policy, other: Policy) -> bool:
    """Whether two policies cut time into the same blocks, and judge at the same age."""
    return one.calendar == other.calendar and one.labels.mature_after == other.labels.mature_after


def _cut(table: Table, policy: Policy, after: int) -> Iterator[tuple[Block, int, int]]:
    """A table's rows by the blocks of another calendar; as the join has it, a block never goes back."""
    blocks = np.maximum.accumulate(policy.calendar.blocks(table.columns(["at"], np.arange(len(table)))[0]))
    codes, starts = np.unique(blocks, return_index=True)
    ends = np.append(starts, len(blocks))[1:]
    for code, start, end in zip(codes.tolist(), starts.tolist(), ends.tolist(), strict=True):
        if end > after:
            yield code, start, end


@dataclass(frozen=True)
class Remembering(Lens):
    """A lens that scores a champion's rows once: every watch asks for the same.

    It looks at one champion's rows of one table, so that where they begin, where they end and how many there
    are says which they are.
    """

    _kept: dict[tuple[int, int, int], Floats] = field(default_factory=dict)
    _count: list[int] = field(default_factory=lambda: [0])

    def matured_scores(self, rows: Rows) -> Floats:
        """See `Lens`."""
        if not len(rows):
            return super().matured_scores(rows)
        key = int(rows.seq[0]), int(rows.seq[-1]), len(rows)
        found = self._kept.get(key)
        if found is None:
            found = self._kept[key] = super().matured_scores(rows)
            found.flags.writeable = False
            self._count[0] += len(found)
            while self._count[0] > MOST_KEPT and len(self._kept) > 1:
                self._count[0] -= len(self._kept.pop(next(iter(self._kept))))
        return found
