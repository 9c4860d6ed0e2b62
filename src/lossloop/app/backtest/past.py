"""The past as a policy would have looked at it: a champion's rows by block, and when they were judged."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from lossloop.act.policy import Policy
from lossloop.app.books import Books, Crowned, Point
from lossloop.app.judging import CHAMPION, Lens
from lossloop.app.reigns import Reign, reigns, rollout_times
from lossloop.app.watches import of_arrivals
from lossloop.core.calendar import Block, Int64
from lossloop.core.clock import Micros
from lossloop.core.thresholds import Thresholds
from lossloop.ledger.joined.columns import Floats
from lossloop.ledger.joined.table import Rows, Table
from lossloop.registry import versions

MOST_KEPT = 4 << 20
"""Losses that are kept while the same rows may be asked for again."""


@dataclass(frozen=True, kw_only=True)
class Past:
    """What the ledger holds of a model, read once and never changed.

    Args:
        table: Its predictions.
        since: From when rows are replayed, and `until` before when.
        now: Where the loop's clock stands: what was not due by then is not judged.
    """

    model: str
    books: Books
    table: Table
    since: Micros
    until: Micros
    now: Micros

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
        return self._told(policy, [point for point in self._points if point.watch not in self._arriving])

    def recorded_arrivals(self, policy: Policy) -> dict[tuple[int, str], Micros]:
        """The same of blocks that were judged once they were over, before their outcomes came."""
        return self._told(policy, [point for point in self._points if point.watch in self._arriving])

    def _told(self, policy: Policy, points: Sequence[Point]) -> dict[tuple[int, str], Micros]:
        if not cuts_alike(policy, self.in_force):
            return {}
        return {(point.version, point.block): point.at for point in points if point.block}

    @cached_property
    def _arriving(self) -> set[str]:
        return {name for name, watch in self.in_force.watches.items() if of_arrivals(watch)}

    def recorded_looks(self, policy: Policy, watch: str) -> dict[int, list[Point]]:
        """The loop's looks at rows for a watch, by version; nothing where this policy has another watch."""
        same = policy.watches[watch] == self.in_force.watches.get(watch)
        found: dict[int, list[Point]] = defaultdict(list)
        if same and policy.labels == self.in_force.labels:
            for point in self._points:
                if point.watch == watch and not point.block:
                    found[point.version].append(point)
        return found

    def champion_rows(self, crowned: Crowned) -> Int64:
        """The numbers of all rows behind a coronation that its version answered as champion, from 0."""
        behind = np.arange(crowned.seq, len(self.table))
        version, role, y_pred, key = self.table.columns(["version", "role", "y_pred", "key_low"], behind)
        failed = np.isnan(y_pred if y_pred.ndim == 1 else y_pred[:, 0]) & (key != 0)
        mine: Int64 = behind[(version == crowned.version) & (role == CHAMPION) & ~failed]
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
