"""How features are cut: every value has a bin, ties have one of their own, and bins say what they mean."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.core.errors import InputError
from lossloop.judges.bins import MOST_RARE, bins_of, cut_of, ranks_of, statistics_of, values_of

numbers = st.lists(
    st.one_of(st.floats(-1e9, 1e9), st.just(math.nan), st.sampled_from([0.0, 1.0, 2.0])), max_size=40
)


def test_quantiles_make_bins_of_equal_shares() -> None:
    values = np.random.default_rng(0).normal(size=10_000)
    cut = cut_of(values)
    shares = np.bincount(bins_of(cut, values), minlength=cut.bins) / len(values)
    assert cut.bins == 43
    assert shares[0] == shares[-2] == shares[-1] == 0.0
    np.testing.assert_allclose(shares[1:-2], 0.025, atol=1e-3)


def test_a_value_that_many_rows_share_is_a_bin_of_its_own() -> None:
    rng = np.random.default_rng(1)
    values = np.where(rng.random(5000) < 0.6, 0.0, rng.exponential(size=5000))
    cut = cut_of(values)
    found = bins_of(cut, np.array([-0.5, 0.0, 1e-12, 1e9, np.nan]))
    assert found.tolist() == [0, 1, 2, cut.bins - 2, cut.bins - 1]
    shares = np.bincount(bins_of(cut, values), minlength=cut.bins) / len(values)
    assert shares[1] == pytest.approx(0.6, abs=0.03)
    ranks = ranks_of(shares)
    assert ranks[1] == pytest.approx(0.3, abs=0.02)
    assert ranks[-2] == pytest.approx(1.0)


def test_a_constant_feature_still_sees_what_is_below_and_above() -> None:
    cut = cut_of(np.full(50, 7.0))
    assert bins_of(cut, np.array([6.9, 7.0, 7.1])).tolist() == [0, 1, 2]


@given(reference=numbers, new=numbers)
def test_bins_keep_the_order_of_numbers(reference: list[float], new: list[float]) -> None:
    cut = cut_of(values_of(np.array(reference, dtype=np.float64), "x"))
    values = np.array(new, dtype=np.float64)
    found = bins_of(cut, values)
    assert found.max(initial=0) < cut.bins
    assert ((found == cut.bins - 1) == np.isnan(values)).all()
    there = ~np.isnan(values)
    order = np.argsort(values[there])
    assert (np.diff(found[there][order].astype(int)) >= 0).all()


@given(reference=numbers.filter(lambda values: not all(map(math.isnan, values))))
def test_ranks_average_to_a_half_on_what_they_are_made_of(reference: list[float]) -> None:
    values = values_of(np.array(reference), "x")
    cut = cut_of(values)
    found = bins_of(cut, values)
    shares = np.bincount(found, minlength=cut.bins) / len(values)
    names, table = statistics_of(cut, shares)
    assert names == ["level", "spread", "low", "high", "missing"]
    assert ((table >= 0.0) & (table <= 1.0)).all()
    assert table[found, 0].mean() == pytest.approx(0.5)
    mirrored = cut_of(-values)
    level = table[found, 0]
    again = bins_of(mirrored, -values)
    other = ranks_of(np.bincount(again, minlength=mirrored.bins) / len(values))[again]
    if len(np.unique(values[~np.isnan(values)])) <= 40:  # then each value has a bin of its own
        np.testing.assert_allclose(other, 1.0 - level, atol=1e-9)


def test_categories_are_common_rare_unseen_or_missing() -> None:
    values = np.array(["a"] * 70 + ["b"] * 129 + ["c"] + [None] * 3, dtype=object)
    cut = cut_of(values)
    assert cut.categories == ("b", "a")
    assert cut.rare == ("c",)
    new = np.array(["a", "b", "c", "d", None], dtype=object)
    assert bins_of(cut, new).tolist() == [1, 0, 2, 3, 4]
    names, table = statistics_of(cut, np.zeros(cut.bins))
    assert names == [
        "share of 'b'",
        "share of 'a'",
        "share of rare values",
        "share of unseen values",
        "missing",
    ]
    assert (table == np.eye(5)).all()


def test_too_many_rare_values_are_not_listed_and_pool_the_unseen() -> None:
    values = np.array([f"tail-{number}" for number in range(MOST_RARE + 1)] * 2, dtype=object)
    cut = cut_of(values)
    assert cut.categories == () == cut.rare
    assert cut.pools_unseen
    assert bins_of(cut, np.array(["never seen"], dtype=object))[0] == 0


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1, 2], "f"),
        ([1.5, None], "f"),
        ([None, None], "f"),
        (["a", None], "O"),
        (np.array([True, False]), ""),
    ],
)
def test_values_are_numbers_or_text(values: Any, kind: str) -> None:
    if not kind:
        with pytest.raises(InputError, match="row 0"):
            values_of(values, "x")
        return
    assert values_of(values, "x").dtype.kind == kind


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["a", 1], "row 0 is 'a'"),
        ([1.0, math.inf], "infinite at row 1"),
        ([[1.0]], "one dimension"),
        ([{}], "row 0"),
    ],
)
def test_other_values_are_refused(values: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        values_of(values, "x")
