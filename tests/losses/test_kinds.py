"""Kinds of prediction with columns: which rows cannot be scored, and why, whoever sends them."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.core.errors import InputError
from lossloop.losses import (
    Loss,
    crps_ensemble,
    crps_quantiles,
    integrated_brier,
    loss,
    one_minus_map,
    one_minus_mrr,
    outside_interval,
    winkler,
)
from lossloop.losses.checks import check
from lossloop.losses.declare import Declaration

NAN, INF = math.nan, math.inf
CURVE = [0.9, 0.5, 0.2]


@pytest.mark.parametrize(
    ("loss", "true", "pred", "row", "field", "words"),
    [
        (winkler, [1, 1], [[0, 2], [2, 0]], 1, "y_pred", "2 is followed by 0, which is lower"),
        (winkler, [1, 1], [[0, 2], [0, NAN]], 1, "y_pred", "the prediction is missing (NaN)"),
        (winkler, [1, 1], [[0, 2], [0, INF]], 1, "y_pred", "the prediction is infinite"),
        (winkler, [1, None], [[0, 2], [0, 2]], 1, "y_true", "the outcome is missing"),
        (outside_interval, [1, 1], [[3, 1], [0, 2]], 0, "y_pred", "3 is followed by 1, which is lower"),
        (outside_interval, [1, "a"], [[0, 1], [0, 2]], 1, "y_true", "'a' is not a number"),
        (crps_quantiles, [1, INF], [[0, 1, 2], [0, 1, 2]], 1, "y_true", "the outcome is infinite"),
        (crps_quantiles, [1, 1], [[0, 1, 2], 7], 1, "y_pred", "7 is not a list of numbers"),
        (crps_ensemble, [1, 1], [[0, 1], [0, None]], 1, "y_pred", "the prediction is missing (NaN)"),
        (
            crps_ensemble, [1, 1, 1], [[0, 1], [0, 1, 2], [3, 4]], 1, "y_pred",
            "there are 3 columns where other rows have 2",
        ),
        (one_minus_mrr, [[0, 1], [0, NAN]], [[1, 2], [1, 2]], 1, "y_true", "the outcome is missing"),
        (one_minus_map, [[0, 1], [0, 1]], [[1, 2], [1, INF]], 1, "y_pred", "the prediction is infinite"),
        (integrated_brier, [[1, 1], [1, 2]], [CURVE, CURVE], 1, "y_true", "event 2 is not 0 or 1"),
        (integrated_brier, [[1, 1], [-2, 1]], [CURVE, CURVE], 1, "y_true", "time -2 is below 0"),
        (integrated_brier, [[1, 1], 3], [CURVE, CURVE], 1, "y_true", "3 is not a list of numbers"),
        (
            integrated_brier, [[1, 1], [1, 0]], [CURVE, [0.9, 0.5, -0.1]], 1, "y_pred",
            "a probability of surviving is outside [0, 1]",
        ),
    ],
)  # fmt: skip
def test_a_bad_row_is_named_and_the_others_are_scored(
    loss: Loss, true: Any, pred: Any, row: int, field: str, words: str
) -> None:
    (problem,) = loss.check_rows(true, pred)
    assert (problem.row, problem.field, problem.message) == (row, field, words)
    costs, problems = loss.rows(true, pred)
    assert problems == [problem]
    assert np.isnan(costs).tolist() == [place == row for place in range(len(true))]
    with pytest.raises(InputError) as caught:
        loss(true, pred)
    assert (caught.value.row, caught.value.field) == (row, field)


@pytest.mark.parametrize(
    ("loss", "true", "pred", "words"),
    [
        (winkler, [1.0], [1.0], "for quantiles it must have"),
        (winkler, [1.0], [[1.0]], "y_pred has 1 columns; there must be 2"),
        (winkler, [[1.0, 2.0]], [[1.0, 2.0]], r"y_true has shape \(1, 2\); it must have \(1,\)"),
        (crps_ensemble, [1.0, 2.0], [[1.0, 2.0]], "there are 2 outcomes and 1 predictions"),
        (integrated_brier, [1.0], [CURVE], r"must have \(1, 2\)|is not a list"),
        (integrated_brier, [[1.0, 1.0]], [[0.5]], "y_pred has 1 columns; there must be 3"),
        (one_minus_mrr, [[1.0]], [[1.0, 2.0]], r"y_true has shape \(1, 1\); it must have \(1, 2\)"),
        (one_minus_mrr, None, [[1.0, 2.0]], "this loss needs an outcome for every row"),
    ],
)
def test_a_batch_that_does_not_fit_is_refused(loss: Loss, true: Any, pred: Any, words: str) -> None:
    with pytest.raises(InputError, match=words):
        loss(true, pred)


values = st.none() | st.booleans() | st.integers(-5, 5) | st.floats() | st.text(max_size=2)
junk = st.recursive(values, lambda inner: st.lists(inner, max_size=3), max_leaves=6)
BATCHES = st.lists(st.tuples(junk, junk), min_size=1, max_size=4)


@pytest.mark.parametrize(
    "loss", [winkler, crps_quantiles, crps_ensemble, one_minus_mrr, one_minus_map, integrated_brier], ids=str
)
@given(batch=BATCHES)
def test_whatever_is_sent_is_scored_or_explained(loss: Loss, batch: list[tuple[Any, Any]]) -> None:
    """Any JSON: a cost within bounds, or a problem of the row, or an error about the batch; nothing else."""
    true, pred = (msgspec.json.decode(msgspec.json.encode(list(each))) for each in zip(*batch, strict=True))
    try:
        costs, problems = loss.rows(true, pred)
    except InputError:
        return
    named = {problem.row for problem in problems}
    for row, cost in enumerate(costs.tolist()):
        assert (row in named) == math.isnan(cost)
        assert row in named or loss.bounds[0] <= cost <= loss.bounds[1]


def test_columns_that_must_rise_are_part_of_a_version() -> None:
    plain = Declaration(kind="quantiles", outcome="value", bounds=(0, 1), unit="")
    rising = Declaration(kind="quantiles", outcome="value", bounds=(0, 1), unit="", rising=True)
    assert "rising" not in plain.content(), "what was published before keeps its version"
    assert "rising=True" in rising.content()


@pytest.mark.parametrize(
    ("kind", "columns", "expected"),
    [("quantiles", 5, None), ("ensemble", 5, None), ("survival", 5, 2), ("ranking", 5, 5), ("vector", 1, 1)],
)
def test_outcomes_have_the_columns_of_their_kind(kind: Any, columns: int, expected: int | None) -> None:
    outcome: Any = "time_and_event" if kind == "survival" else "value"
    declared = Declaration(kind=kind, outcome=outcome, bounds=(0, 1), unit="")
    assert declared.outcome_columns(columns) == expected


def test_a_users_own_loss_of_survival_passes_the_checks() -> None:
    @loss(bounds=(0, 1), kind="survival")
    def wrong_at_the_end(y_true: Any, y_pred: Any) -> Any:
        """1 where the last horizon was thought more likely than not to be reached, and the event came."""
        return ((y_pred[:, -1] > 0.5) & (y_true[:, 1] == 1.0)) * 1.0

    check(wrong_at_the_end)
    assert wrong_at_the_end([[3, 1], [3, 0]], [[0.9, 0.8], [0.9, 0.8]]).tolist() == [1.0, 0.0]
