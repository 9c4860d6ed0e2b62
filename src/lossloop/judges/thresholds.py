"""Decision thresholds that cost least on held-out rows, and what they cost on rows that did not choose them.

The cut-offs are those of least cost among all that rows can tell apart: a walk along the sorted scores, with
one running minimum per action. What they cost is told by cross-fitting: rows are dealt into folds, and each
fold is charged what the cut-offs cost that the other folds chose. A cost on the rows that chose is too low.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from lossloop.core.errors import InputError
from lossloop.core.records import Interval, Record
from lossloop.core.thresholds import MOST_ACTIONS, NEVER
from lossloop.judges.blocks import block_interval

FOLDS = 5
FEWEST_OF_EACH = 25
"""Rows of each outcome that are needed: a fold then has about five of them to be charged by."""
FEWEST_BLOCKS = 10

Floats = np.ndarray[Any, np.dtype[np.float64]]
Int64 = np.ndarray[Any, np.dtype[np.int64]]


class LearnedThresholds(Record, frozen=True):
    """Cut-offs learned from held-out rows, and an honest estimate of what they cost a row."""

    least: tuple[float, ...]
    """The least score of each action but the first, learned from all rows; above 1 for what is never done."""
    cost: Interval
    """By cross-fitting: of cut-offs that other rows chose."""
    present: tuple[float, ...]
    """The cut-offs that they are compared with; of one action for all rows where none were given."""
    present_cost: Interval
    change: Interval
    """The cost less that of the present cut-offs, on the same rows."""
    shares: tuple[float, ...]
    """By action the share of rows that it would be taken for."""
    rows: int
    of_each: tuple[int, int]
    """Rows where 0 and where 1 happened."""
    blocks: int
    """Blocks that the intervals are over; as many as rows where each is taken as independent."""
    needed: int | None
    """About how many rows would show a change of this size; None where this many do, or there is none."""

    @property
    def cheaper(self) -> bool:
        """Whether the change is shown to be a saving."""
        return self.change.high < 0.0


def learn_thresholds(
    y_score: npt.ArrayLike,
    y_true: npt.ArrayLike,
    costs: Sequence[Sequence[float]],
    *,
    blocks: npt.ArrayLike | None = None,
    present: Sequence[float] | None = None,
) -> LearnedThresholds:
    """The cut-offs of least mean cost, and what they cost rows that did not choose them.

    Args:
        y_score: Probabilities of 1 on rows that the model was not trained on. Shape (n,), in [0, 1].
        y_true: What happened, 0 or 1. Shape (n,).
        costs: ``costs[y][j]``: what action j costs where y happened, actions from the lowest scores to the
            highest: two rows of k. Any unit.
        blocks: The block of each row, such as its day, where rows of a block depend on each other: blocks
            are dealt into folds whole, and intervals are over them. Shape (n,).
        present: The cut-offs in use, k - 1 of them, which these rows must not have chosen. Left out, the
            cheapest single action stands in their place.

    Returns:
        The cut-offs of all rows; cost, change and interval by cross-fitting (Student's t, fixed n).

    Raises:
        InputError: Too few rows, blocks or outcomes of a kind (says how many are needed), a score or cost
            that is none, or cut-offs that do not fit.

    Source: Elkan (2001), The foundations of cost-sensitive learning, IJCAI, section 2; Provost and Fawcett
    (2001), Robust classification for imprecise environments, Machine Learning 42; cross-fitting as in
    Chernozhukov et al. (2018), The Econometrics Journal 21.
    """
    matrix = check_costs(costs)
    scores, labels, places = _checked(y_score, y_true, blocks)
    given = None if present is None else _check_present(present, matrix)
    charged = matrix[labels, _cross_fitted(scores, labels, places, partial(best_cuts, costs=matrix))]
    chosen = _cross_fitted(scores, labels, places, lambda _, rest: given or _single(rest, matrix))
    before = matrix[labels, chosen]
    least = best_cuts(scores, labels, matrix)
    codes = np.arange(len(scores)) if places is None else places
    change = block_interval(charged - before, codes)
    taken = np.bincount(_actions(least, scores), minlength=matrix.shape[1])
    return LearnedThresholds(
        least=least, cost=block_interval(charged, codes), present=given or _single(labels, matrix),
        present_cost=block_interval(before, codes), change=change,
        shares=tuple((taken / len(scores)).tolist()),
        rows=len(scores), of_each=(int((labels == 0).sum()), int((labels == 1).sum())),
        blocks=int(codes.max()) + 1, needed=_needed(change, len(scores)),
    )  # fmt: skip


def held_out_actions(
    y_score: npt.ArrayLike, y_true: npt.ArrayLike, costs: Sequence[Sequence[float]],
    *, blocks: npt.ArrayLike | None = None,
) -> Int64:  # fmt: skip
    """The action for each row under cut-offs that the other folds chose; as in `learn_thresholds`."""
    matrix = check_costs(costs)
    scores, labels, places = _checked(y_score, y_true, blocks)
    return _cross_fitted(scores, labels, places, partial(best_cuts, costs=matrix))


def best_cuts(scores: Floats, labels: Int64, costs: Floats) -> tuple[float, ...]:
    """The cut-offs of least cost on these rows themselves; of several the lowest.

    Args:
        scores: In [0, 1], without NaN. Shape (n,).
        labels: 0 or 1. Shape (n,).
        costs: Shape (2, k).
    """
    values, codes = np.unique(scores, return_inverse=True)
    ones = np.bincount(codes, weights=labels, minlength=len(values))
    zeros = np.bincount(codes, minlength=len(values)) - ones
    # spent[j][i]: what the i lowest scores cost under action j.
    spent = np.zeros((costs.shape[1], len(values) + 1))
    np.cumsum(np.outer(costs[0], zeros) + np.outer(costs[1], ones), axis=1, out=spent[:, 1:])
    least = spent[0]
    begins: list[Int64] = []
    for own in spent[1:]:
        ahead = least - own
        lowest = np.minimum.accumulate(ahead)
        fresh = np.concatenate(([True], ahead[1:] < lowest[:-1]))
        begins.append(np.maximum.accumulate(np.where(fresh, np.arange(len(ahead)), 0)))
        least = lowest + own
    found, end = list[float](), len(values)
    for begin in reversed(begins):
        end = int(begin[end])
        found.append(_between(values, end))
    return tuple(reversed(found))


def _cross_fitted(
    scores: Floats, labels: Int64, places: Int64 | None, choose: Callable[[Floats, Int64], tuple[float, ...]]
) -> Int64:
    """The action for each row under the cut-offs that are chosen from the rows of the other folds."""
    folds, found = _folds(len(labels), places), np.empty(len(scores), np.int64)
    for fold in range(FOLDS):
        out = folds == fold
        found[out] = _actions(choose(scores[~out], labels[~out]), scores[out])
    return found


def check_costs(costs: Sequence[Sequence[float]]) -> Floats:
    """Costs as an array (2, k).

    Raises:
        InputError: There are not two rows of as many finite costs.
    """
    rows = [list(row) for row in costs]
    if len(rows) != 2 or len(rows[0]) != len(rows[1]) or not 2 <= len(rows[0]) <= MOST_ACTIONS:
        raise InputError(
            f"costs are two rows, where 0 and where 1 happened, of 2 to {MOST_ACTIONS} actions each",
            field="costs",
        )
    found = np.asarray(rows, dtype=np.float64)
    if not np.isfinite(found).all():
        raise InputError("costs are finite numbers", field="costs")
    return found


def _between(values: Floats, place: int) -> float:
    """A cut-off below which lie the first so many scores: midway, so that neither side is just touched."""
    if place == 0:
        return 0.0
    if place == len(values):
        return NEVER
    low, high = float(values[place - 1]), float(values[place])
    middle = low + 0.5 * (high - low)
    return middle if middle > low else high


def _actions(least: Sequence[float], scores: Floats) -> Int64:
    return np.searchsorted(np.asarray(least), scores, side="right").astype(np.int64)


def _single(labels: Int64, costs: Floats) -> tuple[float, ...]:
    """Cut-offs under which the cheapest single action is taken for every row."""
    rate = float(labels.mean())
    action = int(np.argmin((1.0 - rate) * costs[0] + rate * costs[1]))
    return tuple([0.0] * action + [NEVER] * (costs.shape[1] - 1 - action))


def _check_present(present: Sequence[float], costs: Floats) -> tuple[float, ...]:
    found = tuple(map(float, present))
    if len(found) != costs.shape[1] - 1:
        raise InputError(
            f"{costs.shape[1]} actions have {costs.shape[1] - 1} cut-offs, not {len(found)}", field="present"
        )
    if not all(map(math.isfinite, found)) or list(found) != sorted(found):
        raise InputError(f"cut-offs are finite and do not fall, unlike {list(found)}", field="present")
    return found


def _checked(
    y_score: npt.ArrayLike, y_true: npt.ArrayLike, blocks: npt.ArrayLike | None
) -> tuple[Floats, Int64, Int64 | None]:
    """Scores, labels and the place of each row's block among the sorted blocks."""
    scores = _numbers(y_score, "y_score")
    truth = _numbers(y_true, "y_true")
    if len(scores) != len(truth):
        raise InputError(
            f"{len(scores)} scores and {len(truth)} outcomes: needs one for each", field="y_true"
        )
    for name, wrong, what in (
        ("y_score", ~((scores >= 0) & (scores <= 1)), "a probability in [0, 1]"),
        ("y_true", ~((truth == 0) | (truth == 1)), "0 or 1"),
    ):
        if wrong.any():
            row = int(np.argmax(wrong))
            value = (scores if name == "y_score" else truth)[row]
            raise InputError(f"{name} is {what}, not {value:g}", field=name, row=row)
    labels = truth.astype(np.int64)
    _check_enough(labels)
    if blocks is None:
        return scores, labels, None
    names, places = np.unique(np.asarray(blocks), return_inverse=True)
    if len(places) != len(scores):
        raise InputError(f"{len(scores)} scores and {len(places)} blocks: needs one for each", field="blocks")
    if len(names) < FEWEST_BLOCKS:
        raise InputError(
            f"thresholds need {FEWEST_BLOCKS} blocks or more to say how sure their cost is; these rows lie "
            f"in {len(names)}",
            field="blocks",
        )
    return scores, labels, places.astype(np.int64)


def _numbers(values: npt.ArrayLike, name: str) -> Floats:
    try:
        found = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise InputError(f"{name} must be a list of numbers", field=name) from None
    if found.ndim != 1:
        raise InputError(f"{name} must have shape (n,), not {found.shape}", field=name)
    return found


def _check_enough(labels: Int64) -> None:
    """Raise InputError where too few rows of an outcome are there to learn from; says how many would do."""
    for outcome in (1, 0):
        count = int((labels == outcome).sum())
        if count >= FEWEST_OF_EACH:
            continue
        rate = (count + 0.5) / (len(labels) + 1.0)
        more = f"about {math.ceil(FEWEST_OF_EACH / rate):,} rows" if count else "rows of both kinds"
        raise InputError(
            f"thresholds need {FEWEST_OF_EACH} rows or more where {outcome} happened; of these "
            f"{len(labels):,} it was {count}. At this rate {more} would do",
            field="y_true",
        )


def _folds(count: int, places: Int64 | None) -> Int64:
    """A fold of each row: runs of whole blocks; without blocks rows in turn.

    Not by outcome: folds that all have the sample's share of 1 tell each other what that share is.
    """
    if places is not None:
        return places * FOLDS // (int(places.max()) + 1)
    return np.arange(count) % FOLDS


def _needed(change: Interval, rows: int) -> int | None:
    """By the square-root law, where the interval holds 0 and the change does not."""
    half = change.high - change.estimate
    if not change.low <= 0.0 <= change.high or abs(change.estimate) <= 1e-12 * (1.0 + half):
        return None
    return math.ceil(rows * (half / abs(change.estimate)) ** 2)
