"""Losses made of losses: weighted, summed, clipped, and confined to some rows.

Only what means the same is combined: one kind of prediction, one kind of outcome, one unit. Bounds follow
from the parts' bounds, and so does the identity.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from array_api_compat import array_namespace

from lossloop.core.codeid import CodeIdentity, code_identity
from lossloop.core.errors import InputError
from lossloop.core.ids import digest
from lossloop.losses.arrays import from_margin
from lossloop.losses.declare import Array, Bounds, Declaration, Features, Parameter
from lossloop.losses.definition import Body, value_text

Condition = Callable[..., Array]
_CONDITION_INPUTS = ("y_true", "y_pred", "features")


@dataclass(frozen=True, eq=False)
class Scaled:
    """A positive multiple of a loss: ``0.7*log_loss(cap=5)``."""

    part: Body
    weight: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.weight) and self.weight > 0):
            raise InputError(
                f"a weight must be a positive number, not {self.weight!r}; a cost cannot change sign"
            )

    @property
    def declared(self) -> Declaration:
        low, high = self.part.declared.bounds
        return replace(self.part.declared, bounds=(self.weight * low, self.weight * high))

    @property
    def text(self) -> str:
        return f"{value_text(self.weight)}*{_grouped(self.part)}"

    @property
    def has_hessian(self) -> bool:
        return self.part.has_hessian

    def identity(self) -> CodeIdentity:
        return _composed(f"scaled {self.weight!r}", self.part)

    def costs(self, y_true: Array, y_pred: Array, features: Features | None) -> Array:
        return self.weight * self.part.costs(y_true, y_pred, features)

    def gradient(self, y_true: Array, margin: Array, features: Features | None) -> Array | None:
        return _times(self.weight, self.part.gradient(y_true, margin, features))

    def hessian(self, y_true: Array, margin: Array, features: Features | None) -> Array | None:
        return _times(self.weight, self.part.hessian(y_true, margin, features))


@dataclass(frozen=True, eq=False)
class Sum:
    """The sum of two losses, row by row."""

    left: Body
    right: Body

    def __post_init__(self) -> None:
        for what in ("unit", "kind", "outcome"):
            pair = (getattr(self.left.declared, what), getattr(self.right.declared, what))
            if pair[0] != pair[1]:
                words = f"{self.left.text} + {self.right.text} has no meaning: their {what}s differ"
                raise InputError(f"{words}, {pair[0]!r} and {pair[1]!r}", field=what)
        _common(self.left.declared.classes, self.right.declared.classes)

    @property
    def declared(self) -> Declaration:
        left, right = self.left.declared, self.right.declared
        return replace(
            left,
            bounds=(left.bounds[0] + right.bounds[0], left.bounds[1] + right.bounds[1]),
            needs_outcome=left.needs_outcome or right.needs_outcome,
            needs_features=left.needs_features or right.needs_features,
            positive=left.positive or right.positive,
            classes=_common(left.classes, right.classes),
            link=left.link if left.link == right.link else None,
        )

    @property
    def text(self) -> str:
        return f"{self.left.text} + {self.right.text}"

    @property
    def has_hessian(self) -> bool:
        return self.left.has_hessian and self.right.has_hessian

    def identity(self) -> CodeIdentity:
        return _composed("sum", self.left, self.right)

    def costs(self, y_true: Array, y_pred: Array, features: Features | None) -> Array:
        return self.left.costs(y_true, y_pred, features) + self.right.costs(y_true, y_pred, features)

    def gradient(self, y_true: Array, margin: Array, features: Features | None) -> Array | None:
        left = self.left.gradient(y_true, margin, features)
        return _plus(left, self.right.gradient(y_true, margin, features))

    def hessian(self, y_true: Array, margin: Array, features: Features | None) -> Array | None:
        left = self.left.hessian(y_true, margin, features)
        return _plus(left, self.right.hessian(y_true, margin, features))


@dataclass(frozen=True, eq=False)
class Clipped:
    """A loss that costs at most `high` and, where `low` is given, at least that."""

    part: Body
    high: float
    low: float | None = None

    def __post_init__(self) -> None:
        low, high = self._bounds
        if not low < high:
            raise InputError(
                f"clip({value_text(self.high)}) leaves {self.part.text} no room: [{low:g}, {high:g}]"
            )

    @property
    def _bounds(self) -> Bounds:
        low, high = self.part.declared.bounds
        return (low if self.low is None else max(low, self.low), min(high, self.high))

    @property
    def declared(self) -> Declaration:
        return replace(self.part.declared, bounds=self._bounds)

    @property
    def text(self) -> str:
        low = "" if self.low is None else f", low={value_text(self.low)}"
        return f"{_grouped(self.part)}.clip({value_text(self.high)}{low})"

    @property
    def has_hessian(self) -> bool:
        return self.part.has_hessian

    def identity(self) -> CodeIdentity:
        return _composed(f"clipped {self.low!r} {self.high!r}", self.part)

    def costs(self, y_true: Array, y_pred: Array, features: Features | None) -> Array:
        costs = self.part.costs(y_true, y_pred, features)
        return array_namespace(costs).clip(costs, self.low, self.high)

    def gradient(self, y_true: Array, margin: Array, features: Features | None) -> Array | None:
        return self._inside(self.part.gradient(y_true, margin, features), y_true, margin, features)

    def hessian(self, y_true: Array, margin: Array, features: Features | None) -> Array | None:
        return self._inside(self.part.hessian(y_true, margin, features), y_true, margin, features)

    def _inside(
        self, slope: Array | None, y_true: Array, margin: Array, features: Features | None
    ) -> Array | None:
        """A slope where the clip does not bind, 0 where it does."""
        if slope is None or self.declared.link is None:
            return None
        costs = self.part.costs(y_true, from_margin(self.declared.link, margin), features)
        low = -math.inf if self.low is None else self.low
        return _masked(slope, (costs < self.high) & (costs > low))


@dataclass(frozen=True, eq=False)
class Where:
    """A loss on the rows for which a condition holds, and 0 on the others.

    A condition is a function of any of (y_true, y_pred, features) by name that returns booleans (n,), or
    feature values to be equal to.
    """

    part: Body
    condition: Condition | None
    equal: tuple[tuple[str, Parameter], ...] = ()

    def __post_init__(self) -> None:
        unknown = [name for name in self._inputs if name not in _CONDITION_INPUTS]
        if unknown or not (self._inputs or self.equal):
            raise InputError(
                "where() takes a function of y_true, y_pred or features that returns booleans, "
                "or features to be equal to, such as where(carrier='UA')"
            )

    @property
    def _inputs(self) -> tuple[str, ...]:
        return tuple(inspect.signature(self.condition).parameters) if self.condition else ()

    @property
    def declared(self) -> Declaration:
        low, high = self.part.declared.bounds
        needs_outcome = self.part.declared.needs_outcome or "y_true" in self._inputs
        needs_features = self.part.declared.needs_features or bool(self.equal) or "features" in self._inputs
        return replace(
            self.part.declared,
            bounds=(min(low, 0.0), max(high, 0.0)),
            needs_outcome=needs_outcome,
            needs_features=needs_features,
            link=None if "y_pred" in self._inputs else self.part.declared.link,  # it would have a jump
        )

    @property
    def text(self) -> str:
        parts = [getattr(self.condition, "__name__", "condition")] if self.condition else []
        parts += [f"{name}={value_text(value)}" for name, value in self.equal]
        return f"{_grouped(self.part)}.where({', '.join(parts)})"

    @property
    def has_hessian(self) -> bool:
        return self.part.has_hessian

    def identity(self) -> CodeIdentity:
        return _composed(f"where {self.equal!r}", self.part, condition=self.condition)

    def costs(self, y_true: Array, y_pred: Array, features: Features | None) -> Array:
        return _masked(self.part.costs(y_true, y_pred, features), self._holds(y_true, y_pred, features))

    def gradient(self, y_true: Array, margin: Array, features: Features | None) -> Array | None:
        return self._confined(self.part.gradient(y_true, margin, features), y_true, margin, features)

    def hessian(self, y_true: Array, margin: Array, features: Features | None) -> Array | None:
        return self._confined(self.part.hessian(y_true, margin, features), y_true, margin, features)

    def _confined(
        self, slope: Array | None, y_true: Array, margin: Array, features: Features | None
    ) -> Array | None:
        if slope is None or self.declared.link is None:
            return None
        return _masked(slope, self._holds(y_true, margin, features))

    def _holds(self, y_true: Array, y_pred: Array, features: Features | None) -> Array:
        xp = array_namespace(y_pred)
        holds = xp.ones(y_pred.shape[0], dtype=xp.bool)
        if self.condition is not None:
            given = {"y_true": y_true, "y_pred": y_pred, "features": features}
            holds = holds & _booleans(self.condition(**{name: given[name] for name in self._inputs}), holds)
        for name, value in self.equal:
            holds = holds & _booleans(_column(features, name) == value, holds)
        return holds


def _booleans(answer: Any, like: Array) -> Array:
    xp = array_namespace(like)
    if tuple(getattr(answer, "shape", ())) != tuple(like.shape):
        raise InputError(f"a condition must give one boolean per row: shape ({like.shape[0]},)")
    return xp.astype(xp.asarray(answer), xp.bool)


def _column(features: Features | None, name: str) -> Array:
    if features is None or name not in features:
        raise InputError(f"this loss needs the feature {name!r}", field=f"features.{name}")
    return features[name]


def _masked(values: Array, mask: Array) -> Array:
    xp = array_namespace(values)
    wide = mask[:, None] if values.ndim == 2 else mask
    return xp.where(wide, values, xp.zeros_like(values))


def _times(weight: float, slope: Array | None) -> Array | None:
    return None if slope is None else weight * slope


def _plus(left: Array | None, right: Array | None) -> Array | None:
    return None if left is None or right is None else left + right


def _common(left: int | None, right: int | None) -> int | None:
    if left is not None and right is not None and left != right:
        raise InputError(f"one loss is about {left} classes and the other about {right}", field="classes")
    return right if left is None else left


def _grouped(part: Body) -> str:
    return f"({part.text})" if isinstance(part, Sum | Scaled) else part.text


def _composed(how: str, *parts: Body, condition: Condition | None = None) -> CodeIdentity:
    identities = [part.identity() for part in parts]
    if condition is not None:
        identities.append(code_identity(condition))
    return CodeIdentity(
        digest=digest("composed/1", how, *(identity.digest for identity in identities)),
        parts=tuple(part for identity in identities for part in identity.parts),
        unknown=tuple(sorted({reason for identity in identities for reason in identity.unknown})),
    )
