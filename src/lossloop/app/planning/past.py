"""What plans are drawn from: the present champion's losses as the watches judged them, and the traffic."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from lossloop.act.policy import Policy
from lossloop.act.rollout import next_number
from lossloop.act.watches import (
    BaselineWatch,
    EstimateWatch,
    GuardrailWatch,
    RegressionWatch,
    SeasonalWatch,
    Watch,
)
from lossloop.app.backtest.blocks import champion_blocks
from lossloop.app.backtest.measuring import champion_of
from lossloop.app.backtest.past import Past, Remembering
from lossloop.app.judging import Lens
from lossloop.app.watches import by_rows, of_outcomes
from lossloop.app.watches.estimates import estimate_of, estimated
from lossloop.app.watches.seasons import limits_of
from lossloop.core.calendar import Int64
from lossloop.core.clock import DAY
from lossloop.core.errors import InputError
from lossloop.judges import fill_missing
from lossloop.ledger.joined.columns import Floats
from lossloop.ledger.joined.table import Rows
from lossloop.registry import Version

PLANNED = (GuardrailWatch, RegressionWatch)
"""Kinds whose evidence is the loss."""
RECENT = 28 * DAY
"""What is taken for the present traffic."""
MOST_ROWS = 1_000_000
"""The latest so many rows of losses are kept."""


@dataclass
class Seen:
    """A champion's past under a policy."""

    champion: Version
    lens: Lens
    blocks: dict[str, list[float]] = field(default_factory=dict)
    """What each watch that judges blocks judged, by its name."""
    own: dict[str, list[Floats]] = field(default_factory=dict)
    """What each watch that judges rows by another measure than the loss judged, by its name."""
    rows: Floats = field(default_factory=lambda: np.empty(0))
    """The losses of rows, those without an outcome at the floor."""
    known: Floats = field(default_factory=lambda: np.empty(0))
    """The losses of rows with an outcome."""
    at: Int64 = field(default_factory=lambda: np.empty(0, np.int64))
    """When each of those rows was made, ascending."""
    pairs: list[float] = field(default_factory=list)
    """Mean differences of the loss in blocks of shadow, of whatever challengers there were."""
    number: int = 0
    """Which of the rollouts that share one error the next is; 0 where each has its own."""
    per_day: float = 0.0
    """Predictions of the champion a day, lately."""

    @property
    def missing(self) -> float:
        """The share of rows without an outcome at the judging age."""
        return 1.0 - len(self.known) / len(self.rows) if len(self.rows) else 0.0


def look(past: Past, policy: Policy) -> Seen:
    """What the ledger holds of the present champion.

    Raises:
        InputError: There is no champion.
    """
    if not past.reigns:
        raise InputError(f"{past.model} has no champion yet; nothing can be planned of it", field="model")
    lens = Remembering(policy=policy, thresholds=past.thresholds)
    present = past.reigns[-1].crowned.version
    champion = champion_of(past, lens, present)
    seen = Seen(champion=champion, lens=lens)
    rows, known, at = list[Floats](), list[Floats](), list[Int64]()
    times: list[tuple[int, int, int]] = []
    for reign in past.reigns:
        if reign.crowned.version != present:
            continue
        for _, block, mine in champion_blocks(past, lens, reign):
            scores = lens.matured_scores(mine)
            rows.append(fill_missing(scores, lens.floor))
            known.append(scores[~np.isnan(scores)])
            at.append(mine.at[~np.isnan(scores)])
            times.append((int(mine.at[0]), int(mine.at[-1]), len(mine)))
            for name, watch in policy.watches.items():
                _judged(seen, lens, name, watch, mine, block)
    seen.pairs = _pairs(past, lens)
    if policy.rollout is not None:
        seen.number = next_number(past.books.past_rollouts(past.model), policy.rollout)
    seen.rows = np.concatenate(rows)[-MOST_ROWS:] if rows else seen.rows
    seen.known = np.concatenate(known)[-MOST_ROWS:] if known else seen.known
    seen.at = np.concatenate(at)[-MOST_ROWS:] if at else seen.at
    seen.per_day = _traffic(times, policy)
    return seen


def _judged(seen: Seen, lens: Lens, name: str, watch: Watch, mine: Rows, block: int) -> None:
    if isinstance(watch, PLANNED) and by_rows(watch):
        return  # that is `rows`
    try:
        found = _values(lens, watch, seen.champion, mine, block)
    except InputError:
        return
    found = found[np.isfinite(found)]
    if by_rows(watch) and len(found):
        seen.own.setdefault(name, []).append(found)
    elif len(found):
        seen.blocks.setdefault(name, []).append(float(found.mean()))


def _values(lens: Lens, watch: Watch, champion: Version, mine: Rows, block: int) -> Floats:
    """What a watch bets on, rows or one block, in units of its own limit; none where it is not planned."""
    label = None if by_rows(watch) else block
    nothing = np.empty(0)
    if isinstance(watch, EstimateWatch) and watch.audit is None:
        return estimated(lens, estimate_of(lens, champion), mine.y_pred)
    kind = of_outcomes(watch)
    if kind is None or not isinstance(watch, (*PLANNED, BaselineWatch, SeasonalWatch)):
        return nothing
    found = kind.evidence(lens, watch, champion, mine, label)
    if not found.labelled:
        return nothing
    if isinstance(watch, SeasonalWatch):
        usual = float(limits_of(lens, watch, champion).mean()) - lens.floor
        judged = found.evidence
        return np.asarray(lens.floor + usual * (judged.loss - lens.floor) / (judged.limit - lens.floor))
    return np.asarray(found.evidence, dtype=np.float64)


def _traffic(times: list[tuple[int, int, int]], policy: Policy) -> float:
    """Predictions a day over the last weeks."""
    if not times:
        return 0.0
    last = times[-1][1]
    recent = [each for each in times if each[0] > last - RECENT]
    span = max(recent[-1][1] - recent[0][0], len(recent) * policy.block, 1)
    return sum(rows for _, _, rows in recent) / (span / DAY)


def _pairs(past: Past, lens: Lens) -> list[float]:
    """The mean difference of each block that had a challenger in shadow."""
    found = []
    for rollout in past.books.past_rollouts(past.model):
        if not rollout.plan.shadow:
            continue
        for _, start, end in past.blocks(past.in_force, rollout.first_seq):
            rows = past.table.slice(max(start, rollout.first_seq), end)
            if not (rows.shadow_version == rollout.challenger).any():
                continue
            try:
                pairs = lens.pairs(rows, rollout)
            except InputError:
                continue
            if pairs is not None and np.isfinite(pairs.difference).all():
                found.append(float(pairs.difference[0]))
    return found
