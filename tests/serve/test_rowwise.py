"""A recorded row by itself: what it becomes, and what is said of one that cannot be taken."""

from __future__ import annotations

from typing import Any

import pytest

from lossloop.core.clock import parse_time
from lossloop.core.errors import InputError, UnknownName
from lossloop.core.tasks import Task
from lossloop.serve.rowwise import read_happened, read_recorded
from tests.serve.sending import NOW, terms


def recorded(row: dict[str, Any], task: Task = Task.BINARY) -> dict[str, Any]:
    return read_recorded(row, 5, terms(task))


def test_a_recorded_prediction_has_defaults_for_what_it_does_not_say() -> None:
    found = recorded({"version": 2, "y_pred": 0.25})
    assert found.pop("id") != recorded({"version": 2, "y_pred": 0.25})["id"], "without an id each is its own"
    assert found == {
        "version": 2, "y_pred": 0.25, "time": NOW, "unit": None, "role": "champion", "propensity": 1.0,
        "features": None, "latency_ms": None, "error": None,
    }  # fmt: skip


def test_what_a_recorded_prediction_says_is_kept() -> None:
    row = {"id": "a", "version": 1, "y_pred": 1, "time": "2024-01-01T00:00:00Z", "unit": "ann",
           "role": "challenger", "propensity": 0.1, "features": {"x": [1, {"y": None}]},
           "latency_ms": 3}  # fmt: skip
    wanted = {
        **row, "time": parse_time("2024-01-01T00:00:00Z"), "y_pred": 1.0, "error": None,
        "features": '{"x":[1,{"y":null}]}',
    }  # fmt: skip
    assert recorded(row) == wanted


def test_null_is_as_good_as_nothing_where_a_key_may_be_left_out() -> None:
    nulls = dict.fromkeys(("id", "time", "unit", "role", "propensity", "features", "latency_ms", "error"))
    said, unsaid = recorded({"version": 1, "y_pred": 0, **nulls}), recorded({"version": 1, "y_pred": 0})
    assert {**said, "id": ""} == {**unsaid, "id": ""}


@pytest.mark.parametrize(
    ("changes", "field", "message"),
    [
        ({"version": 3}, "version", "unknown version of m '3'; there are: 1, 2"),
        ({"version": "1"}, "version", "version must be a whole number above 0, not '1'"),
        ({"y_pred": 1.5}, "y_pred", "a probability lies in [0, 1]; got 1.5"),
        ({"y_pred": None}, "y_pred", "y_pred must be a number, not null"),
        ({"role": "king"}, "role", "role must be one of champion, challenger, holdout, override, not 'king'"),
        (
            {"role": ["champion"]},
            "role",
            "role must be one of champion, challenger, holdout, override, not ['champion']",
        ),
        ({"propensity": 0}, "propensity", "propensity must lie in (0, 1], not 0"),
        ({"propensity": 1.1}, "propensity", "propensity must lie in (0, 1], not 1.1"),
        ({"propensity": float("nan")}, "propensity", "propensity must lie in (0, 1], not nan"),
        ({"propensity": True}, "propensity", "propensity must lie in (0, 1], not True"),
        ({"features": [1]}, "features", "features must be an object of names to values"),
        (
            {"latency_ms": -1},
            "latency_ms",
            "latency_ms must be a number from 0 to 3.1536e+12 (100 years), not -1",
        ),
        (
            {"latency_ms": "5"},
            "latency_ms",
            "latency_ms must be a number from 0 to 3.1536e+12 (100 years), not '5'",
        ),
        (
            {"latency_ms": 1e308},
            "latency_ms",
            "latency_ms must be a number from 0 to 3.1536e+12 (100 years), not 1e+308",
        ),
        (
            {"latency_ms": 10**60},
            "latency_ms",
            "latency_ms must be a number from 0 to 3.1536e+12 (100 years), not a larger one",
        ),
        ({"error": "timeout"}, "error", "an error says why there is no y_pred; send one of the two"),
        ({"error": "e" * 257, "y_pred": None}, "error", "error has 257 characters; at most 256 are taken"),
        ({"error": 5, "y_pred": None}, "error", "error must be text, not 5"),
        ({"unit": 5}, "unit", "unit must be text, not 5"),
        ({"idd": "a"}, "idd", "unknown key 'idd'; did you mean 'id'?"),
    ],
)
def test_a_bad_recorded_prediction_is_told(changes: dict[str, Any], field: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        recorded({"version": 1, "y_pred": 0.5, **changes})
    assert str(caught.value) == message
    assert (caught.value.field, caught.value.row) == (field, 5)
    assert isinstance(caught.value, UnknownName) == (changes.get("version") == 3)


@pytest.mark.parametrize("task", Task)
def test_a_prediction_that_failed_says_why_and_has_no_answer(task: Task) -> None:
    found = recorded({"version": 1, "error": "TimeoutError", "latency_ms": 250.0}, task)
    assert (found["y_pred"], found["error"], found["latency_ms"]) == (None, "TimeoutError", 250.0)
    assert recorded({"version": 1, "y_pred": None, "error": "e"}, task)["y_pred"] is None


def test_vectors_can_be_recorded() -> None:
    assert recorded({"version": 1, "y_pred": [0, 1]}, Task.MULTICLASS)["y_pred"] == [0.0, 1.0]


@pytest.mark.parametrize(("y_true", "label"), [(1, 1.0), (False, 0.0), (None, None)])
def test_an_outcome_is_a_label_or_known_to_be_missing(y_true: Any, label: float | None) -> None:
    found = read_happened({"id": "a", "y_true": y_true}, 0, terms())
    assert found == {"id": "a", "y_true": label, "time": NOW, "reason": None}


def test_what_is_known_to_be_missing_may_say_why() -> None:
    assert read_happened({"id": "a", "y_true": None, "reason": "lost"}, 0, terms())["reason"] == "lost"


@pytest.mark.parametrize(
    ("row", "field", "message"),
    [
        ({"y_true": 1}, "id", "an outcome needs the id of its prediction"),
        ({"id": "a"}, "y_true", "an outcome needs y_true; null says that it is missing"),
        ({"id": "a", "y_true": 0.5}, "y_true", "the label of a binary task is 0 or 1, not 0.5"),
        ({"id": 7, "y_true": 1}, "id", "id must be text, not 7"),
        ({"id": "a", "y_true": 1, "reason": "late"}, "reason",
         "a reason says why y_true is missing; send one of the two"),
        ({"id": "a", "y_true": None, "reason": 7}, "reason", "reason must be text, not 7"),
        ({"id": "a", "y_true": None, "reason": "r" * 257}, "reason",
         "reason has 257 characters; at most 256 are taken"),
        (["a", 1], None, "a row must be an object, not list"),
    ],
)  # fmt: skip
def test_a_bad_outcome_is_told(row: Any, field: str | None, message: str) -> None:
    with pytest.raises(InputError) as caught:
        read_happened(row, 8, terms())
    assert (str(caught.value), caught.value.field, caught.value.row) == (message, field, 8)
