"""Losses estimated before their labels come. An estimate is blind to concept drift.

*Classes* (CBPE, confidence-based performance estimation): a calibrated probability says how often each class
is the true one, so the loss to expect is the mean over classes, f(x) = sum_k p_k L(k, y_pred).

*Numbers* (direct estimation): the mean loss that the reference had around such a prediction.

Both follow a change of the inputs. Where the answer to the same inputs changes, the calibration itself is
wrong, and no prediction tells: audit labels do (`audited.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import msgspec
import numpy as np
import numpy.typing as npt

from lossloop.core.errors import InputError
from lossloop.core.estimates import CALIBRATED, DIRECT, Estimate
from lossloop.core.records import Verdict
from lossloop.judges.absolute import Guardrail, RiskState
from lossloop.judges.base import losses_array
from lossloop.judges.promise import Promise

Array = npt.NDArray[np.float64]

FEWEST_ROWS = 50
"""Held-out rows that a profile needs."""
MOST_KNOTS = 50
LEAST_PER_KNOT = 20
BLIND = "estimate: blind to concept drift"


def calibration(y_true: npt.ArrayLike, y_pred: npt.ArrayLike, *, most: float) -> Estimate:
    """What a model's probabilities were worth on held-out rows: a monotone map of each class.

    Predictions are gathered in up to 50 bins of 20 rows or more; the share of the class in each is made
    monotone (isotonic regression by pooling adjacent violators: Zadrozny, Elkan 2002).

    Args:
        y_true: Class indices, shape (n,), n >= 50; 0 and 1 where there are two.
        y_pred: Probabilities of 1, shape (n,), or of each class, shape (n, k).
        most: The largest estimate of a loss: its bound, or the largest that was seen where it has none.

    Raises:
        InputError: Too few rows, unequal shapes, or a number that is no probability.
    """
    true, pred = losses_array(y_true, name="y_true"), np.asarray(y_pred, dtype=np.float64)
    _check_rows(true, pred)
    if not ((pred >= 0.0) & (pred <= 1.0)).all():
        raise InputError("a calibration needs probabilities between 0 and 1", field="y_pred")
    columns = [(pred, true == 1.0)] if pred.ndim == 1 else [(p, true == k) for k, p in enumerate(pred.T)]
    maps = [_monotone(*_binned(p, is_class.astype(np.float64))) for p, is_class in columns]
    return _estimate(CALIBRATED, maps, most)


def direct(losses: npt.ArrayLike, y_pred: npt.ArrayLike) -> Estimate:
    """The mean loss around each predicted number, on held-out rows.

    Args:
        losses: Shape (n,), n >= 50.
        y_pred: Shape (n,).

    Raises:
        InputError: Too few rows, unequal shapes, or a number that is not finite.
    """
    values, pred = losses_array(losses), losses_array(y_pred, name="y_pred")
    _check_rows(values, pred)
    knots, means = _binned(pred, values)
    return _estimate(DIRECT, [(knots, means)], float(means.max()))


def probabilities(estimate: Estimate, y_pred: Array) -> Array:
    """Calibrated probabilities of all classes, shape (n, k), of predictions (n,) or (n, k); NaN stays.

    Raises InputError where the predictions have another number of classes than the calibration.
    """
    if y_pred.ndim == 1:
        _check_maps(estimate, 1)
        one = np.interp(y_pred, estimate.knots[0], estimate.values[0])
        return np.column_stack((1.0 - one, one))
    _check_maps(estimate, y_pred.shape[1])
    mapped = np.column_stack(
        [
            np.interp(column, knots, values)
            for column, knots, values in zip(y_pred.T, estimate.knots, estimate.values, strict=True)
        ]
    )
    total = mapped.sum(axis=1, keepdims=True)
    even = np.full_like(mapped, 1.0 / mapped.shape[1])
    found: Array = np.divide(mapped, total, out=even, where=total != 0.0)  # where no class has a chance: even
    return found


def expected_loss(estimate: Estimate, chances: Array, costs: Array) -> Array:
    """The loss to expect: `chances` and `costs` of each class being the true one, shape (n, k) to (n,).

    A class of no chance costs nothing, even where its cost is unknown (NaN).
    """
    known = np.where(chances > 0.0, costs, 0.0)
    found: Array = np.minimum((chances * known).sum(axis=1), estimate.most)
    return found


def direct_loss(estimate: Estimate, y_pred: Array) -> Array:
    """The loss to expect of predicted numbers. Shape (n,) to (n,); NaN stays."""
    _check_maps(estimate, 1)
    found = np.interp(y_pred, estimate.knots[0], estimate.values[0])
    capped: Array = np.minimum(found, estimate.most)
    return capped


@dataclass(frozen=True, kw_only=True)
class Estimated:
    """Alarm when the estimated risk exceeds `limit`, before any label came.

    Evidence is an array of estimates, shape (n,) or (n, 1), in prediction order; where there is none (NaN) it
    is left out. The promise holds for the estimates; whether they are right is an assumption.
    """

    limit: float
    promise: Promise
    floor: float = 0.0
    about: str = ""
    """Where the limit comes from, in words."""

    def start(self) -> RiskState:
        """Nothing judged yet."""
        return self._guardrail.start()

    def update(self, state: RiskState, evidence: Array, /) -> tuple[RiskState, Verdict]:
        """Judge estimates; see `Guardrail`."""
        flat = losses_array(np.asarray(evidence, dtype=np.float64).reshape(-1), name="estimates")
        state, verdict = self._guardrail.update(state, flat[~np.isnan(flat)])
        return state, msgspec.structs.replace(
            verdict,
            assumption=f"{BLIND}; the model's answers are as well calibrated as on the reference",
            reason=f"estimated, no label was used: {verdict.reason}{self.about}",
        )

    @cached_property
    def _guardrail(self) -> Guardrail:
        return Guardrail(limit=self.limit, promise=self.promise, floor=self.floor)


def _binned(x: Array, y: Array) -> tuple[Array, Array]:
    """Means of x and y in bins of equal counts; equal x share a bin."""
    order = np.argsort(x, kind="stable")
    x, y = x[order], y[order]
    bins = max(1, min(MOST_KNOTS, len(x) // LEAST_PER_KNOT))
    cuts = np.searchsorted(x, x[np.arange(1, bins) * len(x) // bins])
    places = np.repeat(np.arange(bins), np.diff(np.concatenate(([0], cuts, [len(x)]))))
    places = np.unique(places, return_inverse=True)[1]
    count = np.bincount(places)
    means, values = np.bincount(places, weights=x) / count, np.bincount(places, weights=y) / count
    firsts = np.unique(means, return_index=True)[1]  # rounding can make two bins of close numbers meet
    return means[firsts], values[firsts]


def _monotone(knots: Array, values: Array) -> tuple[Array, Array]:
    """The closest values that never fall; bins weigh alike, as they hold about as many rows."""
    blocks: list[tuple[float, int]] = []
    for value in values.tolist():
        mean, count = value, 1
        while blocks and blocks[-1][0] >= mean:
            other, size = blocks.pop()
            mean, count = (mean * count + other * size) / (count + size), count + size
        blocks.append((mean, count))
    return knots, np.concatenate([np.full(count, mean) for mean, count in blocks])


def _estimate(by: str, maps: list[tuple[Array, Array]], most: float) -> Estimate:
    return Estimate(
        by=by,
        knots=tuple(tuple(knots.tolist()) for knots, _ in maps),
        values=tuple(tuple(values.tolist()) for _, values in maps),
        most=float(most),
    )


def _check_rows(y_true: Array, y_pred: Array) -> None:
    if len(y_true) != len(y_pred) or y_pred.ndim not in (1, 2):
        raise InputError("needs a prediction for each row", field="y_pred")
    if len(y_true) < FEWEST_ROWS:
        raise InputError(f"needs {FEWEST_ROWS} held-out rows, there are {len(y_true)}", field="y_pred")
    if not (np.isfinite(y_true).all() and np.isfinite(y_pred).all()):
        raise InputError("needs finite numbers in every row", field="y_pred")


def _check_maps(estimate: Estimate, classes: int) -> None:
    if len(estimate.knots) != classes:
        raise InputError(
            f"the reference's estimate has {len(estimate.knots)} maps, the predictions need {classes}",
            field="reference.estimate",
        )
