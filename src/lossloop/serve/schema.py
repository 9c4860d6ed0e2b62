"""A version's feature schema at work: rows of features in, columns out, a problem for every bad row."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from lossloop.core.errors import InputError, alternatives
from lossloop.registry import Feature, FeatureKind

Row = Mapping[str, Any]


def problem(features: Sequence[Feature], row: Row, index: int) -> InputError | None:
    """What is wrong with a row's features; None where nothing is."""
    for feature in features:
        message = _value_problem(feature, row.get(feature.name))
        if message:
            return InputError(message, field=f"features.{feature.name}", row=index)
    if len(row) > len(features) or any(name not in row for name in _names(features)):
        known = _names(features)
        for name in row:
            if name not in known:
                return InputError(
                    f"unknown feature {name!r}; {alternatives(name, known)}",
                    field=f"features.{name}",
                    row=index,
                )
    return None


def columns(features: Sequence[Feature], rows: Sequence[Row]) -> dict[str, pa.Array]:
    """Rows that have no problem, as one Arrow array per feature: float64 or string, null where absent."""
    return {feature.name: _column(feature, [row.get(feature.name) for row in rows]) for feature in features}


def struct(features: Sequence[Feature], rows: Sequence[Row]) -> pa.Array:
    """The same as one struct array, for the log."""
    made = columns(features, rows)
    return pa.StructArray.from_arrays(list(made.values()), names=list(made))


def _column(feature: Feature, values: Sequence[Any]) -> pa.Array:
    if feature.kind is FeatureKind.CATEGORY:
        return pa.array(values, pa.string())
    # Arrow refuses whole numbers that no float holds exactly; the nearest one is what a model is given.
    return pa.array([None if value is None else float(value) for value in values], pa.float64())


def _names(features: Sequence[Feature]) -> list[str]:
    return [feature.name for feature in features]


def _value_problem(feature: Feature, value: Any) -> str:
    if value is None:
        return "" if feature.nullable else f"feature {feature.name!r} is missing"
    if feature.kind is FeatureKind.CATEGORY:
        return "" if isinstance(value, str) else f"feature {feature.name!r} must be text, not {value!r}"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return f"feature {feature.name!r} must be a number, not {value!r}"
    try:
        finite = math.isfinite(value)
    except OverflowError:
        finite = False
    return "" if finite else f"feature {feature.name!r} must be a finite number, not {value!r}"
