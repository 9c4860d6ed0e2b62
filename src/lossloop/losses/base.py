"""The contract: a Loss is a pure function of (y_true, y_pred[, features]), a cost per row, with a version."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Unpack

import numpy as np
from array_api_compat import is_array_api_obj

from lossloop.core.errors import InputError
from lossloop.losses.arrays import from_margin, is_eager, prepare, prepare_outcomes
from lossloop.losses.composition import Clipped, Condition, Scaled, Sum, Where
from lossloop.losses.declare import (
    Array,
    Bounds,
    Declaration,
    Features,
    Golden,
    Kind,
    Parameter,
)
from lossloop.losses.definition import Body, Bound, Declared, Definition, Requirement
from lossloop.losses.facts import Facts
from lossloop.losses.rows import RowProblem, raise_first
from lossloop.losses.scoring import check_features, read_batch, score, score_rows
from lossloop.losses.training import derivatives, link_of


@dataclass(frozen=True, eq=False, repr=False)
class Loss(Facts):
    """What a mistake costs, row by row. Lower is better.

    Two losses are equal where their digests are: same code, same parameters, same declaration. Losses of one
    kind and unit compose: ``0.7*a + 0.3*b``, ``a.clip(5)``, ``a.where(carrier="UA")``.
    """

    def with_parameters(self, **parameters: Parameter) -> Loss:
        """The same loss with some parameters changed; InputError names the parameter that does not fit."""
        if not isinstance(self.body, Bound):
            raise InputError(f"{self} is composed and has no parameters of its own; set those of its parts")
        return Loss(self.body.definition.bind({**self.body.parameters, **parameters}))

    # ------------------------------------------------------------------ what a mistake costs

    def __call__(self, y_true: Array, y_pred: Array, features: Features | None = None) -> Array:
        """Cost of each row, shape (n,), in the caller's array library.

        Args:
            y_true: Outcomes, shape (n,); None where the loss needs none.
            y_pred: Predictions, shape (n,), or (n, k) where the kind has columns.
            features: Columns by name, each (n,), where the loss needs them.

        Raises:
            InputError: Shapes do not fit. For NumPy arrays and lists also: a row cannot be scored, or its
                cost is out of bounds; the error names the row. Values of other libraries, which may be
                traced or on a device, are not looked at: `validate` them where they come in.
        """
        if is_eager(y_true, y_pred):
            return score(self.body, y_true, y_pred, features)
        check_features(self.body, features)
        return self.body.costs(*prepare(self.declared, y_true, y_pred), features)

    def rows(
        self, y_true: Array, y_pred: Array, features: Features | None = None
    ) -> tuple[Array, list[RowProblem]]:
        """Cost of each row that has one, float64 (n,) with NaN for the others, and why they have none.

        Raises InputError only where the batch as a whole cannot be read.
        """
        return score_rows(self.body, y_true, y_pred, features)

    def check_rows(self, y_true: Array, y_pred: Array, features: Features | None = None) -> list[RowProblem]:
        """Problems of the input, in the order of the rows; the costs are not computed."""
        return read_batch(self.body, y_true, y_pred, features)[0].problems

    def validate(self, y_true: Array, y_pred: Array, features: Features | None = None) -> None:
        """Raise InputError for the first row that cannot be scored."""
        raise_first(self.check_rows(y_true, y_pred, features))

    # ------------------------------------------------------------------ training

    def predict(self, margin: Array) -> Array:
        """Predictions from a training library's raw margins."""
        return from_margin(link_of(self.body), _as_margin(margin))

    def gradient(self, y_true: Array, margin: Array, features: Features | None = None) -> Array:
        """Derivative of each cost by its raw margin, in the margin's shape: (n,), or (n, k) for softmax.

        Raises InputError where the loss has none.
        """
        return self._slope("gradient", y_true, margin, features)

    def hessian(self, y_true: Array, margin: Array, features: Features | None = None) -> Array:
        """Second derivative of each cost by its raw margin; for softmax the diagonal, shape (n, k)."""
        return self._slope("hessian", y_true, margin, features)

    def derivatives(
        self, y_true: Array, margin: Array, *, weight: Array | None = None, curvature: float = 1.0
    ) -> tuple[Array, Array]:
        """Gradient and Hessian for a boosting library, NumPy float64, in the margin's shape.

        Where the second derivative is not above 0 (absolute error has none, the Brier score's can be
        negative) `curvature` stands in, for such a library divides by it.

        Args:
            y_true: Outcomes (n,).
            margin: Raw margins, (n,), or (n, k) for softmax.
            weight: Weights of the rows (n,), by which both are multiplied.
            curvature: Positive; in the unit of the loss per margin squared.

        Raises:
            InputError: The loss has no gradient, or an outcome is ill: the error names the row.
        """
        return derivatives(self.body, y_true, margin, weight=weight, curvature=curvature)

    def _slope(self, which: str, y_true: Array, margin: Array, features: Features | None) -> Array:
        link_of(self.body)
        check_features(self.body, features)
        margin = _as_margin(margin)
        slope = getattr(self.body, which)(prepare_outcomes(self.declared, y_true, margin), margin, features)
        if slope is None:
            raise InputError(f"{self} has no {which}; where one is needed, derivatives() puts a constant")
        return slope

    # ------------------------------------------------------------------ composition

    __array_ufunc__ = None  # so that a NumPy number leaves the multiplication to us, and an array fails

    def __mul__(self, weight: object) -> Loss:
        if isinstance(weight, bool) or not isinstance(weight, int | float):
            return NotImplemented
        return Loss(Scaled(self.body, float(weight)))

    __rmul__ = __mul__

    def __add__(self, other: object) -> Loss:
        return Loss(Sum(self.body, other.body)) if isinstance(other, Loss) else NotImplemented

    def clip(self, high: float, *, low: float | None = None) -> Loss:
        """Cost at most `high` and, where given, at least `low`; the bounds follow."""
        return Loss(Clipped(self.body, float(high), None if low is None else float(low)))

    def where(self, condition: Condition | None = None, /, **features: Parameter) -> Loss:
        """The same cost where the condition holds, and 0 elsewhere.

        Args:
            condition: A function of any of (y_true, y_pred, features), by name, that returns booleans (n,).
            features: Values that features must equal: ``where(carrier="UA")``.
        """
        return Loss(Where(self.body, condition, tuple(sorted(features.items()))))

    # ------------------------------------------------------------------ as a value

    def __str__(self) -> str:
        return self.body.text

    def __repr__(self) -> str:
        low, high = self.bounds
        unit = f" {self.unit}" if self.unit else ""
        return f"<Loss {self}: {self.kind}, [{low:g}, {high:g}]{unit}>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Loss) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def __reduce__(self) -> tuple[type[Loss], tuple[Body]]:
        """Pickle without what was computed, for the code may be another where it is unpickled."""
        return Loss, (self.body,)


def loss(
    *, bounds: Bounds | Callable[..., Bounds], name: str | None = None, **declared: Unpack[Declared]
) -> Callable[[Callable[..., Array]], Loss]:
    """Make a Loss of a plain function ``(y_true, y_pred[, features], *, parameter=default, ...) -> (n,)``.

    The function gets arrays of one library: labels of two classes as booleans, classes as 64-bit integers,
    numbers as floats. Each cost may depend on its own row only.

    Args:
        bounds: (low, high) of the cost of one row, or a function of the parameters that gives them.
        name: By default the function's.
        declared: What else is known of it; see Declared.

    Raises:
        InputError: The declaration contradicts itself, or the function takes something else.
    """

    def make(function: Callable[..., Array]) -> Loss:
        definition = Definition(name=name or function.__name__, function=function, bounds=bounds, **declared)
        made = Loss(definition.bind({}))
        made.__dict__["__doc__"] = function.__doc__
        return made

    return make


def _as_margin(margin: Array) -> Array:
    return margin if is_array_api_obj(margin) else np.asarray(margin, dtype=np.float64)


__all__ = [
    "Array",
    "Declaration",
    "Features",
    "Golden",
    "Kind",
    "Loss",
    "Requirement",
    "RowProblem",
    "loss",
]
