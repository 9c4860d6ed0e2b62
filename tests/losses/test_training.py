"""Derivatives as a boosting library takes them, against formulas and finite differences."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.core.errors import InputError
from lossloop.losses import (
    Array,
    Features,
    Loss,
    absolute,
    brier,
    get,
    huber,
    log_loss,
    log_loss_multiclass,
    loss,
    mase,
    pinball,
    poisson_deviance,
    squared,
    warning_cost,
)

MARGIN = st.floats(-4, 4)


def slope_between(made: Loss, label: Any, margin: float, step: float = 1e-6) -> float:
    """The slope of the cost around a margin."""
    low, high = made([label, label], made.predict([margin - step, margin + step]))
    return float((high - low) / (2 * step))


@pytest.mark.parametrize("made", [log_loss, brier, 0.5 * log_loss + 2 * brier], ids=str)
@given(label=st.integers(0, 1), margin=MARGIN)
def test_slopes_of_probabilities(made: Loss, label: int, margin: float) -> None:
    assert made.gradient([label], [margin])[0] == pytest.approx(slope_between(made, label, margin), abs=1e-5)


@pytest.mark.parametrize(
    "made", [squared, huber.with_parameters(delta=0.7), pinball, mase.with_parameters(scale=2.5)], ids=str
)
@given(value=MARGIN, margin=MARGIN)
def test_slopes_of_values(made: Loss, value: float, margin: float) -> None:
    if min(abs(abs(value - margin) - kink) for kink in (0.0, 0.7)) > 1e-3:
        assert made.gradient([value], [margin])[0] == pytest.approx(
            slope_between(made, value, margin), abs=1e-4
        )


@given(count=st.integers(0, 20), margin=st.floats(-2, 3))
def test_slopes_of_counts(count: int, margin: float) -> None:
    expected = slope_between(poisson_deviance, count, margin)
    assert poisson_deviance.gradient([count], [margin])[0] == pytest.approx(expected, abs=1e-4)


def test_margins_of_many_classes_pull_against_each_other() -> None:
    gradient = log_loss_multiclass.gradient([0, 2], [[1.0, 0.0, -1.0], [0.0, 0.0, 0.0]])
    assert np.allclose(gradient.sum(axis=1), 0.0)
    assert (gradient[[0, 1], [0, 2]] < 0).all()
    assert np.allclose(gradient[1], [1 / 3, 1 / 3, -2 / 3])


def test_the_cap_does_not_silence_the_worst_mistakes() -> None:
    capped = get("log_loss", cap=1)
    assert capped([1], capped.predict([-9.0]))[0] == 1.0
    assert capped.gradient([1], [-9.0])[0] == pytest.approx(-1.0, abs=1e-3)


def test_derivatives_come_together_and_in_float64() -> None:
    labels, margin = np.asarray([0, 1], "f4"), np.asarray([0.5, -0.5], "f4")
    gradient, hessian = log_loss.derivatives(labels, margin)
    assert np.allclose(gradient, log_loss.gradient([0, 1], [0.5, -0.5]))
    assert np.allclose(hessian, log_loss.hessian([0, 1], [0.5, -0.5]))
    assert (gradient.dtype, hessian.dtype) == (np.float64, np.float64)


def test_weights_multiply_both() -> None:
    plain = log_loss_multiclass.derivatives([0, 1], [[0.5, 0.0], [0.0, 1.0]])
    weighted = log_loss_multiclass.derivatives([0, 1], [[0.5, 0.0], [0.0, 1.0]], weight=[1.0, 3.0])
    for one, other in zip(plain, weighted, strict=True):
        assert np.allclose(one * [[1.0], [3.0]], other)


@pytest.mark.parametrize("made", [absolute, huber, pinball], ids=str)
def test_a_constant_stands_where_there_is_no_curvature(made: Loss) -> None:
    _, hessian = made.derivatives([0.0, 0.0], [5.0, -5.0], curvature=0.25)
    assert hessian.tolist() == [0.25, 0.25]


@given(label=st.integers(0, 1), margin=st.floats(-50, 50))
def test_a_hessian_for_a_boosting_library_is_always_positive(label: int, margin: float) -> None:
    for made in (log_loss, brier, log_loss.clip(1), squared):
        assert made.derivatives([label], [margin])[1][0] > 0


def test_a_loss_without_gradient_has_no_derivatives() -> None:
    with pytest.raises(
        InputError, match=re.escape("warning_cost(missed=1, false_alarm=1, unit='USD') has no gradient")
    ):
        warning_cost.derivatives([1], [0.5])


def test_an_ill_outcome_is_named() -> None:
    with pytest.raises(InputError, match="row 1: count -1 is below 0"):
        poisson_deviance.derivatives([1, -1], [0.0, 0.0])
    with pytest.raises(InputError, match="row 0: class 3 is not one of the 2 classes 0 to 1"):
        log_loss_multiclass.derivatives([3], [[0.0, 0.0]])


def test_a_gradient_of_a_loss_that_needs_features_asks_for_them() -> None:
    @loss(bounds=(0, 100), kind="value", link="identity", gradient=lambda y_true, margin: margin - y_true)
    def with_features(y_true: Array, y_pred: Array, features: Features) -> Array:
        return 0.5 * (y_pred - y_true) ** 2 + 0.0 * features["hour"]

    assert with_features.gradient([1.0], [3.0], {"hour": [5]}).tolist() == [2.0]
    with pytest.raises(InputError, match="needs features: columns by name"):
        with_features.gradient([1.0], [3.0])
    with pytest.raises(InputError, match="this loss needs the feature 'carrier'"):
        brier.where(carrier="UA").gradient([1], [0.5], {})
