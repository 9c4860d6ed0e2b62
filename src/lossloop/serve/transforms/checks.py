"""What every transform must do: run this on one with two rows or more that it fits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lossloop.registry import Feature, FeatureKind
from lossloop.serve.runtimes.base import Columns
from lossloop.serve.transforms.base import Transforming


def check_transform(transform: Transforming, features: Sequence[Feature], columns: Columns) -> None:
    """Raise AssertionError where a transform breaks the contract."""
    rows = len(next(iter(columns.values())))
    before = {name: values.copy() for name, values in columns.items()}
    made = transform.apply(columns)
    assert list(made) == [feature.name for feature in features], "features come in the manifest's order"
    for feature in features:
        wanted = np.dtype(object if feature.kind is FeatureKind.CATEGORY else np.float64)
        values = made[feature.name]
        assert values.shape == (rows,), f"{feature.name} has a value a row"
        assert values.dtype == wanted, f"{feature.name} is {wanted}"
    for name, values in before.items():
        assert same(values, columns[name]), "the raw inputs stay as they are"
    alone = [transform.apply({name: values[place : place + 1] for name, values in columns.items()})
             for place in range(rows)]  # fmt: skip
    for name, values in made.items():
        assert same(values, np.concatenate([each[name] for each in alone])), (
            "rows do not depend on neighbours"
        )
        assert same(values, transform.apply(columns)[name]), "the same rows give the same bits"


def same(one: np.ndarray[Any, Any], other: np.ndarray[Any, Any]) -> bool:
    """Whether two columns are equal; NaN is equal to NaN."""
    if object in (one.dtype, other.dtype):
        return bool(one.tolist() == other.tolist())
    return bool(np.array_equal(one, other, equal_nan=True))
