"""What is a batch, and what is said of what is none."""

from __future__ import annotations

from typing import Any

import pytest

from lossloop.core.errors import InputError
from lossloop.serve import batch as batches
from lossloop.serve.batch import MOST_FEATURES, of_columns, of_rows

KEYS, NEEDS = ("id", "y", "time", "features"), ("y",)


@pytest.mark.parametrize("rows", [[], {}, "rows", None, 7])
def test_what_is_no_list_of_rows_is_refused(rows: Any) -> None:
    with pytest.raises(InputError, match="send a list of one row or more"):
        of_rows(rows, KEYS, NEEDS)


def test_a_batch_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "MOST_ROWS", 2)
    with pytest.raises(InputError, match="3 rows in one request; at most 2 are taken"):
        of_rows([{}] * 3, KEYS, NEEDS)
    with pytest.raises(InputError, match="3 rows in one request; at most 2 are taken"):
        of_columns({"y": [1, 2, 3]}, KEYS, NEEDS)


def test_rows_by_column_keep_what_is_absent_apart_from_null() -> None:
    found = of_rows([{"y": 1}, {"y": None, "id": "a"}, {"id": "b"}], KEYS, NEEDS).by_column()
    assert found.columns["y"] == [1, None, batches.ABSENT]
    assert found.columns["id"] == [None, "a", "b"]
    assert set(found.columns) == {"y", "id"}
    assert found.shaped.all()
    assert found.row(1) == {"y": None, "id": "a"}


def test_rows_that_are_no_objects_or_have_other_keys_are_marked() -> None:
    found = of_rows([{"y": 1}, 7, {"y": 1, "z": 2}, None], KEYS, NEEDS).by_column()
    assert found.shaped.tolist() == [True, False, False, False]
    assert found.columns["y"][0] == 1
    assert found.row(1) == 7


def test_columns_are_read_back_as_rows() -> None:
    found = of_columns({"y": [1, "x"], "features": {"a": [1, None], "b": [True, False]}}, KEYS, NEEDS)
    assert found.count == 2
    assert found.row(1) == {"y": "x", "features": {"a": None, "b": False}}


@pytest.mark.parametrize(
    ("columns", "field", "message"),
    [
        ({}, "columns.y", "the column 'y' is missing"),
        ({"id": ["a"]}, "columns.y", "the column 'y' is missing"),
        ({"y": [1], "idd": ["a"]}, "columns.idd", "unknown column 'idd'; did you mean 'id'?"),
        ({"y": 1}, "columns.y", "y must be a list"),
        ({"y": [1], "id": ["a", "b"]}, "columns.id", "id has 2 values, y 1"),
        ({"y": []}, "rows", "send a list of one row or more"),
        ({"y": [1], "features": [{}]}, "columns.features", "features must be an object of names to lists"),
        ({"y": [1], "features": {"x": 1}}, "columns.features.x", "features.x must be a list"),
        ({"y": [1], "features": {"x": [1, 2]}}, "columns.features.x", "features.x has 2 values, y 1"),
        ({"y": [1, 2], "features": {"x": [1, "a"]}}, "columns.features.x",
         "the feature 'x' must be a list of numbers, of texts, or of true and false"),
        ({"y": [1], "features": {"x": [10**400]}}, "columns.features.x",
         "the feature 'x' must be a list of numbers, of texts, or of true and false"),
        ({"y": [1], "features": {"x": [[1]]}}, "columns.features.x",
         "the feature 'x' must be a list of numbers, of texts, or of true and false"),
    ],
)  # fmt: skip
def test_what_are_no_columns_is_refused_as_a_whole(columns: Any, field: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        of_columns(columns, KEYS, NEEDS)
    assert (str(caught.value), caught.value.field, caught.value.row) == (message, field, None)


@pytest.mark.parametrize("many", [MOST_FEATURES + 1, 50_000])
def test_more_features_than_are_taken_by_column_are_one_problem(many: int) -> None:
    features = {f"f{number}": [1.0] for number in range(many)}
    with pytest.raises(
        InputError, match=rf"^{many} features by column; at most 2000 .*: send rows"
    ) as caught:
        of_columns({"y": [1], "features": features}, KEYS, NEEDS)
    assert caught.value.field == "columns.features"
    del features[f"f{many - 1}"]
    if len(features) == MOST_FEATURES:
        assert len(of_columns({"y": [1], "features": features}, KEYS, NEEDS).row(0)["features"]) == 2000


def test_no_features_are_no_column() -> None:
    assert set(of_columns({"y": [1], "features": {}}, KEYS, NEEDS).columns) == {"y"}
    nulls = of_columns({"y": [1], "features": {"x": [None]}}, KEYS, NEEDS)
    assert nulls.row(0)["features"] == {"x": None}
