"""A version's feature schema: a problem for every bad row, a place in the columns for every good one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.registry import Feature, FeatureKind
from lossloop.serve.schema import Schema, columns, of_arrow, problem

HOUR = Feature(name="hour")
WIND = Feature(name="wind", nullable=True)
CARRIER = Feature(name="carrier", kind=FeatureKind.CATEGORY)
ORIGIN = Feature(name="origin", kind=FeatureKind.CATEGORY, nullable=True)
FEATURES = (HOUR, WIND, CARRIER, ORIGIN)
GOOD: dict[str, Any] = {"hour": 7, "wind": 2.5, "carrier": "UA", "origin": "EWR"}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"wind": None},
        {"origin": None},
        {"hour": -0.0},
        {"hour": 1e308},
        {"hour": 2**60 + 1},
        {"carrier": ""},
    ],
)
def test_good_rows_have_no_problem(changes: dict[str, Any]) -> None:
    assert problem(FEATURES, {**GOOD, **changes}, 0) is None


def test_nullable_features_may_be_absent() -> None:
    assert problem(FEATURES, {"hour": 7, "carrier": "UA"}, 0) is None


@pytest.mark.parametrize(
    ("changes", "field", "message"),
    [
        ({"hour": None}, "hour", "feature 'hour' is missing"),
        ({"hour": "7"}, "hour", "feature 'hour' must be a number, not '7'"),
        ({"hour": True}, "hour", "feature 'hour' must be a number, not True"),
        ({"hour": [7]}, "hour", "feature 'hour' must be a number, not [7]"),
        ({"hour": math.nan}, "hour", "feature 'hour' must be a finite number, not nan"),
        ({"wind": -math.inf}, "wind", "feature 'wind' must be a finite number, not -inf"),
        ({"carrier": None}, "carrier", "feature 'carrier' is missing"),
        ({"carrier": 7}, "carrier", "feature 'carrier' must be text, not 7"),
        ({"origin": {"a": 1}}, "origin", "feature 'origin' must be text, not {'a': 1}"),
        ({"huor": 7}, "huor", "unknown feature 'huor'; did you mean 'hour'?"),
        ({"zzz": None}, "zzz", "unknown feature 'zzz'; there are: carrier, hour, origin, wind"),
    ],
)
def test_a_bad_row_is_told_what_is_wrong_with_which_feature(
    changes: dict[str, Any], field: str, message: str
) -> None:
    found = problem(FEATURES, {**GOOD, **changes}, 3)
    assert found is not None
    assert (str(found), found.field, found.row) == (message, f"features.{field}", 3)


def test_a_number_beyond_any_float_is_not_finite() -> None:
    found = problem((HOUR,), {"hour": 10**400}, 0)
    assert found is not None
    assert str(found).startswith("feature 'hour' must be a finite number, not 1000")


def test_a_wrong_name_in_the_place_of_a_nullable_one_is_found() -> None:
    found = problem(FEATURES, {"hour": 7, "carrier": "UA", "wnid": 1.0}, 0)
    assert found is not None
    assert str(found) == "unknown feature 'wnid'; did you mean 'wind'?"


def test_columns_have_the_features_types_and_null_where_absent() -> None:
    made = columns(FEATURES, [GOOD, {"hour": 2**60 + 1, "carrier": "AA"}])
    assert {name: str(column.dtype) for name, column in made.items()} == {
        "hour": "float64", "wind": "float64", "carrier": "object", "origin": "object"
    }  # fmt: skip
    assert made["hour"].tolist() == [7.0, float(2**60)]
    assert np.array_equal(made["wind"], [2.5, np.nan], equal_nan=True)
    assert made["origin"].tolist() == ["EWR", None]


def test_what_arrow_holds_is_the_same_as_rows_are() -> None:
    made = columns(FEATURES, [GOOD, {"hour": 7, "carrier": "UA"}])
    arrow = {"hour": pa.array([7, 7]), "wind": pa.array([2.5, None]), "origin": pa.array(["EWR", None])}
    for name, column in arrow.items():
        assert list(map(repr, of_arrow(column))) == list(map(repr, made[name]))


names = st.sampled_from(["hour", "wind", "carrier", "origin", "other"])
lists = st.lists(st.integers(), max_size=2)
values = (
    st.none() | st.booleans() | st.integers() | st.just(10**400) | st.floats() | st.text(max_size=3) | lists
)


@given(st.lists(st.dictionaries(names, values), max_size=5))
def test_rows_without_a_problem_are_columns(rows: list[dict[str, Any]]) -> None:
    good = [row for index, row in enumerate(rows) if problem(FEATURES, row, index) is None]
    assert [Schema(FEATURES).fits(row) for row in rows] == [
        problem(FEATURES, row, index) is None for index, row in enumerate(rows)
    ], "a quick look sees the same"
    made = columns(FEATURES, good)
    for feature in FEATURES:
        found = [
            None if isinstance(value, float) and math.isnan(value) else value
            for value in made[feature.name].tolist()
        ]
        assert found == [
            float(row[feature.name])
            if feature.kind is FeatureKind.NUMBER and row.get(feature.name) is not None
            else row.get(feature.name)
            for row in good
        ]
