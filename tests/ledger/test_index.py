"""The index against a dictionary: rows are found by their keys, whatever they came with."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.ledger.joined import index as ours
from lossloop.ledger.joined.index import MOST, Index
from lossloop.ledger.joined.keys import Int64, UInt64

Key = tuple[int, int]
LAST = (1 << 64) - 1
halves = st.integers(0, 3) | st.integers(0, LAST) | st.sampled_from([1024, 2048, 1 << 63, LAST - 1024, LAST])
"""Small ones and multiples of the index's size meet in one bucket; the last one overflows into the first."""
some_keys = st.tuples(halves, halves).filter(lambda key: key != (0, 0))


def columns(keys: list[Key]) -> tuple[UInt64, UInt64]:
    high, low = (np.array([key[half] for key in keys], np.uint64) for half in (0, 1))
    return high, low


def filled(keys: list[Key], cuts: list[int]) -> Index:
    """Keys added in batches that end at the cuts."""
    index, (high, low), start = Index(), columns(keys), 0
    for end in [*sorted(min(cut, len(keys)) for cut in cuts), len(keys)]:
        index.add(high[:end], low[:end], start, end)
        start = end
    return index


def found(index: Index, keys: list[Key], wanted: list[Key]) -> Int64:
    return index.find(*columns(keys), *columns(wanted))


@given(
    st.lists(some_keys, unique=True, max_size=60),
    st.lists(st.integers(0, 60), max_size=5),
    st.lists(some_keys),
)
def test_it_finds_what_a_dictionary_finds(keys: list[Key], cuts: list[int], others: list[Key]) -> None:
    rows, index = {key: row for row, key in enumerate(keys)}, filled(keys, cuts)
    assert found(index, keys, keys).tolist() == list(range(len(keys)))
    assert found(index, keys, others).tolist() == [rows.get(key, -1) for key in others]


@given(st.lists(some_keys, unique=True, max_size=60), st.lists(st.integers(0, 60), max_size=5))
def test_it_grows_without_losing_a_row(keys: list[Key], cuts: list[int]) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ours, "_LEAST", 1)
        index = filled(keys, cuts)
    assert found(index, keys, keys).tolist() == list(range(len(keys)))
    assert index._buckets.size >= 2 * len(keys), "more than half full, looking takes long"


@pytest.mark.parametrize("low", [7, LAST], ids=["a bucket", "the last bucket"])
def test_many_keys_in_one_bucket_are_told_apart(low: int) -> None:
    keys = [(row, low) for row in range(500)]
    index = filled(keys, [100, 101, 400])
    assert found(index, keys, keys[::-1]).tolist() == list(range(500))[::-1]
    assert found(index, keys, [(500, low), (0, 8)]).tolist() == [-1, -1]


def test_the_same_key_may_be_asked_for_often() -> None:
    keys = [(1, 1), (2, 2)]
    assert found(filled(keys, []), keys, [(2, 2)] * 5 + [(3, 3)] * 2).tolist() == [1] * 5 + [-1] * 2


def test_an_empty_index_has_nothing() -> None:
    assert found(Index(), [], [(1, 1)]).tolist() == [-1]
    assert found(Index(), [], []).tolist() == []


def test_what_was_erased_takes_no_place() -> None:
    """Any number of rows may have been erased: their keys are all 0, 0, and nobody asks for them."""
    keys = [(0, 0)] * 5000 + [(1, 0), (0, 1024)] + [(0, 0)] * 5000
    index = filled(keys, [3000])
    assert np.count_nonzero(index._buckets >= 0) == 2
    assert found(index, keys, [(1, 0), (0, 1024), (5, 5)]).tolist() == [5000, 5001, -1]


def test_the_last_row_that_there_may_be_is_found() -> None:
    """Its number has all its bits set, as an empty slot has."""
    high, low = np.random.default_rng(2).integers(1, 1 << 64, (2, MOST), np.uint64)
    low[-1] = LAST
    index = Index()
    for start in (0, MOST // 2):
        index.add(high, low, start, start + MOST // 2)
    asked = np.array([MOST - 1, 0, MOST // 2])
    assert index.find(high, low, high[asked], low[asked]).tolist() == asked.tolist()
    assert index.find(high, low, high[asked] ^ np.uint64(1), low[asked]).tolist() == [-1] * 3


def test_random_keys_by_the_hundred_thousand() -> None:
    high, low = np.random.default_rng(0).integers(1, 1 << 64, (2, 200_000), np.uint64)
    index = Index()
    for start in range(0, 200_000, 50_000):
        index.add(high, low, start, start + 50_000)
    order = np.random.default_rng(1).permutation(200_000)
    assert np.array_equal(index.find(high, low, high[order], low[order]), order)
    assert (index.find(high, low, low, high) == -1).all()
