"""Keys: the same text has the same key wherever it stands, and another text another one."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lossloop.ledger.joined import keys as ours
from lossloop.ledger.joined.keys import Keys

KEYS = Keys(b"secret")
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
lists = st.lists(texts, max_size=30)
Key = tuple[int, int]


def keys(values: pa.Array, keyed: Keys = KEYS) -> list[Key]:
    high, low = keyed.of(values)
    assert {high.dtype, low.dtype} == {np.dtype(np.uint64)}
    return list(zip(high.tolist(), low.tolist(), strict=True))


@given(lists)
@example(["", "a", "a\0", "\0a", "\0", "\0" * 8, "\0" * 9])
@example(["aaaaaaaa", "aaaaaaaaa", "aaaaaaa", "aaaaaaaabbbbbbbb", "bbbbbbbbaaaaaaaa"])
@example(["é", "e\u0301", "🙂", "\U0010ffff"])
def test_equal_texts_have_equal_keys_and_others_have_others(values: list[str]) -> None:
    found = keys(pa.array(values, pa.string()))
    assert found == [KEYS.one(value) for value in values]
    assert len(set(found)) == len(set(values))


@given(lists, st.integers(0, 30), st.integers(0, 30))
def test_a_slice_has_the_keys_of_its_texts(values: list[str], start: int, length: int) -> None:
    whole = pa.array(values, pa.string())
    assert keys(whole.slice(start, length)) == keys(whole)[start : start + length]


@given(lists, st.integers(1, 7))
def test_hashing_a_few_at_a_time_is_hashing_them_all(values: list[str], at_once: int) -> None:
    whole = keys(pa.array(values, pa.string()))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ours, "_AT_ONCE", at_once)
        assert keys(pa.array(values, pa.string())) == whole


@pytest.mark.parametrize(
    "kind", [pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())], ids=str
)
def test_it_does_not_matter_how_arrow_keeps_the_texts(kind: pa.DataType) -> None:
    values = pa.array(["a", "", "a long text that is not inlined", "a"])
    assert keys(values.cast(kind)) == keys(values)


def test_texts_of_one_length_and_of_many_are_read_alike() -> None:
    same = [f"{number:08d}" for number in range(100)]
    alone, beside = keys(pa.array(same)), keys(pa.array([*same, "x" * 100]))
    assert beside[:-1] == alone


def test_many_like_texts_share_no_key_and_no_half_of_one() -> None:
    count = 200_000
    high, low = KEYS.of(pa.array([f"prediction-{number}" for number in range(count)]))
    assert len(np.unique(low)) == count, "a table is searched by this half"
    assert len(np.unique(high)) == count


@pytest.mark.parametrize("shift", [0, 13, 32, 48])
def test_keys_are_spread_over_all_their_bits(shift: int) -> None:
    """An index takes the lowest bits of a key, a filter others too: each slot of eight has its eighth."""
    high, low = KEYS.of(pa.array([f"{number:06d}" for number in range(80_000)]))
    for half in (high, low):
        slots = np.bincount((half >> np.uint64(shift)).astype(np.int64) & 7, minlength=8)
        assert np.abs(slots - 10_000).max() < 600, "six standard deviations"


def test_another_secret_makes_other_keys_and_the_same_one_the_same() -> None:
    values = pa.array(["a", "b", ""])
    assert keys(values, Keys(b"secret")) == keys(values)
    assert not set(keys(values, Keys(b"another"))) & set(keys(values))


def test_keys_are_the_same_in_every_release() -> None:
    """They lie in state directories: another hash would be another format."""
    assert keys(pa.array(["", "a", "prediction-000001"])) == [
        (0x75B08B01DC27F37F, 0x9BF682630AD3C52C),
        (0xE54962119ED2737F, 0x03CB0ADC89409FB9),
        (0x983C155823CC1025, 0x595C2AA48EC5ECD6),
    ]
    assert KEYS.unit("ann") == 0x60534E0C60693321


# Units.


@given(st.lists(texts | st.none(), max_size=30), st.integers(0, 30))
def test_units_are_numbers_and_none_is_zero(values: list[str | None], start: int) -> None:
    found = KEYS.units(pa.array(values, pa.string()))
    assert found.dtype == np.dtype(np.int64)
    assert found.tolist() == [0 if value is None else KEYS.unit(value) for value in values]
    assert len(set(found.tolist())) == len(set(values))
    assert KEYS.units(pa.array(values, pa.string()).slice(start)).tolist() == found.tolist()[start:]


def test_no_unit_at_all_costs_no_hashing() -> None:
    assert KEYS.units(pa.nulls(3)).tolist() == [0, 0, 0]
    assert KEYS.units(pa.array([], pa.string())).tolist() == []


def test_a_unit_of_no_letters_is_one() -> None:
    assert KEYS.unit("") != 0
    assert KEYS.units(pa.array(["", None])).tolist() == [KEYS.unit(""), 0]


@pytest.mark.parametrize("count", [1, 8, 9, 200, 5000])
def test_secrets_of_more_words_begin_with_those_of_fewer(count: int) -> None:
    shorter, longer = (ours._secrets(b"secret", 2, size) for size in (count, 2 * count))
    assert np.array_equal(longer[:count], shorter)


def test_long_texts_that_differ_anywhere_differ() -> None:
    base = "x" * 3000
    values = [base, *(base[:at] + "y" + base[at + 1 :] for at in (0, 7, 8, 1500, 2999))]
    assert all(one != other for one, other in pairwise(sorted(keys(pa.array(values)))))
