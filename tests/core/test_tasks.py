from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.core.errors import InputError
from lossloop.core.tasks import (
    LISTED,
    LISTED_LABELS,
    Task,
    label_lists_fit,
    labels_fit,
    lists_fit,
    predictions_fit,
    read_label,
    read_prediction,
)

# Whatever JSON can hold.
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner)
)
HUGE = 10**400
"""JSON can hold a whole number that no float can."""


@pytest.mark.parametrize(
    ("task", "value", "label"),
    [
        (Task.BINARY, 0, 0.0), (Task.BINARY, 1.0, 1.0), (Task.BINARY, True, 1.0), (Task.BINARY, False, 0.0),
        (Task.REGRESSION, -2.5, -2.5), (Task.REGRESSION, 3, 3.0),
        (Task.MULTICLASS, 0, 0.0), (Task.MULTICLASS, 7, 7.0), (Task.MULTICLASS, 2.0, 2.0),
        (Task.BINARY, None, None), (Task.REGRESSION, None, None), (Task.MULTICLASS, None, None),
    ],
)  # fmt: skip
def test_labels_are_read(task: Task, value: object, label: float | None) -> None:
    assert read_label(task, value) == label


@pytest.mark.parametrize(
    ("task", "value", "message"),
    [
        (Task.BINARY, 2, "the label of a binary task is 0 or 1, not 2"),
        (Task.BINARY, "1", "the label of a binary task is 0 or 1, not '1'"),
        (Task.BINARY, math.nan, "the label of a binary task is 0 or 1, not nan"),
        (Task.BINARY, [1], "the label of a binary task is 0 or 1, not [1]"),
        (Task.REGRESSION, "12", "y_true must be a number, not text"),
        (Task.REGRESSION, True, "y_true must be a number, not true or false"),
        (Task.REGRESSION, [1.0], "y_true must be a number, not a list"),
        (Task.REGRESSION, {}, "y_true must be a number, not an object"),
        (Task.REGRESSION, math.inf, "y_true must be finite, not inf"),
        pytest.param(Task.REGRESSION, HUGE, "y_true must be finite, not inf", id="huge"),
        (Task.MULTICLASS, -1, "the label of a multiclass task is a class index from 0, not -1"),
        (Task.MULTICLASS, 1.5, "the label of a multiclass task is a class index from 0, not 1.5"),
        (Task.MULTICLASS, "cat", "y_true must be a number, not text"),
    ],
)
def test_a_label_of_the_wrong_kind_is_refused(task: Task, value: object, message: str) -> None:
    with pytest.raises(InputError) as caught:
        read_label(task, value, row=3)
    assert str(caught.value) == message
    assert (caught.value.field, caught.value.row) == ("y_true", 3)


@pytest.mark.parametrize(
    ("task", "value", "message"),
    [
        (Task.BINARY, 1.01, "a probability lies in [0, 1]; got 1.01"),
        (Task.BINARY, -0.1, "a probability lies in [0, 1]; got -0.1"),
        (Task.BINARY, math.nan, "y_pred must be finite, not nan"),
        (Task.BINARY, None, "y_pred must be a number, not null"),
        (Task.BINARY, True, "y_pred must be a number, not true or false"),
        pytest.param(Task.BINARY, HUGE, "y_pred must be finite, not inf", id="huge probability"),
        (Task.REGRESSION, -math.inf, "y_pred must be finite, not -inf"),
        pytest.param(Task.REGRESSION, -HUGE, "y_pred must be finite, not inf", id="huge"),
        (Task.MULTICLASS, 0.5, "y_pred of a multiclass task is a list of 2 to 1000 probabilities"),
        (Task.MULTICLASS, [1.0], "y_pred of a multiclass task is a list of 2 to 1000 probabilities"),
        pytest.param(
            Task.MULTICLASS,
            [0.0] * 1000 + [1.0],
            "y_pred of a multiclass task is a list of 2 to 1000 probabilities",
            id="too many classes",
        ),
        (Task.MULTICLASS, [0.5, 0.6], "the probabilities sum to 1.1, not to 1"),
        (Task.MULTICLASS, [1.5, -0.5], "a probability lies in [0, 1]; got 1.5"),
        (Task.MULTICLASS, ["0.5", 0.5], "y_pred must be a number, not text"),
    ],
)
def test_a_prediction_of_the_wrong_kind_is_refused(task: Task, value: object, message: str) -> None:
    with pytest.raises(InputError) as caught:
        read_prediction(task, value, row=0)
    assert str(caught.value) == message
    assert (caught.value.field, caught.value.row) == ("y_pred", 0)


def test_predictions_are_read() -> None:
    assert read_prediction(Task.BINARY, 1) == 1.0
    assert read_prediction(Task.REGRESSION, -7) == -7.0
    assert read_prediction(Task.MULTICLASS, [0, 0.25, 0.75]) == [0.0, 0.25, 0.75]


@given(st.sampled_from(Task), anything)
def test_whatever_is_sent_is_read_or_refused(task: Task, value: Any) -> None:
    """What is taken is finite and of the task's kind; anything else is an InputError, never another one."""
    try:
        label = read_label(task, value)
    except InputError:
        label = None
    labels = label if isinstance(label, list) else [label]
    assert all(each is None or math.isfinite(each) for each in labels)
    try:
        found = read_prediction(task, value)
    except InputError:
        return
    values = found if isinstance(found, list) else [found]
    assert all(math.isfinite(each) for each in values)
    assert isinstance(found, list) == (task in LISTED)
    if task in (Task.BINARY, Task.MULTICLASS, Task.SURVIVAL):
        assert all(0 <= each <= 1 for each in values)


# Whole columns.

numbers = st.floats() | st.integers(-2, 3).map(float) | st.floats(0, 1)


def takes(read: Callable[..., object], task: Task, value: object) -> bool:
    try:
        read(task, value)
    except InputError:
        return False
    return True


@given(st.sampled_from([each for each in Task if each not in LISTED_LABELS]), st.lists(numbers))
def test_columns_of_numbers_fit_where_their_rows_do(task: Task, values: list[float]) -> None:
    fit = labels_fit(task, np.array(values, np.float64))
    assert fit.tolist() == [takes(read_label, task, value) for value in values]
    if task not in LISTED:
        fit = predictions_fit(task, np.array(values, np.float64))
        assert fit.tolist() == [takes(read_prediction, task, value) for value in values]


vectors = st.lists(numbers, max_size=4) | st.integers(0, 1001).map(lambda n: [1 / max(n, 1)] * n)


@given(st.sampled_from(sorted(LISTED)), st.lists(vectors, max_size=6))
def test_columns_of_lists_fit_where_their_rows_do(task: Task, rows: list[list[float]]) -> None:
    inside = np.array([value for row in rows for value in row], np.float64)
    fit = lists_fit(task, inside, np.array([len(row) for row in rows], np.int64))
    assert fit.tolist() == [takes(read_prediction, task, row) for row in rows]


survived = st.tuples(st.floats(-1, 9) | numbers, st.sampled_from([0.0, 1.0, 0.5]) | numbers).map(list)


@given(st.sampled_from(sorted(LISTED_LABELS)), st.lists(vectors | survived, max_size=6))
def test_columns_of_listed_labels_fit_where_their_rows_do(task: Task, rows: list[list[float]]) -> None:
    inside = np.array([value for row in rows for value in row], np.float64)
    fit = label_lists_fit(task, inside, np.array([len(row) for row in rows], np.int64))
    assert fit.tolist() == [takes(read_label, task, row) for row in rows]


@pytest.mark.parametrize("value", [[-1.0, 1], [1.0, 2], [1.0], [1.0, 1, 0], [1.0, 0.5]])
def test_a_survival_label_is_a_time_and_an_event(value: list[float]) -> None:
    assert read_label(Task.SURVIVAL, [0, 1]) == [0.0, 1.0]
    with pytest.raises(InputError, match=r"the label of a survival task is \[time, event\]"):
        read_label(Task.SURVIVAL, value)


def test_predictions_of_distributions_and_survival_are_lists() -> None:
    assert read_prediction(Task.DISTRIBUTION, [3, -1.5]) == [3.0, -1.5]
    assert read_prediction(Task.SURVIVAL, [1, 0.25]) == [1.0, 0.25]
    with pytest.raises(InputError, match=r"a probability lies in \[0, 1\]; got 1.5"):
        read_prediction(Task.SURVIVAL, [0.5, 1.5])
