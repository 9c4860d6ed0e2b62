from __future__ import annotations

import time
from uuid import RFC_4122, UUID

from hypothesis import given
from hypothesis import strategies as st

from lossloop.core.ids import digest, new_id, uuid7

milliseconds = st.integers(0, (1 << 48) - 1)
ten_bytes = st.binary(min_size=10, max_size=10)


def made(ms: int, random: bytes) -> UUID:
    return uuid7(now_ms=ms, random=lambda count: random[:count])


@given(milliseconds, ten_bytes)
def test_version_variant_and_time_stand_where_rfc_9562_wants_them(ms: int, random: bytes) -> None:
    id = made(ms, random)
    assert id.version == 7
    assert id.variant == RFC_4122
    assert id.int >> 80 == ms


@given(milliseconds, milliseconds, ten_bytes, ten_bytes)
def test_ids_made_later_sort_later(one: int, other: int, first: bytes, second: bytes) -> None:
    if one != other:
        assert (str(made(one, first)) < str(made(other, second))) == (one < other)


@given(milliseconds, ten_bytes, ten_bytes)
def test_74_bits_are_random(ms: int, one: bytes, other: bytes) -> None:
    used = (int.from_bytes(one, "big") ^ int.from_bytes(other, "big")) & ((1 << 74) - 1)
    assert (made(ms, one) != made(ms, other)) == bool(used)


def test_every_id_is_a_new_one_of_this_moment() -> None:
    before = time.time_ns() // 1_000_000
    ids = {new_id() for _ in range(1000)}
    assert len(ids) == 1000
    assert all(before <= UUID(id).int >> 80 <= time.time_ns() // 1_000_000 for id in ids)


@given(st.lists(st.binary(), max_size=4), st.lists(st.binary(), max_size=4))
def test_no_two_ways_to_split_the_same_bytes_have_one_digest(one: list[bytes], other: list[bytes]) -> None:
    assert (digest(*one) == digest(*other)) == (one == other)


def test_a_digest_takes_text_as_its_utf_8_and_never_changes() -> None:
    assert digest("é") == digest("é".encode())
    assert digest() == "0e5751c026e543b2e8ab2eb06099daa1d1e5df47778f7787faab45cdf12fe3a8"
    assert len(digest("x")) == 64
