"""What a loss declares about itself: kinds of prediction and outcome, bounds, unit, link, golden vectors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args

from lossloop.core.errors import InputError

Array = Any
"""An array of any library that follows the Array API, in shape (n,) unless its kind has columns."""
Features = Mapping[str, Array]
"""Feature columns by name, each of shape (n,)."""
Parameter = bool | int | float | str | tuple[Any, ...] | list[Any] | None
Bounds = tuple[float, float]

Kind = Literal[
    "value",
    "probability",
    "class_probabilities",
    "quantiles",
    "ensemble",
    "survival",
    "vector",
    "ranking",
    "set",
    "action",
    "class",
    "score",
]
"""What a prediction is: decides its shape and its checks."""
Outcome = Literal["binary", "class", "count", "value", "time_and_event", "any"]
"""What an outcome is: 0 or 1; a class from 0; a number of events; a number; how long, and 1 where that ended
with the event or 0 where nobody looked any longer; anything."""
Link = Literal["identity", "sigmoid", "softmax", "exp"]
"""How a training library's raw margin becomes a prediction."""

TABLES: frozenset[Kind] = frozenset(
    {"class_probabilities", "quantiles", "ensemble", "survival", "vector", "ranking", "set"}
)
"""Kinds whose predictions have shape (n, k)."""
MATCHED: frozenset[Kind] = frozenset({"vector", "ranking"})
"""Kinds whose outcomes have the shape of their predictions: one for each component or item."""
USUAL_OUTCOME: Mapping[Kind, Outcome] = {
    "value": "value",
    "probability": "binary",
    "class_probabilities": "class",
    "quantiles": "value",
    "ensemble": "value",
    "survival": "time_and_event",
    "vector": "value",
    "ranking": "any",
    "set": "class",
    "action": "value",
    "class": "class",
    "score": "binary",
}


@dataclass(frozen=True, kw_only=True)
class Declaration:
    """What is known of a loss without calling it.

    bounds: (low, high) of the cost of one row, in `unit`; either may be infinite.
    positive: predictions must be above 0.
    rising: no column of a prediction may be below the one before it.
    classes: how many classes, or columns, there must be; None for any number.
    link: from margin to prediction, where the loss is a training objective.
    """

    kind: Kind
    outcome: Outcome
    bounds: Bounds
    unit: str
    needs_outcome: bool = True
    needs_features: bool = False
    positive: bool = False
    classes: int | None = None
    link: Link | None = None
    rising: bool = False

    def __post_init__(self) -> None:
        _choose("kind", self.kind, get_args(Kind))
        _choose("outcome", self.outcome, get_args(Outcome))
        if self.link is not None:
            _choose("link", self.link, get_args(Link))
        low, high = self.bounds
        if math.isnan(low) or math.isnan(high) or low >= high:
            raise InputError(f"bounds must be (low, high) with low < high, not {self.bounds}", field="bounds")
        if not isinstance(self.unit, str):
            raise InputError(f"a unit is a word such as USD, not {self.unit!r}", field="unit")

    def outcome_columns(self, columns: int) -> int | None:
        """How many columns outcomes have where predictions have so many; None for outcomes of shape (n,)."""
        if self.outcome == "time_and_event":
            return 2
        return columns if self.kind in MATCHED else None

    def content(self) -> str:
        """Text for the version. Defaults are left out, so that a new field leaves old versions alone."""
        given = {item.name: getattr(self, item.name) for item in fields(self)}
        return ";".join(
            f"{item.name}={given[item.name]!r}" for item in fields(self) if given[item.name] != item.default
        )


@dataclass(frozen=True, kw_only=True)
class Golden:
    """Inputs and the costs that they must give, for ever, to 1e-9 (relative, and absolute near 0)."""

    y_pred: Sequence[Any]
    expected: Sequence[float]
    y_true: Sequence[Any] | None = None
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    features: Mapping[str, Sequence[Any]] | None = None


def _choose(what: str, given: str, allowed: tuple[str, ...]) -> None:
    if given not in allowed:
        raise InputError(f"{what} {given!r} is not one of {', '.join(allowed)}", field=what)
