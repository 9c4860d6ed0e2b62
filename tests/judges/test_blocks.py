"""Rows become block means, whatever their order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.core.errors import InputError
from lossloop.judges import block_means, fill_missing

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
