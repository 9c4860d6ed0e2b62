"""Rows as columns are the same as rows; columns that do not fit together are told."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lossloop.core.errors import InputError
from lossloop.serve.given import Given


def test_columns_are_the_rows_that_json_would_bring() -> None:
    given = Given(
        count=2,
        features={"x": np.array([1.5, np.nan]), "n": np.array([1, 2]), "colour": ["red", None]},
        ids=["a", None],
        units=None,
        times=[None, "2024-01-01T00:00:00Z"],
    )
    assert given.rows() == [
        {"id": "a", "features": {"x": 1.5, "n": 1, "colour": "red"}},
        {"time": "2024-01-01T00:00:00Z", "features": {"x": None, "n": 2, "colour": None}},
    ]


def test_rows_without_features_are_rows_too() -> None:
    assert Given(count=2, features={}).rows() == [{"features": {}}, {"features": {}}]


@pytest.mark.parametrize(
    ("columns", "field", "words"),
    [
        ({"features": {"x": [1.0]}}, "features.x", "features.x has 1 values for 2 rows"),
        ({"features": {"x": np.zeros((2, 2))}}, "features.x", "features.x must have one dimension, not 2"),
        ({"features": {}, "ids": ["a"]}, "id", "id has 1 values for 2 rows"),
        ({"features": {}, "units": []}, "unit", "unit has 0 values for 2 rows"),
        ({"features": {}, "times": ["a", "b", "c"]}, "time", "time has 3 values for 2 rows"),
    ],
)
def test_columns_of_other_lengths_are_told(columns: dict[str, Any], field: str, words: str) -> None:
    with pytest.raises(InputError) as caught:
        Given(count=2, **columns)
    assert (str(caught.value), caught.value.field) == (words, field)
