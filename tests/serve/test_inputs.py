"""From columns to what libraries take."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as numbers

from lossloop.core.errors import InputError
from lossloop.registry import Feature, FeatureKind
from lossloop.serve.runtimes.alone import one_by_one
from lossloop.serve.runtimes.base import Columns, Floats
from lossloop.serve.runtimes.inputs import LARGEST, Matrix, answers, kinds, only_numbers, order

NAMES = st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=6, unique=True)
TEXTS = st.one_of(st.none(), st.sampled_from(["red", "green", "blue", "", "unheard of"]))


def features(names: list[str]) -> tuple[Feature, ...]:
    return tuple(Feature(name=name) for name in names)


@given(NAMES, st.randoms(use_true_random=False))
def test_a_model_s_own_order_counts_whatever_the_manifest_s(names: list[str], draw: Any) -> None:
    turned = draw.sample(names, len(names))
    assert order(features(turned), names, len(names)) == names


@given(NAMES)
def test_without_names_the_manifest_s_order_counts(names: list[str]) -> None:
    assert order(features(names), None, len(names)) == names
    with pytest.raises(InputError, match=f"takes {len(names) + 1} features, the manifest lists {len(names)}"):
        order(features(names), None, len(names) + 1)


@given(NAMES, st.text(min_size=6, max_size=8))
def test_one_more_and_one_less_are_told_on_both_sides(names: list[str], other: str) -> None:
    with pytest.raises(InputError, match="the model takes no feature") as caught:
        order(features([*names, other]), names, len(names))
    assert caught.value.field == "features"
    with pytest.raises(InputError, match="which the manifest does not list") as caught:
        order(features(names), [*names, other], len(names) + 1)
    assert caught.value.field == "features"


def test_many_that_are_missing_are_not_all_listed() -> None:
    known = [f"f{place}" for place in range(9)]
    with pytest.raises(InputError, match="takes 'f1', 'f2', 'f3', 'f4', 'f5' and 3 more, which the manifest"):
        order(features(["f0"]), known, 9)


def test_a_category_is_told_with_why() -> None:
    mixed = (Feature(name="x"), Feature(name="colour", kind=FeatureKind.CATEGORY))
    only_numbers(mixed[:1], "no reason")
    with pytest.raises(InputError, match="feature 'colour' is a category: it takes none"):
        only_numbers(mixed, "it takes none")
    assert kinds(mixed) == {"x": FeatureKind.NUMBER, "colour": FeatureKind.CATEGORY}


@given(numbers.arrays(np.float64, st.tuples(st.integers(1, 5), st.integers(1, 4))))
def test_columns_stand_side_by_side(table: Any) -> None:
    names = [f"f{place}" for place in range(table.shape[1])]
    columns = {name: table[:, place] for place, name in enumerate(names)}
    assert np.array_equal(Matrix(names).of(columns), table, equal_nan=True)
    turned = Matrix(names[::-1]).of(columns)
    assert np.array_equal(turned, table[:, ::-1], equal_nan=True)
    single = Matrix(names, np.float32).of(columns)
    with np.errstate(over="ignore"):
        assert np.array_equal(single, table.astype(np.float32), equal_nan=True)


@given(numbers.arrays(np.float64, st.tuples(st.integers(1, 5), st.integers(1, 3))))
def test_what_is_clipped_is_finite_or_missing_and_otherwise_the_same(table: Any) -> None:
    names = [f"f{place}" for place in range(table.shape[1])]
    columns = {name: table[:, place].copy() for place, name in enumerate(names)}
    found = Matrix(names).clipped(columns)
    assert np.array_equal(np.isnan(found), np.isnan(table))
    assert (np.abs(found[~np.isnan(found)]) <= LARGEST).all()
    inside = np.abs(table) <= LARGEST
    assert np.array_equal(found[inside], table[inside])
    assert all(
        np.array_equal(columns[name], table[:, place], equal_nan=True) for place, name in enumerate(names)
    )


@given(st.lists(TEXTS, min_size=1, max_size=8))
def test_a_category_is_its_code_or_missing(texts: list[str | None]) -> None:
    known = ["blue", "green", "red"]
    columns = {"colour": np.array(texts, dtype=object), "x": np.zeros(len(texts))}
    found = Matrix(["x", "colour"], categories={"colour": known}).of(columns)[:, 1]
    for code, text in zip(found.tolist(), texts, strict=True):
        assert (known[int(code)] == text) if not np.isnan(code) else (text not in known)


@given(
    numbers.arrays(
        np.float32, st.tuples(st.integers(0, 5), st.integers(1, 4)), elements=st.floats(0, 1, width=32)
    )
)
def test_a_single_column_is_one_number_a_row(found: Any) -> None:
    made = answers(found)
    assert made.dtype == np.float64
    assert made.shape == ((len(found),) if found.shape[1] == 1 else found.shape)
    assert answers(found[:, 0]).shape == (len(found),)


# One by one.


class Refusal(Exception):
    """What a library raises over a row."""


def refusing(columns: Columns) -> Floats:
    """Twice each number; refuses all rows over one below zero."""
    if (columns["x"] < 0).any():
        raise Refusal
    found: Floats = 2.0 * columns["x"]
    return found


@given(numbers.arrays(np.float64, st.integers(1, 8), elements=st.floats(-5, 5)))
def test_rows_that_are_refused_have_no_answer_and_the_others_have_theirs(xs: Any) -> None:
    found = one_by_one(refusing, {"x": xs}, (Refusal,))
    assert np.array_equal(np.isnan(found), xs < 0)
    assert np.array_equal(found[xs >= 0], 2.0 * xs[xs >= 0])


def test_rows_of_several_numbers_have_none_in_all_of_them() -> None:
    def twins(columns: Columns) -> Floats:
        return np.column_stack([refusing(columns), refusing(columns)])

    found = one_by_one(twins, {"x": np.array([1.0, -1.0])}, (Refusal,))
    assert found.shape == (2, 2)
    assert np.isnan(found).tolist() == [[False, False], [True, True]]


def test_what_is_no_refusal_is_raised() -> None:
    with pytest.raises(Refusal):
        one_by_one(refusing, {"x": np.array([1.0, -1.0])}, (ValueError,))
