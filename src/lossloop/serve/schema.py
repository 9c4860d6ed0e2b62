"""A version's feature schema at work: rows of features in, columns out, a problem for every bad row."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from lossloop.core.errors import InputError, alternatives
from lossloop.registry import Feature, FeatureKind
from lossloop.serve.runtimes import Columns

Row = Mapping[str, Any]
TYPES: Mapping[FeatureKind, type[Any]] = {FeatureKind.NUMBER: np.float64, FeatureKind.CATEGORY: object}
"""What a runtime is given of each kind."""


class Schema:
    """The features of a version, ready to look at many rows."""

    def __init__(self, features: Sequence[Feature]) -> None:
        self.features = tuple(features)
        self.names = tuple(feature.name for feature in features)
        self._plan = [
            (feature.name, feature.kind is FeatureKind.NUMBER, feature.nullable) for feature in features
        ]

    def fits(self, row: dict[str, Any]) -> bool:
        """Whether a row has no problem; what a bad one has is for `problem` to say."""
        there = 0
        for name, number, nullable in self._plan:
            value = row.get(name)
            kind = type(value)
            if value is None:
                if not nullable:
                    return False
                there += name in row
                continue
            there += 1
            if number:
                if kind is float:
                    if not math.isfinite(value):
                        return False
                elif kind is not int or not -_LARGEST <= value <= _LARGEST:
                    return False
            elif kind is not str:
                return False
        return there == len(row)

    def quick(self, rows: Sequence[dict[str, Any]]) -> dict[str, np.ndarray[Any, Any]] | None:
        """Rows as columns, where each has all features and no problem; None where a closer look is needed."""
        if set(map(len, rows)) != {len(self.names)}:
            return None
        try:
            table = [*zip(*[[row[name] for name in self.names] for row in rows], strict=True)]
            columns: dict[str, np.ndarray[Any, Any]] = {}
            for (name, number, _), values in zip(self._plan, table, strict=True):
                if not set(map(type, values)) <= (_NUMBERS if number else _TEXTS):
                    return None
                column = np.array(values, dtype=np.float64 if number else object)
                if number and not np.isfinite(column).all():
                    return None
                columns[name] = column
        except (KeyError, OverflowError):
            return None
        return columns

    def problem(self, row: Row, index: int) -> InputError | None:
        """What is wrong with a row's features; None where nothing is."""
        return problem(self.features, row, index)


_NUMBERS, _TEXTS = {float, int}, {str}
_LARGEST = 2**1023
"""A whole number beyond this is looked at more closely."""


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


def columns(features: Sequence[Feature], rows: Sequence[Row]) -> Columns:
    """Rows that have no problem, as a runtime takes them."""
    return {
        feature.name: np.array([row.get(feature.name) for row in rows], dtype=TYPES[feature.kind])
        for feature in features
    }


def of_arrow(array: pa.Array) -> np.ndarray[Any, Any]:
    """A column of numbers or of texts as a runtime takes it."""
    if pa.types.is_string(array.type):
        return np.asarray(array.to_numpy(zero_copy_only=False), dtype=object)
    return np.asarray(array.to_numpy(zero_copy_only=False), dtype=np.float64)


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
