from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lossloop.core.errors import InputError, StorageFull, TooLarge
from lossloop.serve.counters import Counters, Sizes, reason_of


def test_numbers_are_kept_by_name_and_labels() -> None:
    counters = Counters()
    counters.add("rows", 3, kind="outcome")
    counters.add("rows", 2, kind="outcome")
    counters.add("rows", kind="prediction", reason="bad_row")
    counters.add("rows", 0, kind="nothing")
    assert counters.get("rows", kind="outcome") == 5
    assert counters.get("rows", reason="bad_row", kind="prediction") == 1
    assert counters.get("rows", kind="other") == 0
    assert len(counters.values) == 2, "neither nothing nor a question leaves a trace"


def test_a_refusal_is_called_what_its_error_is() -> None:
    assert [reason_of(each("x")) for each in (TooLarge, StorageFull, InputError)] == [
        "too_large", "storage_full", "input_error"
    ]  # fmt: skip


@given(st.lists(st.integers(0, 5000)))
def test_sizes_are_counted_up_to_powers_of_two(sizes: list[int]) -> None:
    found = Sizes()
    for size in sizes:
        found.add(size)
    assert (found.count, found.total) == (len(sizes), sum(sizes))
    assert found.up_to() == {1 << place: sum(size <= 1 << place for size in sizes) for place in range(12)}
