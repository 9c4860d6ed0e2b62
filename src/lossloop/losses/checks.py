"""What any loss must pass: the library's, a user's, a plugin's.

Each check takes a loss and raises AssertionError that says what is wrong. `check` runs them all on inputs
made up for the loss's kind, or drawn from its golden vectors where it needs features.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from lossloop.core.errors import InputError, UnknownName
from lossloop.losses.base import Loss
from lossloop.losses.catalogue import names
from lossloop.losses.declare import MATCHED, TABLES, Array, Features
from lossloop.losses.definition import Bound
from lossloop.losses.rows import beyond_bounds
from lossloop.losses.text import parse

_ROWS = 40
_STEP = 1e-5
_VERSION = re.compile(r".+@[0-9a-f]{6}(\+unknown)?")


@dataclass(frozen=True)
class Sample:
    """A clean batch for a loss."""

    y_true: Array
    y_pred: Array
    features: Features | None = None

    def take(self, rows: Array) -> Sample:
        """Some of the rows, in the order given."""
        features = self.features and {name: column[rows] for name, column in self.features.items()}
        return Sample(None if self.y_true is None else self.y_true[rows], self.y_pred[rows], features)

    def costs(self, loss: Loss) -> Array:
        """The loss of each row."""
        return loss(self.y_true, self.y_pred, self.features)


def sample(loss: Loss, *, seed: int = 0, rows: int = _ROWS) -> Sample:
    """Inputs of the loss's kind; from golden vectors where only its author knows what they look like."""
    rng = np.random.default_rng(seed)
    if loss.needs_features:
        return _from_golden(loss, rng.integers(0, 2**31, rows))
    pred = _predictions(loss, rng, rows)
    return Sample(_outcomes(loss, rng, pred) if loss.needs_outcome else None, pred)


def _from_golden(loss: Loss, draws: Array) -> Sample:
    own = [golden for golden in loss.golden if not golden.parameters and golden.features is not None]
    if not own:
        raise InputError(f"{loss} needs features: give it golden vectors with features, at its defaults")
    golden = own[0]
    whole = Sample(
        None if golden.y_true is None else np.asarray(golden.y_true),
        np.asarray(golden.y_pred),
        {name: np.asarray(column) for name, column in (golden.features or {}).items()},
    )
    return whole.take(draws % len(golden.expected))


def _predictions(loss: Loss, rng: np.random.Generator, rows: int) -> Array:
    columns = loss.declared.classes or 3
    if loss.kind == "probability":
        return rng.uniform(0.01, 0.99, rows)
    if loss.kind == "class_probabilities":
        return rng.dirichlet(np.ones(columns), rows)
    if loss.kind == "class":
        return rng.integers(0, columns, rows)
    if loss.kind == "set":
        return rng.random((rows, columns)) < 0.5
    shape = (rows, columns) if loss.kind in TABLES else (rows,)
    if loss.kind == "survival":
        return -np.sort(-rng.random(shape), axis=1)
    found = rng.uniform(0.1, 3.0, shape) if loss.declared.positive else rng.normal(0.0, 2.0, shape)
    return np.sort(found, axis=1) if loss.declared.rising else found


def _outcomes(loss: Loss, rng: np.random.Generator, pred: Array) -> Array:
    rows = len(pred)
    if loss.declared.outcome == "binary":
        return rng.integers(0, 2, rows)
    if loss.declared.outcome == "class":
        return rng.integers(0, pred.shape[1] if pred.ndim == 2 else loss.declared.classes or 3, rows)
    if loss.declared.outcome == "count":
        return rng.poisson(2.0, rows).astype(np.float64)
    if loss.declared.outcome == "time_and_event":
        return np.stack([rng.exponential(2.0, rows), rng.integers(0, 2, rows)], axis=1)
    return rng.normal(0.0, 2.0, pred.shape if loss.kind in MATCHED else rows)


def golden_vectors_hold(loss: Loss) -> None:
    """The costs that were written down are the costs."""
    if not isinstance(loss.body, Bound):
        return
    for golden in loss.golden:
        features = None if golden.features is None else dict(golden.features)
        at_its_parameters = Loss(loss.body.definition.bind(golden.parameters))
        costs = at_its_parameters(golden.y_true, golden.y_pred, features)
        close = np.allclose(costs, golden.expected, rtol=1e-9, atol=1e-9)
        assert close, f"{loss.name}: golden vectors say {list(golden.expected)}, not {costs.tolist()}"


def one_cost_per_row(loss: Loss) -> None:
    """Costs are finite floats of shape (n,) within the bounds, and an empty batch has none."""
    batch = sample(loss)
    costs = batch.costs(loss)
    assert costs.shape == (_ROWS,), f"{loss.name} gives shape {costs.shape}"
    assert costs.dtype.kind == "f", f"{loss.name} gives {costs.dtype}"
    assert np.isfinite(costs).all(), f"{loss.name} gives a cost that is not finite"
    assert not beyond_bounds(costs, loss.bounds, np.arange(_ROWS)), f"{loss.name} leaves its bounds"
    assert batch.take(np.arange(0)).costs(loss).shape == (0,), f"{loss.name} fails on an empty batch"


def rows_are_independent(loss: Loss) -> None:
    """A row's cost depends on that row alone: it is the same in another order and in a smaller batch."""
    batch, order = sample(loss), np.random.default_rng(1).permutation(_ROWS)
    costs = batch.costs(loss)
    same = np.allclose(batch.take(order).costs(loss), costs[order], rtol=1e-12, atol=1e-12)
    assert same, f"{loss.name}: a cost depends on the order of the rows"
    alone = [batch.take(np.arange(row, row + 1)).costs(loss)[0] for row in range(5)]
    same = np.allclose(alone, costs[:5], rtol=1e-12, atol=1e-12)
    assert same, f"{loss.name}: a cost depends on the other rows"


def it_is_pure(loss: Loss) -> None:
    """The same input gives the same costs, and comes back unchanged."""
    batch, again = sample(loss), sample(loss)
    first = batch.costs(loss)
    assert np.array_equal(batch.y_pred, again.y_pred), f"{loss.name} changes its predictions"
    assert batch.y_true is None or np.array_equal(batch.y_true, again.y_true), f"{loss.name} changes outcomes"
    assert np.array_equal(first, batch.costs(loss)), f"{loss.name} is not deterministic"


def ill_rows_are_named(loss: Loss) -> None:
    """A missing prediction is named by its row, and costs the other rows nothing."""
    batch = sample(loss)
    if batch.y_pred.dtype.kind not in "fiu":
        return
    pred = batch.y_pred.astype(np.float64)
    pred[3] = math.nan
    costs, problems = loss.rows(batch.y_true, pred, batch.features)
    assert [problem.row for problem in problems] == [3], f"{loss.name} does not name the row that is NaN"
    assert np.array_equal(np.isnan(costs), np.arange(_ROWS) == 3), f"{loss.name} loses good rows"


def missing_outcomes_are_named(loss: Loss) -> None:
    """A row without outcome has no loss where an outcome is needed."""
    batch = sample(loss)
    if not loss.needs_outcome or batch.y_true.dtype.kind not in "fiu" or batch.y_true.ndim > 1:
        return
    true = batch.y_true.astype(np.float64)
    true[2] = math.nan
    problems = loss.check_rows(true, batch.y_pred, batch.features)
    assert [(problem.row, problem.field) for problem in problems] == [(2, "y_true")], (
        f"{loss.name}: {problems}"
    )


def version_is_its_own(loss: Loss) -> None:
    """A version is well formed, and equal where code and parameters are."""
    assert _VERSION.fullmatch(loss.version), f"{loss.version} is not name@digest"
    if not loss.parameters:
        return
    twin = loss.with_parameters(**loss.parameters)
    assert twin == loss, f"{loss.name} is not itself at its own parameters"
    assert twin.version == loss.version, f"{loss.name} has two versions at the same parameters"


def unknown_parameters_are_refused(loss: Loss) -> None:
    """A parameter that is not there is an error that names those that are."""
    try:
        loss.with_parameters(no_such_parameter=1)
    except (InputError, UnknownName):
        return
    raise AssertionError(f"{loss.name} takes any parameter")


def its_text_is_read_back(loss: Loss) -> None:
    """What a registered loss prints is what a policy file can hold."""
    if loss.name in names():
        assert parse(str(loss)) == loss, f"{loss} reads back as {parse(str(loss))!r}"


def gradient_is_the_slope(loss: Loss) -> None:
    """Gradient and Hessian agree with finite differences, where the cost is smooth and inside its bounds."""
    if loss.link is None:
        return
    margin = _margins(loss)
    batch = sample(loss)
    steps = _unit_steps(margin)
    for step in steps:
        low, high = _along(loss, batch, margin, -step), _along(loss, batch, margin, step)
        inside = _smooth(loss, batch, margin, step)
        numeric = (high - low) / (2 * _STEP)
        given = (loss.gradient(batch.y_true, margin, batch.features) * step).reshape(_ROWS, -1).sum(1) / _STEP
        assert np.allclose(given[inside], numeric[inside], rtol=1e-4, atol=1e-5), (
            f"{loss.name}: gradient is wrong"
        )
        if loss.has_hessian:
            _check_hessian(loss, batch, margin, step, inside)


def _check_hessian(loss: Loss, batch: Sample, margin: Array, step: Array, inside: Array) -> None:
    def gradient(at: Array) -> Array:
        return (loss.gradient(batch.y_true, at, batch.features) * step).reshape(_ROWS, -1).sum(1) / _STEP

    numeric = (gradient(margin + step) - gradient(margin - step)) / (2 * _STEP)
    given = (loss.hessian(batch.y_true, margin, batch.features) * step).reshape(_ROWS, -1).sum(1) / _STEP
    assert np.allclose(given[inside], numeric[inside], rtol=1e-4, atol=1e-5), f"{loss.name}: Hessian is wrong"


def _margins(loss: Loss) -> Array:
    shape = (_ROWS, loss.declared.classes or 3) if loss.kind in TABLES else (_ROWS,)
    return np.random.default_rng(2).normal(0.0, 1.5, shape)


def _unit_steps(margin: Array) -> list[Array]:
    """A step along each column of the margin."""
    if margin.ndim == 1:
        return [np.full(margin.shape, _STEP)]
    return [
        np.where(np.arange(margin.shape[1]) == column, _STEP, 0.0) * np.ones_like(margin)
        for column in range(3)
    ]


def _along(loss: Loss, batch: Sample, margin: Array, step: Any) -> Array:
    return loss(batch.y_true, loss.predict(margin + step), batch.features)


def _smooth(loss: Loss, batch: Sample, margin: Array, step: Array) -> Array:
    """Rows with no kink nearby (the slope is the same on both sides) and a cost inside its bounds."""
    low, here, high = (_along(loss, batch, margin, k * step) for k in (-1, 0, 1))
    straight = np.abs(high - 2 * here + low) < 1e-3 * _STEP
    return straight & (here > loss.bounds[0]) & (here < loss.bounds[1])


CHECKS: tuple[Callable[[Loss], None], ...] = (
    golden_vectors_hold,
    one_cost_per_row,
    it_is_pure,
    rows_are_independent,
    ill_rows_are_named,
    missing_outcomes_are_named,
    version_is_its_own,
    unknown_parameters_are_refused,
    its_text_is_read_back,
    gradient_is_the_slope,
)


def check(loss: Loss, *, skip: tuple[str, ...] = ()) -> None:
    """Run every check but those named in `skip`; AssertionError says what is wrong."""
    for one in CHECKS:
        if one.__name__ not in skip:
            one(loss)


def agrees(loss: Loss, other: Any, *, seed: int = 0, tolerance: float = 1e-9) -> None:
    """The loss gives the same in another array library as in NumPy, derivatives included.

    `other` is that library's namespace; it must be able to hold float64.
    """
    batch = sample(loss, seed=seed)
    true = None if batch.y_true is None else other.asarray(batch.y_true)
    features = batch.features and {name: other.asarray(column) for name, column in batch.features.items()}
    costs = loss(true, other.asarray(batch.y_pred), features)
    _close(loss, np.asarray(costs), batch.costs(loss), tolerance)
    if loss.link is None:
        return
    margin = _margins(loss)
    for name in ("gradient", "hessian") if loss.has_hessian else ("gradient",):
        theirs = getattr(loss, name)(true, other.asarray(margin), features)
        _close(loss, np.asarray(theirs), getattr(loss, name)(batch.y_true, margin, batch.features), tolerance)


def _close(loss: Loss, theirs: Array, ours: Array, tolerance: float) -> None:
    assert theirs.shape == ours.shape, f"{loss.name}: shapes {theirs.shape} and {ours.shape}"
    assert np.allclose(theirs, ours, rtol=tolerance, atol=tolerance), f"{loss.name}: libraries disagree"
