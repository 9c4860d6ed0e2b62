"""What the report tells of, read from the state once: daily losses, evidence, versions. Read-only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lossloop.act.policy import Policy
from lossloop.act.rollout import Rollout
from lossloop.app.books import Books, Counts
from lossloop.app.charts.history import History, read_history, risk_judges
from lossloop.app.home import Home
from lossloop.app.judging import Lens
from lossloop.app.showing import Shown, shown
from lossloop.core.calendar import Block
from lossloop.core.records import Role
from lossloop.judges import Guardrail, Regression
from lossloop.ledger.joined.table import Table
from lossloop.ledger.store import Store
from lossloop.registry import Version, versions

SHADOW = "shadow"


@dataclass(frozen=True, kw_only=True)
class Day:
    """One version's block in one role: what was answered, what is known of it, and its mean loss."""

    version: int
    role: str
    """``champion``, ``challenger`` or ``shadow``."""
    block: Block
    predictions: int
    outcomes: int
    mean: float | None


@dataclass(frozen=True, kw_only=True)
class Account:
    """All that the report needs of the state."""

    model: str
    lens: Lens
    counts: Counts
    days: Sequence[Day]
    made: Sequence[Version]
    history: History

    @property
    def policy(self) -> Policy:
        return self.lens.policy

    def answered(self) -> list[Day]:
        """The days of traffic, without the shadow, which answers nobody."""
        return [day for day in self.days if day.role != SHADOW]

    def reigns(self) -> list[tuple[Version, Block, Block]]:
        """Each champion with its first block and the next champion's, or the end."""
        first: dict[int, Block] = {}
        for day in self.days:
            if day.role == Role.CHAMPION:
                first[day.version] = min(day.block, first.get(day.version, day.block))
        order = sorted(first, key=first.__getitem__)
        end = max((day.block for day in self.days), default=0) + self.policy.block
        ends = [*(first[number] for number in order[1:]), end][: len(order)]
        numbered = {version.number: version for version in self.made}
        return [(numbered[number], first[number], end) for number, end in zip(order, ends, strict=True)]

    def judges(self, version: Version) -> dict[str, Guardrail | Regression]:
        """The judges of a champion's mean loss by watch, without those that cannot judge it."""
        return risk_judges(self.lens, version)


def read_account(home: Home, model: str) -> Account:
    """Read what a state directory holds of a model.

    Raises:
        StateError: It cannot be read.
        UnknownName: It has no such model.
    """
    state = home.state()
    try:
        books = Books(state)
        lens = books.lens(model)
        days = [_day(part) for part in shown(state, model)]
        shadow = [
            day
            for rollout in state.all("rollout_past", Rollout, prefix=f"{model}/").values()
            for day in _shadow_days(state, lens, rollout, days)
        ]
        return Account(
            model=model, lens=lens, counts=books.counts(model), days=[*days, *shadow],
            made=versions.versions(state, model), history=read_history(books, model),
        )  # fmt: skip
    finally:
        state.close()


def _day(part: Shown) -> Day:
    return Day(
        version=part.version, role=part.role, block=part.block, predictions=part.predictions,
        outcomes=part.losses.count, mean=part.losses.mean,
    )  # fmt: skip


def _shadow_days(state: Store, lens: Lens, rollout: Rollout, days: Sequence[Day]) -> list[Day]:
    """The mean loss that a challenger would have had, on the blocks that it answered in shadow."""
    if not rollout.plan.shadow:
        return []
    since = int(lens.policy.calendar.blocks(np.array([rollout.started]))[0])
    # The blocks that it was judged on, the one in which it began, and the one in which it left.
    blocks = sorted({day.block for day in days if day.block >= since})[: rollout.blocks + 2]
    table = Table(state, rollout.model)
    found = [_shadow_day(table, lens, rollout, block) for block in blocks]
    return [day for day in found if day.predictions]


def _shadow_day(table: Table, lens: Lens, rollout: Rollout, block: Block) -> Day:
    rows = table.block(block)
    mine = rows.shadow_version == rollout.challenger
    scores = lens.scores(rows.y_true[mine], rows.shadow_y_pred[mine], rows.shadow_version[mine])
    known = scores[~np.isnan(scores)]
    return Day(
        version=rollout.challenger, role=SHADOW, block=block, predictions=int(mine.sum()),
        outcomes=len(known), mean=float(known.mean()) if len(known) else None,
    )  # fmt: skip
