"""What each slice is measured against: made of the reference's rows, and bounded from below by few."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.core.cuts import SliceReference
from lossloop.core.errors import InputError
from lossloop.judges import (
    block_means,
    bound_of_blocks,
    bound_of_rows,
    reference_of,
    reference_of_blocks,
    slice_references,
)
from lossloop.registry import Reference

DAYS = np.repeat(np.arange(20), 30)
NAMES = np.tile(["carrier=UA", "carrier=AA", "carrier=B6"], 200)


def drawn(seed: int = 0) -> npt.NDArray[np.float64]:
    """600 losses; those of AA are higher."""
    return np.random.default_rng(seed).uniform(0.0, np.where(NAMES == "carrier=AA", 0.8, 0.4))


def test_a_slice_has_the_bound_that_it_would_have_alone() -> None:
    losses = drawn()
    found = slice_references(losses, NAMES.tolist(), DAYS)
    assert sorted(found) == ["carrier=AA", "carrier=B6", "carrier=UA"]
    mine = NAMES == "carrier=AA"
    alone = reference_of_blocks(block_means(losses[mine], DAYS[mine]).mean)
    bound = bound_of_blocks(found["carrier=AA"])
    assert bound is not None
    assert bound.upper == pytest.approx(alone.upper)
    assert bound.estimate == pytest.approx(alone.estimate)
    assert (bound.count, bound.approximate) == (alone.count, True)
    assert found["carrier=AA"].mean == pytest.approx(0.4, abs=0.05)


def test_rows_are_averaged_per_unit_first() -> None:
    losses = np.array([0.9] * 9 + [0.1])
    units = np.array([1] * 9 + [2])
    days = np.zeros(10, np.int64)
    once = slice_references(np.tile(losses, 6), ["a"] * 60, np.repeat(np.arange(6), 10), np.tile(units, 6))
    assert once["a"].mean == pytest.approx(0.5)
    assert slice_references(losses, ["a"] * 10, days) == {}, "one block says next to nothing"


def test_a_bound_over_rows_needs_a_largest_loss() -> None:
    losses = drawn()
    assert bound_of_rows(slice_references(losses, NAMES.tolist(), DAYS)["carrier=UA"]) is None
    found = slice_references(losses, NAMES.tolist(), DAYS, bound=1.0)["carrier=UA"]
    alone = reference_of(losses[NAMES == "carrier=UA"], bound=1.0)
    bound = bound_of_rows(found)
    assert bound is not None
    assert (bound.upper, bound.count) == (alone.upper, alone.count)
    assert bound.estimate == pytest.approx(alone.estimate)


def test_a_single_block_bounds_nothing() -> None:
    assert bound_of_blocks(SliceReference(mean=0.1, blocks=1, spread=0.0, rows=3)) is None


def test_a_reference_written_by_hand_may_leave_the_mean_of_rows_out() -> None:
    bound = bound_of_rows(SliceReference(mean=0.1, blocks=9, spread=0.0, rows=30, row_upper=0.2))
    assert bound is not None
    assert (bound.estimate, bound.upper) == (0.1, 0.2)


def test_no_rows_make_no_references() -> None:
    assert slice_references(np.zeros(0), [], np.zeros(0, np.int64)) == {}


@pytest.mark.parametrize("losses", [np.array([0.1, math.nan]), np.array([0.1]), np.array([math.inf, 0.1])])
def test_losses_that_are_none_are_refused(losses: npt.NDArray[np.float64]) -> None:
    with pytest.raises(InputError, match="finite losses need a slice each"):
        slice_references(losses, ["a", "b"], np.zeros(len(losses), np.int64))


@pytest.mark.parametrize(
    "change", [{"mean": math.nan}, {"spread": -1.0}, {"blocks": 0}, {"rows": 0}, {"row_upper": math.inf}]
)
def test_a_broken_reference_of_a_slice_is_refused(change: dict[str, float]) -> None:
    right = {"mean": 0.1, "blocks": 9, "spread": 0.1, "rows": 9}
    with pytest.raises(InputError, match="finite numbers, a block and a row"):
        SliceReference(**{**right, **change})  # type: ignore[arg-type]


@given(seed=st.integers(0, 2**32 - 1))
def test_in_which_order_rows_stand_is_irrelevant(seed: int) -> None:
    losses, order = drawn(seed), np.random.default_rng(seed).permutation(len(NAMES))
    one = slice_references(losses, NAMES.tolist(), DAYS)
    other = slice_references(losses[order], NAMES[order].tolist(), DAYS[order])
    for name, found in one.items():
        assert (other[name].blocks, other[name].rows) == (found.blocks, found.rows)
        assert other[name].mean == pytest.approx(found.mean)
        assert other[name].spread == pytest.approx(found.spread)


def test_a_manifest_carries_them_through_json() -> None:
    made = Reference(
        loss="brier", mean=0.1, block="1d", block_means=(0.1, 0.1), rows=9, design_effect=1.0,
        slices=slice_references(drawn(), NAMES.tolist(), DAYS, bound=1.0),
    )  # fmt: skip
    assert msgspec.json.decode(msgspec.json.encode(made), type=Reference) == made


def test_a_manifest_without_them_is_written_as_before() -> None:
    made = Reference(loss="brier", mean=0.1, block="1d", block_means=(0.1,), rows=9, design_effect=1.0)
    assert b"slices" not in msgspec.json.encode(made)
