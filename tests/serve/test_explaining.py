"""Explanations against models whose contributions are known by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.core.errors import Conflict, InputError
from lossloop.core.profile import Profile
from lossloop.core.tasks import Task
from lossloop.judges import profile_of
from lossloop.registry import Feature, FeatureKind
from lossloop.serve.explaining import Explanation, background, number_of, parts, sampled
from lossloop.serve.runtimes import Columns

RANDOM = np.random.default_rng(7)
GRID: Columns = {"a": np.array([0.0, 0.0, 1.0, 1.0]), "b": np.array([0.0, 1.0, 0.0, 1.0])}


def wide(rows: int, width: int, seed: int = 3) -> Columns:
    table = np.random.default_rng(seed).normal(size=(rows, width))
    return {f"x{place}": table[:, place] for place in range(width)}


def total(columns: Columns) -> Any:
    """Each number times its place."""
    return sum((place + 1) * column for place, column in enumerate(columns.values()))


def test_an_additive_models_contributions_are_what_each_term_is_above_its_mean() -> None:
    found = sampled(
        lambda columns: 3 * columns["a"] - columns["b"] + 5,
        {"a": np.array([2.0]), "b": np.array([1.0])},
        GRID,
    )
    assert found.method == "shapley"
    assert found.errors is None
    assert found.evaluations == 16
    assert found.base == pytest.approx(5 + 1.5 - 0.5)
    assert found.contributions == pytest.approx(np.array([[6 - 1.5, -1 + 0.5]]))


def test_a_products_contributions_are_shared_as_shapley_has_it() -> None:
    """f = ab: f(x) = 6, E[f(B)] = 1/4, f(a, B) = 2/2 = 1, f(A, b) = 3/2."""
    found = sampled(
        lambda columns: columns["a"] * columns["b"], {"a": np.array([2.0]), "b": np.array([3.0])}, GRID
    )
    first = ((1 - 0.25) + (6 - 1.5)) / 2
    second = ((1.5 - 0.25) + (6 - 1)) / 2
    assert found.contributions == pytest.approx(np.array([[first, second]]))
    assert found.base == pytest.approx(0.25)


def test_orders_that_are_drawn_find_an_additive_model_as_it_is() -> None:
    rows, against = wide(3, 14), wide(50, 14, seed=4)
    found = sampled(total, rows, against, evaluations=3000)
    assert found.method == "permutation"
    assert found.evaluations == 100 * 30
    assert found.errors is not None
    for place, name in enumerate(rows):
        by_hand = (place + 1) * (rows[name] - against[name].mean())
        assert found.contributions[:, place] == pytest.approx(by_hand), "each background row came twice"


def test_orders_that_are_drawn_come_as_near_as_their_standard_errors_say() -> None:
    def model(columns: Columns) -> Any:
        return columns["x0"] * columns["x1"] + np.maximum(columns["x2"], columns["x3"]) + columns["x4"] ** 2

    rows, against = wide(5, 5), wide(40, 5, seed=4)
    exact = sampled(model, rows, against, evaluations=10_000)
    drawn = sampled(model, rows, against, evaluations=600)
    assert (exact.method, drawn.method) == ("shapley", "permutation")
    assert drawn.errors is not None
    assert (abs(drawn.contributions - exact.contributions) <= 5 * drawn.errors + 1e-9).all()
    assert drawn.errors.max() < 0.5


@given(st.integers(1, 9), st.integers(1, 30), st.integers(1, 400), st.integers(0, 5))
def test_contributions_sum_to_the_answer_less_its_base(
    width: int, there: int, evaluations: int, seed: int
) -> None:
    def model(columns: Columns) -> Any:
        table = np.column_stack(list(columns.values()))
        return np.tanh(table @ np.arange(1, width + 1)) + table.prod(axis=1)

    rows = wide(2, width, seed)
    found = sampled(model, rows, wide(there, width, seed + 1), evaluations=evaluations)
    assert found.base + found.contributions.sum(axis=1) == pytest.approx(model(rows), abs=1e-9)
    again = sampled(model, rows, wide(there, width, seed + 1), evaluations=evaluations)
    assert (again.contributions == found.contributions).all(), "the same row is explained the same again"


def test_what_a_model_does_not_look_at_contributes_nothing() -> None:
    for evaluations in (5000, 300):
        found = sampled(
            lambda columns: columns["x1"] ** 2, wide(2, 6), wide(30, 6, seed=9), evaluations=evaluations
        )
        assert (found.contributions[:, [0, 2, 3, 4, 5]] == 0).all()


def test_categories_and_missing_values_are_put_in_like_numbers() -> None:
    def model(columns: Columns) -> Any:
        return np.array([{"DE": 2.0, None: 7.0}.get(c, 0.0) for c in columns["c"].tolist()]) + np.isnan(
            columns["n"]
        )

    rows: Columns = {"c": np.array(["DE", None], object), "n": np.array([1.0, math.nan])}
    against: Columns = {"c": np.array(["FR", "FR"], object), "n": np.array([0.0, 0.0])}
    found = sampled(model, rows, against)
    assert found.contributions.tolist() == [[2.0, 0.0], [7.0, 1.0]]


def test_a_model_without_an_answer_to_the_background_cannot_be_explained() -> None:
    with pytest.raises(InputError, match="no finite answer"):
        sampled(
            lambda columns: np.where(columns["a"] > 0.5, 1.0, np.nan),
            {"a": np.array([2.0]), "b": np.array([0.0])},
            GRID,
        )


def test_parts_are_kept_as_text_and_say_how_far_off_they_may_be() -> None:
    found = Explanation(
        base=np.array([1.0]), contributions=np.array([[2.0, -0.5]]), scale="y_pred", method="permutation",
        evaluations=40, errors=np.array([[0.1, 0.2]]),
    )  # fmt: skip
    (part,) = parts(found, ["a", "b"], of=2)
    assert part.text == (
        '{"base":1.0,"contributions":{"a":2.0,"b":-0.5},"scale":"y_pred","method":"permutation",'
        '"evaluations":40,"errors":{"a":0.1,"b":0.2},"of":2}'
    )


def test_of_chances_of_classes_the_largest_is_explained_and_of_other_lists_none() -> None:
    assert number_of(Task.BINARY, 0.25) is None
    assert number_of(Task.MULTICLASS, [0.25, 0.5, 0.25]) == 1
    with pytest.raises(
        InputError, match="predictions of a vector task cannot be explained; those of binary, multi"
    ):
        number_of(Task.VECTOR, [1.0, 2.0])


NUMBERS = (Feature(name="n", nullable=True), Feature(name="c", kind=FeatureKind.CATEGORY))


def reference(joint: bool) -> Profile:
    n = np.where(RANDOM.random(2000) < 0.1, np.nan, RANDOM.normal(10, 2, 2000))
    c = np.array(["rain" if each > 10 else "sun" for each in n], object)
    return profile_of({"n": n, "c": c}, blocks=np.arange(2000) // 50, block="1d", joint=joint)


@pytest.mark.parametrize("joint", [True, False])
def test_background_rows_are_as_the_profile_has_the_reference(joint: bool) -> None:
    found = background(NUMBERS, reference(joint))
    assert set(found["c"]) == {"rain", "sun"}
    assert len(found["n"]) == 100
    assert 2 <= np.isnan(found["n"]).sum() <= 25
    assert 9 < np.nanmean(found["n"]) < 11
    rain = found["n"][(found["c"] == "rain") & ~np.isnan(found["n"])]
    assert (rain > 9.5).all() == joint, "a sample of whole rows knows how features go together"


def test_what_may_not_be_missing_never_is() -> None:
    needed = (Feature(name="n"), Feature(name="c", kind=FeatureKind.CATEGORY))
    found = background(needed, reference(joint=False))
    assert not np.isnan(found["n"]).any()


@pytest.mark.parametrize("values", [[3.0] * 40, [0.0, 1.0] * 20, [math.nan] * 40])
def test_a_feature_of_few_values_is_told_by_them(values: list[float]) -> None:
    found = background(
        (Feature(name="n", nullable=True),),
        profile_of({"n": values}, blocks=np.arange(40) // 2, block="1d", joint=False),
    )
    told = {None if math.isnan(value) else value for value in found["n"].tolist()}
    assert told == {None if math.isnan(value) else value for value in values}


def test_a_version_without_a_profile_says_what_to_do() -> None:
    with pytest.raises(Conflict, match=r"has no profile, which .* register it with lossloop.profile_of"):
        background(NUMBERS, None)
    with pytest.raises(Conflict, match="has no profile of d"):
        background((Feature(name="d"),), reference(joint=False))
