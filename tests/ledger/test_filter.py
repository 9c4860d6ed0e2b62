"""What a filter says of keys that it holds, and of others."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.ledger.joined.filter import Filter, Prints, bits_of
from lossloop.ledger.joined.keys import Keys, UInt64

halves = st.lists(st.integers(0, (1 << 64) - 1), max_size=50)


def filled(low: UInt64) -> Filter:
    made = Filter(len(low))
    made.add(low)
    return made


@given(st.lists(halves, max_size=4), st.integers(0, 500))
def test_a_filter_never_says_no_of_what_it_holds(batches: list[list[int]], rows: int) -> None:
    made, held = Filter(rows), np.empty(0, np.uint64)
    for batch in batches:
        made.add(np.array(batch, np.uint64))
        held = np.concatenate([held, np.array(batch, np.uint64)])
        assert made.may_hold(held, bits_of(held)).all()


@given(halves)
def test_nobody_asked_for_is_nobody_found(low: list[int]) -> None:
    nobody = np.empty(0, np.uint64)
    assert filled(np.array(low, np.uint64)).may_hold(nobody, bits_of(nobody)).tolist() == []


def test_keys_of_the_same_word_in_one_batch_are_all_held() -> None:
    low = np.arange(200, dtype=np.uint64) << np.uint64(40)
    assert filled(low).may_hold(low, bits_of(low)).all()


@pytest.mark.parametrize("count", [1000, 1024, 1025, 50_000, 1 << 16])
def test_it_says_yes_of_few_others(count: int) -> None:
    """1 in 1,000 at the fullest, of real keys."""
    _, low = Keys(b"secret").of(pa.array([f"id-{number}" for number in range(count + 100_000)]))
    others = low[count:]
    assert np.count_nonzero(filled(low[:count]).may_hold(others, bits_of(others))) < 200


def test_bits_are_the_same_everywhere() -> None:
    """A closed part's filter is asked with bits that were made anew."""
    bits = bits_of(np.array([0, 1 << 20, 1 << 32, (1 << 64) - 1], np.uint64))
    assert bits.tolist() == bits_of(np.array([7, (1 << 20) + 5, 1 << 32, (1 << 64) - 1], np.uint64)).tolist()
    assert (np.bitwise_count(bits) <= 6).all()
    assert (np.bitwise_count(bits) >= 1).all()


# What tells apart the few of which a filter says yes in vain.


@given(halves, halves)
def test_prints_know_every_key_that_they_were_made_of(high: list[int], others: list[int]) -> None:
    made = Prints(np.array(high, np.uint64))
    assert made.may_hold(np.array(high, np.uint64)).all()
    upper = {each >> 32 for each in high}
    assert made.may_hold(np.array(others, np.uint64)).tolist() == [each >> 32 in upper for each in others]


@pytest.mark.parametrize("half", [0, (1 << 64) - 1])
def test_prints_have_a_least_and_a_greatest(half: int) -> None:
    edge = np.array([half], np.uint64)
    assert Prints(edge).may_hold(edge).tolist() == [True]
    assert Prints(~edge).may_hold(edge).tolist() == [False]
    assert Prints(edge[:0]).may_hold(edge).tolist() == [False]
