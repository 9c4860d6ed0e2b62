"""What checks stand on: columns as a schema reads them, versions that are run, answers that were recorded."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossloop.act.checks import Check, Status
from lossloop.app.versions.base import Answers, Arm, drawn, fitted, told
from lossloop.core.tasks import Task
from lossloop.registry import Feature, FeatureKind, Manifest
from lossloop.serve.schema import columns as as_columns
from lossloop.serve.schema import problem
from tests.app.versions.cases import BASE, Array, Says, X, arm, case, recent, sigmoid

NUMBER = st.one_of(st.none(), st.floats(-1e6, 1e6))
TEXT = st.one_of(st.none(), st.sampled_from(["red", "blue", ""]))
FEATURES = st.lists(
    st.builds(
        Feature,
        name=st.sampled_from(["a", "b", "c"]),
        kind=st.sampled_from([*FeatureKind]),
        nullable=st.booleans(),
    ),
    unique_by=lambda each: each.name,
    min_size=1,
)


def column(values: list[Any]) -> Array:
    """As the ledger gives it: floats with NaN, or objects with None."""
    if all(value is None or isinstance(value, float) for value in values):
        return np.array([np.nan if value is None else value for value in values], np.float64)
    return np.array(values, dtype=object)


# Columns.


@settings(max_examples=40)
@given(FEATURES, st.data())
def test_a_row_fits_just_where_serving_would_take_it(features: list[Feature], data: st.DataObject) -> None:
    """The same schema, read by column here and by row where requests come in."""
    count = data.draw(st.integers(1, 5))
    values = {
        each.name: data.draw(
            st.lists(data.draw(st.sampled_from([NUMBER, TEXT])), min_size=count, max_size=count)
        )
        for each in features
    }
    rows = [{name: mine[place] for name, mine in values.items()} for place in range(count)]
    found = fitted(features, {name: column(mine) for name, mine in values.items()}, count)
    taken = [problem(features, row, 0) is None for row in rows]
    assert found.fits.tolist() == taken
    served = as_columns(features, [row for row, fits in zip(rows, taken, strict=True) if fits])
    ours = found.rows(np.flatnonzero(found.fits))
    for name, mine in served.items():
        assert ours[name].dtype == mine.dtype
        assert all(
            one == other or (one != one and other != other)  # noqa: PLR0124
            for one, other in zip(ours[name].tolist(), mine.tolist(), strict=True)
        )


def test_what_is_wrong_is_counted_by_feature() -> None:
    features = (Feature(name="n"), Feature(name="c", kind=FeatureKind.CATEGORY), Feature(name="gone"))
    sent = {
        "n": np.array([1.0, np.nan, np.inf]),
        "c": np.array([1.0, np.nan, 2.0]),
    }
    found = fitted(features, sent, 3)
    assert found.wrong == {"n": (1, 1), "c": (1, 2), "gone": (3, 0)}
    assert not found.fits.any()


def test_a_feature_that_may_be_missing_may_be_missing_everywhere() -> None:
    features = (
        X,
        Feature(name="gone", nullable=True),
        Feature(name="c", kind=FeatureKind.CATEGORY, nullable=True),
    )
    found = fitted(features, {"x": np.zeros(2)}, 2)
    assert found.fits.all()
    assert np.isnan(found.columns["gone"]).all()
    assert found.columns["c"].tolist() == [None, None]
    assert not found.wrong


# Running.


def run(answer: Any, task: Task = Task.BINARY, count: int = 4) -> tuple[Array, str]:
    return arm(Says(answer)).run({"x": np.linspace(0, 1, count)}, count, task)


def test_rows_go_in_at_most_a_thousand_at_a_time_and_come_back_in_order() -> None:
    sizes: list[int] = []

    def note(columns: Any) -> Array:
        sizes.append(len(columns["x"]))
        found: Array = columns["x"]
        return found

    found, error = run(note, count=2_500)
    assert error == ""
    assert sizes == [1_024, 1_024, 452]
    assert found.tolist() == np.linspace(0, 1, 2_500).tolist()


def test_no_rows_are_no_answers() -> None:
    assert len(run(lambda columns: columns["x"], count=0)[0]) == 0


@pytest.mark.parametrize(
    ("answer", "task", "words"),
    [
        (lambda columns: 0.5, Task.BINARY, "answers 4 rows with the shape ()"),
        (lambda columns: [0.5], Task.BINARY, "answers 4 rows with the shape (1,)"),
        (lambda columns: np.zeros((4, 1, 1)), Task.BINARY, "with the shape (4, 1, 1)"),
        (lambda columns: np.zeros((4, 2)), Task.REGRESSION, "lists of numbers, which a regression task"),
        (lambda columns: np.zeros(4), Task.MULTICLASS, "single numbers, which a multiclass task"),
        (lambda columns: ["a"] * 4, Task.BINARY, "raises ValueError"),
        (lambda columns: columns["z"], Task.BINARY, "raises KeyError"),
    ],
)
def test_what_is_no_answer_is_said(answer: Any, task: Task, words: str) -> None:
    found, error = run(answer, task)
    assert words in error
    assert np.isnan(found).all()
    assert len(found) == 4


@pytest.mark.parametrize(
    ("value", "task", "valid"),
    [
        (0.5, Task.BINARY, True),
        (1.5, Task.BINARY, False),
        (1.5, Task.REGRESSION, True),
        (np.inf, Task.REGRESSION, False),
        (np.nan, Task.REGRESSION, False),
        ([0.5, 0.5], Task.MULTICLASS, True),
        ([0.5, 0.6], Task.MULTICLASS, False),
        ([-3.0, 9.0], Task.VECTOR, True),
        ([-3.0, np.nan], Task.VECTOR, False),
        ([0.9, 0.2], Task.SURVIVAL, True),
        ([0.9, 1.2], Task.SURVIVAL, False),
    ],
)
def test_an_answer_that_the_task_has_not_is_none(value: Any, task: Task, valid: bool) -> None:
    found, error = run(lambda columns: [value] * 4, task)
    assert error == ""
    there = Answers(values=found, asked=np.ones(4, bool)).there
    assert there.all() == valid
    assert there.any() == valid


# Answers.


def test_only_rows_that_fit_are_asked_for() -> None:
    strict = arm(sigmoid(), features=(X, Feature(name="colour", kind=FeatureKind.CATEGORY)))
    found = case(strict).mine
    without = np.array([colour is None for colour in recent().features["colour"]])
    assert found.asked.tolist() == (~without).tolist()
    assert np.isnan(found.values).tolist() == without.tolist()


def test_the_champion_is_run_as_its_own_schema_has_it() -> None:
    only_x = Arm(
        name="m:1",
        manifest=Manifest(runtime="onnx", artifact="b", features=(X,)),
        number=1,
        runtime=Says(lambda columns: np.full(len(columns["x"]), float(len(columns)))),
    )
    assert case(champion=only_x).theirs.values.tolist() == [1.0] * 400


def test_recorded_answers_are_those_of_that_version() -> None:
    rows = recent(
        6,
        version=np.array([1, 1, 2, 2, 3, 3]),
        y_pred=np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]),
        shadow_version=np.array([2, 0, 0, 3, 2, 0]),
        shadow_y_pred=np.array([0.7, np.nan, np.nan, 0.8, 0.9, np.nan]),
    )
    found = case(arm(), BASE, rows=rows).mine
    assert np.array_equal(found.values, [0.7, np.nan, 0.3, 0.4, 0.9, np.nan], equal_nan=True)
    assert found.there.tolist() == [True, False, True, True, True, False]
    assert found.logged


def test_lists_are_recorded_answers_too() -> None:
    rows = recent(
        3,
        version=np.array([2, 1, 1]),
        y_pred=np.array([[0.1, 0.9], [0.2, 0.8], [0.3, 0.7]]),
        shadow_version=np.array([0, 2, 0]),
        shadow_y_pred=np.array([[np.nan, np.nan], [0.4, 0.6], [np.nan, np.nan]]),
    )
    multi = {"task": "multiclass", "loss": "brier_multiclass"}
    found = case(arm(), BASE, rows=rows, policy=multi).mine
    assert found.values[:2].tolist() == [[0.1, 0.9], [0.4, 0.6]]
    assert found.there.tolist() == [True, True, False]


def test_a_version_that_is_nowhere_answered_nothing() -> None:
    found = case(arm(number=None), BASE).mine
    assert not found.there.any()
    assert found.error == "elsewhere"


# What is told.


def test_figures_that_are_no_numbers_are_left_out() -> None:
    figures = {"a": 1, "b": np.nan, "c": np.inf, "d": np.float64(2)}
    found = told(Check.LOAD, Status.REPORTED, "so", figures).finding
    assert found.figures == {"a": 1.0, "d": 2.0}


@settings(max_examples=40)
@given(st.integers(0, 50), st.integers(1, 20))
def test_rows_are_drawn_alike_each_time_in_their_order(count: int, most: int) -> None:
    rows = np.arange(count) * 3
    found = drawn(rows, most)
    assert len(found) == min(count, most)
    assert found.tolist() == sorted(set(found.tolist()))
    assert set(found.tolist()) <= set(rows.tolist())
    assert drawn(rows, most).tolist() == found.tolist()
