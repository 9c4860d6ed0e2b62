"""Sizes in words and back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.core.errors import InputError
from lossloop.core.sizes import format_size, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0B", 0),
        ("10GB", 10_000_000_000),
        ("1.5 kB", 1500),
        ("512MiB", 512 * 1024 * 1024),
        (" 2 tib ", 2 << 40),
        ("3kb", 3000),
        ("1 GiB", 1 << 30),
    ],
)
def test_a_size_is_read(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "10", "GB", "-1GB", "1e3MB", "10 potatoes", "1GB2"])
def test_anything_else_lists_the_units(text: str) -> None:
    with pytest.raises(InputError, match=r"is not a size; write a number and one of B, kB, .*such as 10GB"):
        parse_size(text)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (1_234_567, "1.23 MB"),
        (10**13, "10 TB"),
        (64 << 20, "67.1 MB"),
    ],
)
def test_a_size_is_told(size: int, text: str) -> None:
    assert format_size(size) == text


@given(st.integers(0, 10**12))
def test_what_is_told_is_about_right(size: int) -> None:
    assert parse_size(format_size(size)) == pytest.approx(size, rel=0.01)
