"""The index finds what was added, and nothing else: also where keys share buckets, tags or a whole half."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.ledger.index import Index
from lossloop.ledger.keys import Int64, UInt64

# Few values for the bits that choose a bucket and for those that a slot keeps: many keys meet.
HALVES = st.builds(lambda tag, bucket: tag << 33 | bucket, st.integers(0, 3), st.integers(0, 200))
KEYS = st.tuples(st.integers(0, 3), HALVES).filter(any)


def halves(keys: list[tuple[int, int]]) -> tuple[UInt64, UInt64]:
    columns = np.array(keys, dtype=np.uint64).reshape(-1, 2)
    return columns[:, 0].copy(), columns[:, 1].copy()


def filled(high: UInt64, low: UInt64, cuts: list[int]) -> Index:
    """An index of all keys, added in batches that end where `cuts` say."""
    index, start = Index(), 0
    for end in [*sorted(cuts), len(low)]:
        index.add(high[:end], low[:end], start, end)
        start = end
    return index


@given(st.lists(KEYS, unique=True, max_size=600), st.lists(KEYS, max_size=50), st.lists(st.integers(0, 600)))
def test_keys_are_found_where_they_were_added(
    keys: list[tuple[int, int]], others: list[tuple[int, int]], cuts: list[int]
) -> None:
    high, low = halves(keys)
    index = filled(high, low, [min(cut, len(keys)) for cut in cuts])
    rows = {key: row for row, key in enumerate(keys)}
    wanted = keys + others
    assert index.find(high, low, *halves(wanted)).tolist() == [rows.get(key, -1) for key in wanted]


@pytest.mark.parametrize("batch", [1, 7, 1_000, 50_000])
def test_an_index_grows_with_what_is_added(batch: int) -> None:
    count = min(50_000, 300 * batch)
    high, low = random_keys(count)
    index = filled(high, low, list(range(0, count, batch)))
    shuffled = np.random.default_rng(1).permutation(count)
    assert (index.find(high, low, high[shuffled], low[shuffled]) == shuffled).all()
    assert (index.find(high, low, high, low + np.uint64(1)) == -1).all()


def test_one_bucket_takes_any_number_of_keys() -> None:
    high = np.arange(1, 501, dtype=np.uint64)
    low = np.full(500, 5, np.uint64)
    index = filled(high, low, [3])
    assert index.find(high, low, high, low).tolist() == list(range(500))
    assert index.find(high, low, high + np.uint64(500), low).tolist() == [-1] * 500


def test_rows_that_were_erased_are_not_found() -> None:
    high, low = random_keys(1_000)
    high[::2] = low[::2] = 0
    index = filled(high, low, [])
    found: Int64 = index.find(high, low, high, low)
    assert (found[1::2] == np.arange(1, 1_000, 2)).all()
    assert (found[::2] == -1).all()


def test_an_empty_index_finds_nothing() -> None:
    nothing = np.empty(0, np.uint64)
    wanted = np.arange(3, dtype=np.uint64)
    assert Index().find(nothing, nothing, wanted, wanted).tolist() == [-1, -1, -1]
    assert Index().find(nothing, nothing, nothing, nothing).tolist() == []


def random_keys(count: int) -> tuple[UInt64, UInt64]:
    random = np.random.default_rng(0)
    return tuple(random.integers(1, 2**63, count).astype(np.uint64) << np.uint64(1) for _ in range(2))  # type: ignore[return-value]
