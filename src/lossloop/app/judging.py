"""How a policy looks at rows: from predictions and outcomes to the evidence that a judge takes. Pure."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import msgspec
import numpy as np

from lossloop import losses
from lossloop.act.policy import Missing, Plan, Policy
from lossloop.act.rollout import Rollout
from lossloop.app.drawing import among_arms
from lossloop.app.releases import part_of, part_of_test
from lossloop.core.calendar import Int64
from lossloop.core.errors import InputError
from lossloop.core.records import Role
from lossloop.core.tasks import Task
from lossloop.core.thresholds import Thresholds
from lossloop.judges import (
    Assigned,
    Canary,
    Pairs,
    Shadow,
    block_means,
    fill_missing,
)
from lossloop.ledger.joined.columns import Floats
from lossloop.ledger.joined.table import ROLES, Rows
from lossloop.losses import Loss

CHAMPION = ROLES.index(Role.CHAMPION)
MOST = 1e100
"""A loss beyond counts as this one: squares and sums of it are finite, and it alarms all the same."""

_EXAMPLES: dict[Task, tuple[tuple[Any, Any], ...]] = {
    Task.BINARY: (([0.0, 1.0], [0.25, 0.75]), ([0.0, 1.0], [0.0, 1.0])),
    Task.REGRESSION: (([1.0, 2.0], [1.5, 1.5]), ([0.0, 1.0], [0.0, 1.0])),
    Task.MULTICLASS: (([0.0, 1.0], [[0.5, 0.5], [0.5, 0.5]]),),
    Task.VECTOR: (([[1.0, 2.0]], [[1.5, 1.5]]),),
    Task.RANKING: (([[2.0, 3.0]], [[0.1, 0.3]]),),
    Task.DISTRIBUTION: (([1.5, 2.5], [[1.0, 2.0], [1.0, 2.0]]),),
    Task.SURVIVAL: (([[1.0, 1.0], [2.0, 0.0]], [[0.9, 0.8], [0.9, 0.8]]),),
}
"""Outcomes and predictions as each kind of task has them."""


@dataclass(frozen=True, kw_only=True)
class Lens:
    """A policy's view of rows: its loss, and what a missing outcome means.

    Args:
        policy: The policy.
        thresholds: Those of the versions that have any, by their numbers; only a loss of what is done asks.
    """

    policy: Policy
    thresholds: tuple[tuple[int, Thresholds], ...] = ()

    @cached_property
    def loss(self) -> Loss:
        return losses.parse(self.policy.loss)

    def is_of(self, loss: str) -> bool:
        """Whether a loss, as a reference names it, is this one: by its text, or its name and digest."""
        return loss in (self.policy.loss, self.loss.version) or _version(loss) == self.loss.version

    @cached_property
    def beside(self) -> tuple[Lens, ...]:
        """The same view under each loss that runs beside."""
        policies = (msgspec.structs.replace(self.policy, loss=text, beside=()) for text in self.policy.beside)
        return tuple(Lens(policy=policy, thresholds=self.thresholds) for policy in policies)

    def check_beside(self) -> None:
        """Raise InputError where a loss beside could not judge, or is the same as another under two names."""
        known = {self.loss.version: self.policy.loss}
        for other in self.beside:
            try:
                other.check_loss()
            except InputError as error:
                raise InputError(f"beside: {error}", field="beside") from None
            if (same := known.setdefault(other.loss.version, other.policy.loss)) != other.policy.loss:
                raise InputError(f"{other.policy.loss} is the same loss as {same}", field="beside")

    def check_loss(self) -> None:
        """Raise InputError where the loss cannot judge what a task of this kind predicts."""
        if self.loss.needs_features:
            raise InputError(
                f"{self.loss.name} needs features, which the loop does not judge by yet", field="loss"
            )
        if not np.isfinite(self.loss.bounds[0]):
            raise InputError(
                f"{self.loss.name} has no least value; a watch needs one: declare its bounds", field="loss"
            )
        columns = self.loss.declared.classes or 2
        task = self.policy.task
        if not any(self._scores_all(true, _widened(pred, columns, task)) for true, pred in _EXAMPLES[task]):
            raise InputError(
                f"{self.policy.loss} takes {self.loss.kind.replace('_', ' ')}, which a {self.policy.task} "
                "task does not predict",
                field="loss",
            )

    def _scores_all(self, y_true: Any, y_pred: Any) -> bool:
        return not np.isnan(self.scores(np.array(y_true), np.array(y_pred))).any()

    @property
    def bound(self) -> float:
        """The largest loss, infinite where the loss has none."""
        return float(self.loss.bounds[1])

    @property
    def is_bounded(self) -> bool:
        """Whether arms can be compared by it: a row is weighed by how much it may lose."""
        return bool(np.isfinite(self.bound)) and self.bound <= MOST

    @property
    def of_actions(self) -> bool:
        """Whether the loss is of what was done about a score, which a version's thresholds say."""
        return is_of_actions(self.loss, self.policy)

    def scores(self, y_true: Floats, y_pred: Floats, version: Int64 | None = None) -> Floats:
        """The loss of each row, NaN where there is no outcome or the loss cannot be computed. Shape (n,).

        Args:
            y_true: Outcomes. Shape (n,) or (n, m).
            y_pred: Predictions. Shape (n,) or (n, k).
            version: Whose they are; left out, they are taken as they stand. Shape (n,).
        """
        if version is not None and self.thresholds and self.of_actions:
            y_pred = actions_of(self.thresholds, y_pred, version)
        scores = np.full(len(y_true), np.nan)
        came = ~np.isnan(y_true if y_true.ndim == 1 else y_true[:, 0])
        known = came if self.loss.needs_outcome else np.ones(len(y_true), dtype=bool)
        for rows, columns in _alike(y_pred, known):
            true = fitting_labels(self.loss, y_true[rows], columns)
            # Row by row: a prediction that the loss does not take must not stop the loop.
            with np.errstate(over="ignore", invalid="ignore"), contextlib.suppress(InputError):
                scores[rows] = self.loss.rows(true, columns)[0]
        return np.asarray(np.clip(scores, -MOST, MOST))

    def matured_scores(self, rows: Rows) -> Floats:
        """The loss of each row with its outcome as it was known at the judging age."""
        return self.scores(rows.labels_by(self.policy.labels.mature_after), rows.y_pred, rows.version)

    @property
    def floor(self) -> float:
        """The least loss; 0 where the loss has none."""
        low = float(self.loss.bounds[0])
        return low if np.isfinite(low) else 0.0

    def champion_rows(self, rows: Rows, champion: int) -> Rows:
        """The rows that the champion answered as champion; one that failed has no loss."""
        return rows.pick((rows.version == champion) & (rows.role == CHAMPION) & ~rows.failed)

    def labelled(self, rows: Rows) -> int:
        """How many rows had a loss at the judging age: their outcome, unless the loss needs none."""
        return int(np.count_nonzero(~np.isnan(self.matured_scores(rows))))

    # A challenger against the champion.

    def canary(self, plan: Plan, centre: float | None, *, number: int = 0) -> Canary:
        """The judge of randomised traffic, of rollout `number` where they share one error."""
        part = part_of_test(plan, number)
        if not np.isfinite(self.bound):
            raise InputError(
                f"a canary needs a bounded loss; {self.loss.name} has none: write one with a cap",
                field="loss",
            )
        if self.bound > MOST:
            raise InputError(
                f"a canary weighs losses of at most {MOST:g}; write {self.loss.name} with a smaller cap",
                field="loss",
            )
        return Canary(
            bound=self.bound, floor=self.floor, centre=centre, error=part.error, words=part.words,
            roll_back_if_worse_by=plan.roll_back_if_worse_by, promote_if_within=plan.promote_if_within,
            missing=str(self.policy.labels.missing),
        )  # fmt: skip

    def shadow(self, plan: Plan, *, number: int = 0) -> Shadow:
        """The judge of paired answers, of rollout `number` where they share one error."""
        part = part_of(plan, number)
        if not np.isfinite(self.bound) and self.policy.labels.missing is Missing.WORST_CASE:
            raise InputError(
                f"{self.loss.name} has no bound, so a missing outcome has no worst case; "
                "write a loss with a cap, or missing: same_in_both_arms",
                field="labels.missing",
            )
        return Shadow(
            roll_back_if_worse_by=plan.roll_back_if_worse_by, promote_if_within=plan.promote_if_within,
            error=part.error, words=part.words, clip=plan.clip_difference,
            missing=str(self.policy.labels.missing),
            bound=self.bound - self.floor if np.isfinite(self.bound) else None,
        )  # fmt: skip

    def assigned(self, rows: Rows, rollout: Rollout) -> Assigned:
        """Evidence of randomised traffic: rows that could have gone to either arm."""
        canary, own = rows.version == rollout.challenger, among_arms(rows.propensity, rollout.held_out)
        return Assigned(
            loss=self.matured_scores(rows), is_canary=canary, propensity=np.where(canary, own, 1.0 - own)
        )

    def pairs(self, rows: Rows, rollout: Rollout) -> Pairs | None:
        """Evidence of one block in shadow: the block's mean difference; None where there were no pairs."""
        mine = (rows.shadow_version == rollout.challenger) & (rows.role == CHAMPION)
        paired = rows.pick(mine & (rows.seq > rollout.first_seq))
        if not len(paired):
            return None
        labels = paired.labels_by(self.policy.labels.mature_after)
        found = self.scores(labels, paired.shadow_y_pred, paired.shadow_version) - self.scores(
            labels, paired.y_pred, paired.version
        )
        # The judge clips the block's difference. Clipping rows would cut off what a bad day is made of: on
        # the flights the challenger is then never certified (-.008 instead of -.232).
        if self.policy.labels.missing is Missing.SAME_IN_BOTH_ARMS:
            return Pairs(difference=mean_of_block(found, paired))
        worst = self.bound - self.floor
        least, most = fill_missing(found, -worst), fill_missing(found, worst)
        return Pairs(
            difference=np.array([np.nan]),
            least=mean_of_block(least, paired),
            most=mean_of_block(most, paired),
        )


def is_of_actions(loss: Loss, policy: Policy) -> bool:
    """Whether a loss is of what was done about a score."""
    return loss.kind == "class" and policy.task is Task.BINARY


def actions_of(thresholds: Sequence[tuple[int, Thresholds]], y_pred: Floats, version: Int64) -> Floats:
    """What was done about each prediction, as places among its version's actions. Shape (n,).

    What a version without thresholds predicted is left as it is: it may be what was done itself.
    """
    found = y_pred.copy()
    for number, cuts in thresholds:
        mine = version == number
        found[mine] = cuts.places(y_pred[mine])
    return found


@lru_cache(maxsize=256)
def _version(loss: str) -> str | None:
    """The name and digest of a loss; None where the text is none, or the digest that of another version."""
    with contextlib.suppress(InputError):
        return losses.parse(loss).version
    return None


def fitting_labels(loss: Loss, y_true: Floats, y_pred: Floats) -> Floats:
    """Labels with as many columns as go with such predictions; NaN where a label has more numbers.

    Shapes (n,) or (n, m), (n,) or (n, k).
    """
    if y_true.ndim == 1:
        return y_true
    width = y_pred.shape[1] if y_pred.ndim == 2 else 1
    columns = loss.declared.outcome_columns(width) or width
    fits = np.isnan(y_true[:, columns:]).all(axis=1, keepdims=True)
    return np.where(fits, y_true[:, :columns], np.nan)


def _alike(y_pred: Floats, wanted: np.ndarray[Any, np.dtype[np.bool_]]) -> Iterator[tuple[Int64, Floats]]:
    """The wanted rows by how many classes they have, with their predictions cut to as many.

    Rows without any are left out: they failed, or were erased.
    """
    if y_pred.ndim == 1:
        rows = np.flatnonzero(wanted)
        if len(rows):
            yield rows, y_pred[rows]
        return
    widths = np.count_nonzero(~np.isnan(y_pred), axis=1)
    for width in np.unique(widths[wanted & (widths > 0)]).tolist():
        rows = np.flatnonzero(wanted & (widths == width))
        yield rows, y_pred[rows, :width]


def _widened(y_pred: Any, columns: int, task: Task) -> Any:
    """Example predictions with as many columns as the loss has."""
    if not isinstance(y_pred[0], list):
        return y_pred
    row = [1.0 / columns] * columns if task is not Task.DISTRIBUTION else [float(j) for j in range(columns)]
    return [row for _ in y_pred]


def numbered_units(rows: Rows) -> Int64 | None:
    """Whom each row is about, numbered as they come; a row without a unit is its own.

    Means are added up in the order of these numbers: it must not depend on how units are hashed.
    """
    if not rows.unit.any():
        return None
    who = np.where(rows.unit == 0, -rows.seq, rows.unit)
    _, first, inverse = np.unique(who, return_index=True, return_inverse=True)
    return np.asarray(np.argsort(np.argsort(first))[inverse])


def mean_of_block(values: Floats, rows: Rows) -> Floats:
    """A block's mean as an array of one: rows are averaged per unit, then units. NaN where every value is."""
    found = block_means(values, np.zeros(len(values), np.int64), numbered_units(rows)).mean
    return found if len(found) else np.array([np.nan])
