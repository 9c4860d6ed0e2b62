"""Rows become block means, whatever their order."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from lossloop.core.errors import InputError
from lossloop.judges import block_interval, block_means, fill_missing

rows = st.lists(
    st.tuples(st.floats(0, 5) | st.just(float("nan")), st.integers(-3, 3), st.integers(0, 3)), max_size=40
)


@given(rows=rows)
def test_it_is_the_definition(rows: list[tuple[float, int, int]]) -> None:
    losses = [loss for loss, _, _ in rows]
    found = block_means(losses, [block for _, block, _ in rows], [unit for _, _, unit in rows])
    expected: dict[int, dict[int, list[float]]] = {}
    for loss, block, unit in rows:
        if not np.isnan(loss):
            expected.setdefault(block, {}).setdefault(unit, []).append(loss)
    assert found.block.tolist() == sorted(expected)
    for index, block in enumerate(sorted(expected)):
        by_unit = expected[block]
        assert found.mean[index] == pytest.approx(np.mean([np.mean(of) for of in by_unit.values()]))
        assert found.units[index] == len(by_unit)
        assert found.rows[index] == sum(map(len, by_unit.values()))
        assert found.missing[index] == sum(b == block and np.isnan(loss) for loss, b, _ in rows)
    assert len(found) == len(expected)


def test_a_unit_counts_once_in_a_block() -> None:
    found = block_means([1.0] * 9 + [0.0], [5] * 10, ["busy"] * 9 + ["quiet"])
    assert found.mean.tolist() == [0.5]
    assert (found.units.tolist(), found.rows.tolist()) == ([2], [10])


def test_without_units_each_row_counts() -> None:
    assert block_means([1.0, 1.0, 0.0, 0.4], [1, 1, 1, 2]).mean == pytest.approx([2 / 3, 0.4])


def test_missing_outcomes_are_left_out_or_filled() -> None:
    losses = [1.0, np.nan, np.nan]
    found = block_means(losses, [1, 1, 2])
    assert (found.block.tolist(), found.mean.tolist(), found.missing.tolist()) == ([1], [1.0], [1])
    filled = block_means(fill_missing(losses, 0.0), [1, 1, 2])
    assert (filled.block.tolist(), filled.mean.tolist()) == ([1, 2], [0.5, 0.0])


def test_bad_blocks_are_refused() -> None:
    with pytest.raises(InputError, match=r"blocks must have the losses' shape \(2,\), not \(1,\)"):
        block_means([0.1, 0.2], [1])
    with pytest.raises(InputError, match="blocks must be integers"):
        block_means([0.1, 0.2], [1.5, 2.5])
    with pytest.raises(InputError, match="units must have the losses' shape"):
        block_means([0.1, 0.2], [1, 2], [1])


# A mean and its interval over blocks.


def test_with_a_row_a_block_it_is_students_interval() -> None:
    values = np.random.default_rng(1).normal(3.0, 2.0, 40)
    found = block_interval(values, np.arange(40))
    half = scipy.stats.t.ppf(0.975, 39) * values.std(ddof=1) / np.sqrt(40)
    assert found.estimate == pytest.approx(values.mean())
    assert found.high == pytest.approx(values.mean() + half)
    assert found.low == pytest.approx(values.mean() - half)
    assert found.approximate


@given(
    values=st.lists(st.floats(-100, 100), min_size=4, max_size=30),
    parts=st.integers(2, 4),
    scale=st.sampled_from([0.5, 2.0, 4.0]),
    shift=st.integers(-8, 8),
)
def test_it_follows_the_unit_and_the_zero_of_the_values(
    values: list[float], parts: int, scale: float, shift: int
) -> None:
    blocks = np.arange(len(values)) % parts
    one = block_interval(np.array(values), blocks)
    other = block_interval(np.array(values) * scale + shift, blocks)
    assert other.estimate == pytest.approx(one.estimate * scale + shift, abs=1e-9)
    assert other.high - other.low == pytest.approx((one.high - one.low) * scale, abs=1e-9)


@given(st.permutations(range(12)))
def test_the_order_of_rows_and_the_names_of_blocks_do_not_matter(order: list[int]) -> None:
    values, blocks = np.random.default_rng(3).random(12), np.repeat([5, 1, 9], 4)
    one, other = block_interval(values, blocks), block_interval(values[order], -blocks[order])
    assert (one.low, one.high) == pytest.approx((other.low, other.high))


def test_rows_that_share_a_block_are_worth_less_than_as_many_apart() -> None:
    shared = np.repeat(np.random.default_rng(5).normal(0, 1, 20), 50)
    by_block = block_interval(shared, np.repeat(np.arange(20), 50))
    by_row = block_interval(shared, np.arange(1000))
    assert by_block.high - by_block.low > 5 * (by_row.high - by_row.low)


def test_it_holds_the_mean_as_often_as_it_says() -> None:
    """95% of intervals over 15 blocks of differing size: 400 of them, two standard errors below."""
    draw, held = np.random.default_rng(7), 0
    for _ in range(400):
        sizes = draw.integers(5, 15, 15)
        blocks = np.repeat(np.arange(15), sizes)
        values = draw.normal(0, 1, 15)[blocks] + draw.normal(0, 1, len(blocks))
        found = block_interval(values, blocks)
        held += found.low <= 0.0 <= found.high
    assert held >= 371


@pytest.mark.parametrize("blocks", [[0, 0, 0], [0, 1]])
def test_one_block_or_another_number_of_them_is_refused(blocks: list[int]) -> None:
    with pytest.raises(InputError, match="2 blocks or more"):
        block_interval([1.0, 2.0, 3.0], blocks)


def test_equal_values_have_an_interval_of_no_width() -> None:
    found = block_interval(np.full(30, 0.1), np.arange(30) // 3)
    assert found.low == pytest.approx(0.1, abs=1e-12)
    assert found.high == pytest.approx(0.1, abs=1e-12)
