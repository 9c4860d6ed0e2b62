"""Ill input: the row is named, the good rows are kept."""

from __future__ import annotations

import math
import re
from typing import Any

import jax.numpy as jnp
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.core.errors import InputError
from lossloop.losses import (
    Loss,
    brier_multiclass,
    cost_matrix,
    get,
    log_loss,
    log_loss_multiclass,
    loss,
    one_minus_click,
    pinball_mean,
    poisson_deviance,
    squared,
    zero_one,
)

NAN, INF = math.nan, math.inf


@pytest.mark.parametrize(
    ("loss", "true", "pred", "row", "field", "words"),
    [
        (log_loss, [0, 1], [0.5, NAN], 1, "y_pred", "the prediction is missing (NaN)"),
        (log_loss, [0, 1], [0.5, None], 1, "y_pred", "the prediction is missing (NaN)"),
        (log_loss, [0, 1], [INF, 0.5], 0, "y_pred", "the prediction is infinite"),
        (log_loss, [0, 1], [0.5, 1.3], 1, "y_pred", "probability 1.3 is outside [0, 1]"),
        (log_loss, [0, 1], [-0.1, 0.5], 0, "y_pred", "probability -0.1 is outside [0, 1]"),
        (log_loss, [0, 1], [0.5, "0.5"], 1, "y_pred", "'0.5' is not a number"),
        (log_loss, [0, 1], [0.5, {"a": 1}], 1, "y_pred", "{'a': 1} is not a number"),
        (log_loss, [0, 1], ["x" * 99, 0.5], 0, "y_pred", f"'{'x' * 36}... is not a number"),
        (log_loss, [0, 2], [0.5, 0.5], 1, "y_true", "label 2 is not 0 or 1"),
        (log_loss, [0.5, 1], [0.5, 0.5], 0, "y_true", "label 0.5 is not 0 or 1"),
        (log_loss, [None, 1], [0.5, 0.5], 0, "y_true", "the outcome is missing"),
        (log_loss, [0, "late"], [0.5, 0.5], 1, "y_true", "'late' is not a number"),
        (squared, [0.0, INF], [0.5, 0.5], 1, "y_true", "the outcome is infinite"),
        (poisson_deviance, [1, -1], [0.5, 0.5], 1, "y_true", "count -1 is below 0"),
        (poisson_deviance, [1, 1], [0.5, 0.0], 1, "y_pred", "the prediction must be above 0"),
        (zero_one, [0, 1.5], [0, 1], 1, "y_true", "class 1.5 is not a whole number"),
        (zero_one, ["a", None], ["a", "b"], 1, "y_true", "the outcome is missing"),
        (zero_one, ["a", "b"], [None, "b"], 0, "y_pred", "the prediction is missing (NaN)"),
        (cost_matrix, [0, 2], [0, 1], 1, "y_true", "class 2 is not one of the 2 classes 0 to 1"),
        (cost_matrix, [0, 1], [-1, 1], 0, "y_pred", "class -1 is not one of the 2 classes 0 to 1"),
        (cost_matrix, ["a", 1], [0, 1], 0, "y_true", "'a' is not a number"),
        (one_minus_click, [0, 3], ["a", "b"], 1, "y_true", "label 3 is not 0 or 1"),
        (
            log_loss_multiclass,
            [0, 1],
            [[0.5, 0.5], [0.5, 0.6]],
            1,
            "y_pred",
            "class probabilities sum to 1.1, not 1",
        ),
        (
            log_loss_multiclass,
            [0, 1],
            [[0.5, 0.5], [1.5, -0.5]],
            1,
            "y_pred",
            "a class probability is outside [0, 1]",
        ),
        (log_loss_multiclass, [0, 1], [[0.5, 0.5], [INF, 0.5]], 1, "y_pred", "the prediction is infinite"),
        (log_loss_multiclass, [0, 1], [[0.5, 0.5], 0.5], 1, "y_pred", "0.5 is not a list of numbers"),
        (
            log_loss_multiclass,
            [0, 1],
            [[0.5, 0.5], ["a", 0.5]],
            1,
            "y_pred",
            "['a', 0.5] is not a list of numbers",
        ),
        (
            log_loss_multiclass,
            [0, 1, 0],
            [[0.5, 0.5], [0.2, 0.3, 0.5], [1, 0]],
            1,
            "y_pred",
            "there are 3 columns where other rows have 2",
        ),
        (
            brier_multiclass,
            [0, 2],
            [[0.5, 0.5], [0.5, 0.5]],
            1,
            "y_true",
            "class 2 is not one of the 2 classes 0 to 1",
        ),
    ],
)
def test_a_bad_row_is_named_and_the_others_are_scored(
    loss: Loss, true: Any, pred: Any, row: int, field: str, words: str
) -> None:
    (problem,) = loss.check_rows(true, pred)
    assert (problem.row, problem.field, problem.message) == (row, field, words)
    costs, problems = loss.rows(true, pred)
    assert problems == [problem]
    assert np.array_equal(np.isnan(costs), np.arange(len(true)) == row)
    with pytest.raises(InputError, match=re.escape(f"row {row}: {words}")) as caught:
        loss(true, pred)
    assert (caught.value.row, caught.value.field) == (row, field)


@pytest.mark.parametrize(
    ("loss", "true", "pred", "words"),
    [
        (log_loss, [0, 1], [0.5], "there are 2 outcomes and 1 predictions"),
        (log_loss, [0, 1], 0.5, "y_pred must be a list or an array, not 0.5"),
        (log_loss, 0, [0.5], "y_true must be a list or an array, not 0"),
        (
            log_loss,
            [0],
            [[0.2, 0.8]],
            "y_pred has shape (1, 2); for probability it must have (n,), one number",
        ),
        (
            log_loss_multiclass,
            [0],
            [0.2],
            "y_pred has shape (1,); for class probabilities it must have (n, k)",
        ),
        (log_loss, [[0], [1]], [0.5, 0.5], "y_true has shape (2, 1); it must have (2,)"),
        (pinball_mean, [0.0], [[1.0, 2.0]], "y_pred has 2 columns; there must be 3"),
        (zero_one, ["a"], [1], "outcomes and predictions must both be names of classes or both numbers"),
    ],
)
def test_a_batch_that_does_not_hang_together_is_one_error(
    loss: Loss, true: Any, pred: Any, words: str
) -> None:
    for ask in (loss, loss.rows, loss.validate):
        with pytest.raises(InputError, match=re.escape(words)):
            ask(true, pred)


def test_several_bad_rows_are_all_listed_and_the_first_one_is_raised() -> None:
    true, pred = [0, 1, 2, 1], [0.5, 7, 0.5, NAN]
    assert [(problem.row, problem.field) for problem in log_loss.check_rows(true, pred)] == [
        (1, "y_pred"),
        (2, "y_true"),
        (3, "y_pred"),
    ]
    with pytest.raises(
        InputError, match=re.escape("row 1: probability 7 is outside [0, 1] (and 2 more bad rows)")
    ):
        log_loss.validate(true, pred)


def test_a_row_may_have_a_problem_in_each_field() -> None:
    assert [problem.field for problem in log_loss.check_rows([NAN], [NAN])] == ["y_pred", "y_true"]
    assert np.isnan(log_loss.rows([NAN], [NAN])[0]).all()


@pytest.mark.parametrize("name", ["log_loss", "log_loss_multiclass", "squared", "zero_one"])
def test_an_empty_batch_has_no_costs_and_no_problems(name: str) -> None:
    assert get(name)([], []).shape == (0,)
    costs, problems = get(name).rows([], [])
    assert (costs.shape, problems) == ((0,), [])


def test_values_of_other_libraries_are_checked_on_request() -> None:
    pred = jnp.asarray([0.5, 1.5])
    assert log_loss([0, 1], pred).shape == (2,)
    with pytest.raises(InputError, match=re.escape("row 1: probability 1.5 is outside [0, 1]")):
        log_loss.validate([0, 1], pred)
    with pytest.raises(InputError, match=re.escape("y_true has shape (3,); it must have (2,)")):
        log_loss([0, 1, 1], pred)
    with pytest.raises(InputError, match="this loss needs an outcome"):
        log_loss(None, pred)
    with pytest.raises(InputError, match="y_pred has 2 columns; there must be 3"):
        pinball_mean([0.0], jnp.asarray([[1.0, 2.0]]))


def test_a_needless_outcome_may_be_missing() -> None:
    assert get("constraint_violation").check_rows([NAN, None], [0.5, 0.5]) == []


def test_relevance_has_a_column_per_item() -> None:
    @loss(bounds=(0, 1), kind="ranking")
    def first_is_best(y_true: Any, y_pred: Any) -> Any:
        return (y_true.argmax(1) != y_pred.argmax(1)) * 1.0

    assert first_is_best([[0, 1], [0, 1]], [[0.1, 0.9], [0.9, 0.1]]).tolist() == [0.0, 1.0]
    with pytest.raises(InputError, match=re.escape("y_true has shape (2,); it must have (2, 2)")):
        first_is_best([0, 1], [[0.1, 0.9], [0.9, 0.1]])


def test_a_set_holds_the_class_or_it_does_not() -> None:
    @loss(bounds=(0, 1), kind="set")
    def miss(y_true: Any, y_pred: Any) -> Any:
        return 1.0 - np.take_along_axis(y_pred, y_true[:, None], axis=1)[:, 0]

    assert miss([0, 1], [[True, False], [True, False]]).tolist() == [0.0, 1.0]


def test_names_are_compared_as_names() -> None:
    assert zero_one(["late", "on time"], ["late", "late"]).tolist() == [0.0, 1.0]


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "u1", "i4", "?"])
def test_numbers_of_any_type_are_taken(dtype: str) -> None:
    labels = np.asarray([0, 1, 1], dtype=dtype)
    assert np.allclose(log_loss(labels, np.asarray([0, 1, 0], dtype=dtype)), [0.0, 0.0, 10.0], rtol=1e-3)
    assert np.allclose(squared(labels, [0.0, 1.0, 3.0]), [0.0, 0.0, 4.0])


class Column:
    """What a data frame's column is to NumPy."""

    def __init__(self, values: list[Any]) -> None:
        self.values = values

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return np.asarray(self.values, dtype=dtype)


def test_columns_of_a_data_frame_are_taken() -> None:
    carriers = {"carrier": Column(["UA", "AA", "UA"])}
    costs = log_loss.where(carrier="UA")(Column([0, 1, 1]), Column([0.2, 0.9, 0.5]), carriers)
    assert np.allclose(costs, -np.log([0.8, 1.0, 0.5]))


def test_a_column_of_one_is_not_a_vector() -> None:
    with pytest.raises(
        InputError, match=re.escape("y_pred has shape (2, 1); for probability it must have (n,)")
    ):
        log_loss([0, 1], np.asarray([[0.2], [0.7]]))


def test_rows_that_are_out_of_bounds_are_listed_between_the_others() -> None:
    @loss(bounds=(0, 0.5))
    def half(y_true: Any, y_pred: Any) -> Any:
        return abs(y_true - y_pred)

    costs, problems = half.rows([0, 0, 0, 7], [0.9, NAN, 0.2, 0.1])
    assert [(problem.row, problem.field) for problem in problems] == [
        (0, "loss"),
        (1, "y_pred"),
        (3, "y_true"),
    ]
    assert np.array_equal(costs, [NAN, NAN, 0.2, NAN], equal_nan=True)


@given(st.integers(0, 2**32 - 1))
def test_good_rows_cost_the_same_beside_bad_ones(seed: int) -> None:
    rng = np.random.default_rng(seed)
    true, pred = rng.integers(0, 2, 30).astype(float), rng.random(30)
    clean = log_loss(true, pred)
    spoilt = rng.random(30) < 0.3
    costs, problems = log_loss.rows(np.where(spoilt, NAN, true), pred)
    assert np.array_equal(costs[~spoilt], clean[~spoilt])
    assert [problem.row for problem in problems] == np.flatnonzero(spoilt).tolist()


@pytest.mark.parametrize("columns", [2, 3, 7])
@given(seed=st.integers(0, 2**32 - 1))
def test_single_precision_probabilities_sum_to_one_near_enough(columns: int, seed: int) -> None:
    table = np.random.default_rng(seed).dirichlet(np.ones(columns), 20).astype(np.float32)
    assert log_loss_multiclass.check_rows([0] * 20, table) == []
    assert log_loss_multiclass.check_rows([0] * 20, table.round(4)) == []


def test_a_problem_is_a_record_that_prints_as_json() -> None:
    (problem,) = log_loss.check_rows([0], [2.0])
    assert msgspec.to_builtins(problem) == {
        "row": 0,
        "field": "y_pred",
        "message": "probability 2 is outside [0, 1]",
    }


VALUE = st.one_of(st.floats(), st.none(), st.text(max_size=2), st.booleans(), st.integers(-2, 2))


@given(st.lists(st.tuples(VALUE, VALUE), max_size=12))
def test_any_batch_is_scored_or_explained_row_by_row(rows: list[tuple[Any, Any]]) -> None:
    true, pred = [row[0] for row in rows], [row[1] for row in rows]
    costs, problems = log_loss.rows(true, pred)
    bad = {problem.row for problem in problems}
    assert costs.shape == (len(rows),)
    assert {int(row) for row in np.flatnonzero(np.isnan(costs))} == bad
    for row in set(range(len(rows))) - bad:
        assert costs[row] == log_loss([true[row]], [pred[row]])[0]
