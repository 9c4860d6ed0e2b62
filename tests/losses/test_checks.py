"""The checks catch what they are for: each of these losses breaks one promise."""

from __future__ import annotations

import math
from typing import Any

import array_api_strict
import numpy as np
import pytest

from lossloop.core.errors import InputError
from lossloop.losses import Array, Features, Golden, Loss, loss
from lossloop.losses.checks import CHECKS, agrees, check, sample


def brier(y_true: Array, y_pred: Array) -> Array:
    return (y_pred - y_true) ** 2


@loss(bounds=(0, 1), golden=(Golden(y_true=[1], y_pred=[0.5], expected=[0.3]),))
def wrong_golden(y_true: Array, y_pred: Array) -> Array:
    return (y_pred - y_true) ** 2


@loss(bounds=(0, 2))
def looks_at_the_others(y_true: Array, y_pred: Array) -> Array:
    return (y_pred - y_true) ** 2 + y_pred.max(initial=0)


@loss(bounds=(0, 3))
def looks_at_its_place(y_true: Array, y_pred: Array) -> Array:
    return (y_pred - y_true) ** 2 + np.linspace(0, 1, len(y_pred))


@loss(bounds=(0, 1))
def writes_into_its_input(y_true: Array, y_pred: Array) -> Array:
    y_pred *= 0.5
    return (y_pred - y_true) ** 2


RNG = np.random.default_rng(0)


@loss(bounds=(0, 2))
def throws_dice(y_true: Array, y_pred: Array) -> Array:
    return (y_pred - y_true) ** 2 + RNG.random(len(y_pred))


def half(y_true: Array, margin: Array) -> Array:
    return 0.5 * (margin - y_true)


def twice(y_true: Array, margin: Array) -> Array:
    return 2.0 * (margin - y_true)


def one(y_true: Array, margin: Array) -> Array:
    return np.ones_like(margin)


BROKEN = [
    (wrong_golden, "golden vectors say"),
    (loss(bounds=(0, 0.1), name="too_narrow")(brier), "outside the declared bounds"),
    (looks_at_the_others, "a cost depends on the other rows"),
    (looks_at_its_place, "a cost depends on the order of the rows"),
    (writes_into_its_input, "changes its predictions"),
    (throws_dice, "is not deterministic"),
    (
        loss(bounds=(0, math.inf), kind="value", link="identity", gradient=half, name="slope")(brier),
        "slope: gradient is wrong",
    ),
    (
        loss(bounds=(0, math.inf), kind="value", link="identity", gradient=twice, hessian=one, name="bend")(
            brier
        ),
        "bend: Hessian is wrong",
    ),
]


@pytest.mark.parametrize(("broken", "words"), BROKEN, ids=lambda value: getattr(value, "name", ""))
def test_a_broken_loss_does_not_pass(broken: Loss, words: str) -> None:
    with pytest.raises((AssertionError, InputError), match=words):
        check(broken)


def test_a_check_can_be_left_out_by_name() -> None:
    check(wrong_golden, skip=("golden_vectors_hold",))
    assert len({one.__name__ for one in CHECKS}) == len(CHECKS)


@loss(
    bounds=(0, math.inf),
    kind="value",
    golden=(
        Golden(
            y_true=[1.0, 2.0, 3.0],
            y_pred=[2.0, 2.0, 5.0],
            features={"price": [1.0, 2.0, 3.0]},
            expected=[1.0, 0.0, 6.0],
        ),
    ),
)
def priced(y_true: Array, y_pred: Array, features: Features) -> Array:
    return features["price"] * abs(y_true - y_pred)


def test_a_loss_with_features_is_checked_on_its_golden_vectors() -> None:
    check(priced)
    agrees(priced, np)
    assert set(sample(priced).features or ()) == {"price"}


def test_a_loss_with_features_and_no_golden_vectors_cannot_be_checked() -> None:
    bare = loss(bounds=(0, math.inf), kind="value", name="bare")(lambda y_true, y_pred, features: y_pred)
    with pytest.raises(InputError, match="give it golden vectors with features"):
        check(bare)


@pytest.mark.parametrize("kind", ["ranking", "set", "action", "score", "quantiles"])
def test_a_loss_of_any_kind_can_be_checked(kind: Any) -> None:
    @loss(bounds=(0, 1), kind=kind)
    def nothing(y_true: Array, y_pred: Array) -> Array:
        return np.zeros(len(y_pred))

    check(nothing)


def test_libraries_that_disagree_are_found() -> None:
    @loss(bounds=(0, 1))
    def partial_to_numpy(y_true: Array, y_pred: Array) -> Array:
        return y_pred * (1.0 if isinstance(y_pred, np.ndarray) else 0.5)

    with pytest.raises(AssertionError, match="libraries disagree"):
        agrees(partial_to_numpy, array_api_strict)
