"""What is known of a part that does not lie in memory."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.ledger.joined.closed import Filter
from lossloop.ledger.joined.keys import Keys

halves = st.lists(st.integers(0, (1 << 64) - 1), max_size=50)


@given(halves)
def test_a_filter_never_says_no_of_what_it_holds(low: list[int]) -> None:
    keys = np.array(low, np.uint64)
    assert Filter(keys).may_hold(keys).all()


@given(halves)
def test_nobody_asked_for_is_nobody_found(low: list[int]) -> None:
    assert Filter(np.array(low, np.uint64)).may_hold(np.empty(0, np.uint64)).tolist() == []


@pytest.mark.parametrize("count", [1000, 1024, 1025, 50_000])
def test_it_says_yes_of_few_others(count: int) -> None:
    """1 in 400 at the fullest, of real keys."""
    _, low = Keys(b"secret").of(pa.array([f"id-{number}" for number in range(count + 100_000)]))
    assert np.count_nonzero(Filter(low[:count]).may_hold(low[count:])) < 300
