"""Where a row lies in the log: the frame that it came in, whatever came between."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossloop.ledger.joined import places as ours
from lossloop.ledger.joined.places import Places, first_places, place_of
from lossloop.ledger.sqlite.state import State

frames = st.lists(st.tuples(st.integers(0, 5), st.sampled_from(["", "flush", "again"])), max_size=60)
"""New rows per frame, none where all were repeats, and what happens behind it."""


def new() -> State:
    return State(Path(":memory:"))


@settings(max_examples=40)
@given(frames)
def test_each_row_is_found_in_its_frame(frames: list[tuple[int, str]]) -> None:
    store, wanted = new(), list[tuple[str, int]]()
    places = Places(store, "m")
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(ours, "_AT_ONCE", 8)
        for number, (count, then) in enumerate(frames):
            where = (f"segment {number % 3}", 1000 * number)
            places.note(len(wanted), *where)
            wanted += [where] * count
            if then:
                with store.transaction():
                    places.flush()
            if then == "again":
                places = Places(store, "m")
            check(places, wanted)
        with store.transaction():
            places.flush()
    assert [place_of(store, "m", row) for row in range(len(wanted))] == wanted


def check(places: Places, wanted: list[tuple[str, int]]) -> None:
    """Which rows came in each segment, also of frames that were not written yet."""
    rows = np.arange(len(wanted))
    for segment in ("segment 0", "segment 1", "none"):
        mine = [place[0] == segment for place in wanted]
        assert places.rows_in(segment, len(wanted)) == sum(mine)
        assert places.are_in(segment, rows, len(wanted)).tolist() == mine
        assert places.are_in(segment, rows[::-1], len(wanted)).tolist() == mine[::-1]


def test_what_was_not_noted_is_nowhere() -> None:
    store = new()
    assert place_of(store, "m", 0) is None
    places = Places(store, "m")
    places.note(3, "s", 0)
    with store.transaction():
        places.flush()
    assert place_of(store, "m", 2) is None, "rows that came before notes were taken"
    assert place_of(store, "m", 3) == ("s", 0)
    assert places.are_in("s", np.arange(6), 5).tolist() == [False] * 3 + [True] * 2 + [False]
    assert places.rows_in("s", 5) == 2
    assert place_of(store, "other", 3) is None


def test_many_small_notes_become_few_chunks() -> None:
    store = new()
    places = Places(store, "m")
    for number in range(500):
        places.note(number, "s", number * 10)
        with store.transaction():
            places.flush()
    assert len(list(store.chunks("frames/m"))) < 32
    assert [place_of(store, "m", row) for row in (0, 250, 499)] == [("s", 0), ("s", 2500), ("s", 4990)]


def test_nothing_noted_is_nothing_written() -> None:
    store = new()
    with store.transaction():
        Places(store, "m").flush()
    assert store.streams("") == []


@settings(max_examples=40)
@given(st.lists(st.integers(0, 3), min_size=1, max_size=30), st.sets(st.integers(1, 30)))
def test_rows_are_counted_by_the_numbers_of_their_frames(counts: list[int], wanted: set[int]) -> None:
    """Where frames are numbered, as in a database: some may be missing in between."""
    store, rows = new(), list[tuple[str, int]]()
    places = Places(store, "m")
    for place, count in enumerate(counts):
        segment, number = f"segment {place % 2}", 2 * place + 1
        places.note(len(rows), segment, number - 1)
        rows += [(segment, number)] * count
    stretches = tuple((number, number) for number in sorted(wanted)) or ((31, 99),)
    mine = [segment == "segment 1" and number in wanted for segment, number in rows]
    assert places.rows_in("segment 1", len(rows), stretches) == sum(mine)
    assert places.are_in("segment 1", np.arange(len(rows)), len(rows), stretches).tolist() == mine
    everything = ((1, 1000),)
    assert places.rows_in("segment 1", len(rows), everything) == places.rows_in("segment 1", len(rows))


@settings(max_examples=30)
@given(frames, st.sets(st.integers(0, 250)))
def test_a_segment_is_read_from_the_first_frame_that_holds_a_wanted_row(
    frames: list[tuple[int, str]], wanted: set[int]
) -> None:
    store, placed = new(), list[tuple[str, int]]()
    places = Places(store, "m")
    for number, (count, _) in enumerate(frames):
        where = (f"segment {number % 3}", 1000 * number)
        places.note(len(placed), *where)
        placed += [where] * count
    with store.transaction():
        places.flush()
    rows = np.array(sorted(row for row in wanted if row < len(placed)), np.int64)
    expected: dict[str, int] = {}
    for row in rows.tolist():
        segment, start = placed[row]
        expected.setdefault(segment, start)
    assert first_places(store, "m", rows) == expected


def test_nothing_wanted_and_nothing_noted_is_read_from_nowhere() -> None:
    store = new()
    assert first_places(store, "m", np.array([0, 5])) == {}
    assert first_places(store, "m", np.empty(0, np.int64)) == {}
