"""Units that a rollout has judged count once, also after a restart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lossloop.ledger.joined.units import Units
from lossloop.ledger.sqlite.state import State

batches = st.lists(
    st.tuples(st.lists(st.integers(-3, 3), max_size=8), st.sampled_from(["", "flush", "again"])), max_size=10
)


def new() -> State:
    return State(Path(":memory:"))


def first(units: Units, *numbers: int) -> list[bool]:
    return [bool(each) for each in units.first(np.array(numbers, np.int64))]


@given(batches)
def test_the_first_row_of_a_unit_counts_and_rows_without_one_all_do(
    batches: list[tuple[list[int], str]],
) -> None:
    store, seen = new(), set[int]()
    units = Units(store, "m/1")
    for numbers, then in batches:
        wanted = []
        for number in numbers:
            wanted.append(number == 0 or number not in seen)
            seen.add(number)
        assert first(units, *numbers) == wanted
        if then:
            with store.transaction():
                units.flush()
        if then == "again":
            units = Units(store, "m/1")


def test_what_was_not_committed_was_not_judged() -> None:
    store = new()
    units = Units(store, "m/1")
    assert first(units, 5) == [True]
    with store.transaction():
        units.flush()
    assert first(units, 6) == [True]
    assert first(Units(store, "m/1"), 5, 6) == [False, True]


def test_rollouts_do_not_share_their_units() -> None:
    store = new()
    for name in ("m/1", "m/11"):
        units = Units(store, name)
        assert first(units, 5) == [True]
        with store.transaction():
            units.flush()


def test_nothing_new_is_not_written() -> None:
    store = new()
    units = Units(store, "m/1")
    with store.transaction():
        first(units, 0, 0)
        units.flush()
        first(units)
        units.flush()
    assert store.streams("") == []
