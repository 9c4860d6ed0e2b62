"""Names that end as somebody's own text does: with any character there is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.ledger.names import behind, read, written

NAMES = st.text(st.sampled_from("am/\x00\x01\x02\ud7ff\ue000\uffff\U0010fffe\U0010ffff"), max_size=6)


@given(names=st.lists(NAMES), prefix=NAMES)
def test_what_is_written_is_read_and_keeps_its_order(names: list[str], prefix: str) -> None:
    assert [read(written(name)) for name in names] == names
    assert sorted(names, key=lambda name: written(name).encode()) == sorted(names, key=str.encode)
    for name in names:
        assert "\x00" not in written(name)
        assert written(name).startswith(written(prefix)) == name.startswith(prefix)


@given(names=st.lists(NAMES), prefix=NAMES.filter(lambda name: name.strip("\U0010ffff")))
def test_what_begins_with_a_prefix_is_what_lies_before_the_name_behind_it(
    names: list[str], prefix: str
) -> None:
    low, high = prefix.encode(), behind(prefix).encode()
    begin = [name for name in names if name.startswith(prefix)]
    assert all(low <= name.encode() < high for name in begin)
    if not prefix.endswith("\U0010ffff"):
        assert [name for name in names if low <= name.encode() < high] == begin


@pytest.mark.parametrize(
    ("prefix", "high"),
    [
        ("m/", "m0"),
        ("", "\U0010ffff"),
        ("a\U0010ffff", "b"),
        ("\ud7ff", "\ue000"),
        ("\U0010ffff", "\U0010ffff"),
    ],
)
def test_behind_a_prefix(prefix: str, high: str) -> None:
    assert behind(prefix) == high


def test_what_another_release_wrote_is_read_as_it_stands() -> None:
    assert read("m/a\x01b\x01") == "m/a\x01b\x01"
    assert read("m/\x01\x01\x01") == "m/\x00\x01"
