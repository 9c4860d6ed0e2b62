"""Outcomes that wait for their prediction, against a dictionary, and over restarts."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossloop.ledger.joined import waiting as ours
from lossloop.ledger.joined.columns import Array, Floats, Int64
from lossloop.ledger.joined.keys import Keys, UInt64
from lossloop.ledger.joined.table import Table, history_of
from lossloop.ledger.joined.waiting import BEGAN, CORRECTED, REPEATED, Waiting
from lossloop.ledger.sqlite.state import State

nan = math.nan
KEYS = Keys(b"secret")
Label = tuple[float, ...]

names = st.lists(st.sampled_from("abcdef"), min_size=1, max_size=4, unique=True)
labels = st.sampled_from([(0.0,), (1.0,), (nan,), (1.0, 2.0), (1.0, 2.0, 3.0)])
steps = st.lists(
    st.tuples(st.just("keep"), names, labels) | st.tuples(st.just("take"), names, labels)
    | st.tuples(st.sampled_from(["flush", "restart"]), names, labels),
    max_size=25,
)  # fmt: skip


def new() -> State:
    return State(Path(":memory:"))


def keys(ids: list[str]) -> tuple[UInt64, UInt64]:
    return KEYS.of(pa.array(ids, pa.string()))


def padded(label: Label, width: int, count: int) -> Floats:
    """The same label in each row, filled up as a batch of longer ones would have it."""
    values = np.full((count, width), nan)
    values[:, : len(label)] = label
    return values[:, 0] if width == 1 else values


def plain(values: Floats) -> list[list[float]]:
    return [[each for each in np.atleast_1d(row).tolist() if not math.isnan(each)] for row in values]


def predicted(store: State, ids: list[str], name: str = "m") -> Table:
    """A table in which these have been predicted."""
    table, (high, low) = Table(store, name), keys(ids)
    rows: dict[str, Array] = {
        name: np.zeros(len(ids), np.int64) for name in ("version", "at", "time", "block", "content")
    }
    table.append({**rows, "key_high": high, "key_low": low, "y_pred": np.zeros(len(ids))})
    with store.transaction():
        table.flush()
    return table


@settings(max_examples=80)
@given(steps=steps, width=st.sampled_from([1, 3, 5]))
def test_it_waits_as_a_dictionary_does(steps: list[tuple[str, list[str], Label]], width: int) -> None:
    """What waits no more is known by its prediction, in the table, once that is written."""
    store = new()
    table = Table(store, "m")
    waiting, known = Waiting(store, "m", (table,)), dict[str, tuple[list[float], int]]()
    for moment, (step, ids, label) in enumerate(steps):
        if step == "keep":
            early = [id for id in ids if (table.find(*keys([id])) < 0).all()]
            y_true = padded(label, max(width, len(label)), len(early))
            became = waiting.keep(*keys(early), y_true, np.full(len(early), moment))
            for id, what in zip(early, became.tolist(), strict=True):
                (wanted,), before = plain(padded(label, width + 3, 1)), known.get(id)
                assert what == (BEGAN if before is None else REPEATED if before[0] == wanted else CORRECTED)
                known[id] = (wanted, moment if before is None else before[1])
        elif step == "take":
            fresh = [id for id in ids if (table.find(*keys([id])) < 0).all()]
            with store.transaction():
                waiting.flush()
            table = predicted(store, fresh)
            places, y_true, moments = waiting.take(*keys(fresh))
            there = [(place, known.pop(id)) for place, id in enumerate(fresh) if id in known]
            assert places.tolist() == [place for place, _ in there]
            assert plain(y_true) == [label for _, (label, _) in there]
            assert moments.tolist() == [since for _, (_, since) in there]
        else:
            with store.transaction():
                waiting.flush()
            if step == "restart":
                waiting = Waiting(store, "m", (table,))
        assert len(waiting) == len(known)


def test_the_first_outcome_says_since_when() -> None:
    store = new()
    waiting = Waiting(store, "m", ())
    for moment, label in ((5, 0.0), (9, 1.0), (12, 1.0)):
        waiting.keep(*keys(["a"]), np.array([label]), np.array([moment]))
    with store.transaction():
        waiting.flush()
    for each in (Waiting(store, "m", ()), waiting):
        places, y_true, moments = each.take(*keys(["x", "a"]))
        assert (places.tolist(), y_true.tolist(), moments.tolist()) == ([1], [1.0], [5])
        assert len(each) == 0
        assert all(len(found) == 0 for found in each.take(*keys(["a"])))


def test_the_times_that_were_given_are_left_as_they_are() -> None:
    waiting, at = Waiting(new(), "m", ()), np.array([5, 5])
    waiting.keep(*keys(["a", "b"]), np.array([0.0, 0.0]), at)
    at[:] = 9
    waiting.keep(*keys(["a", "b"]), np.array([1.0, 1.0]), at)
    assert at.tolist() == [9, 9]


def test_labels_of_different_lengths_come_back_side_by_side() -> None:
    waiting = Waiting(new(), "m", ())
    waiting.keep(*keys(["a", "b"]), np.array([[1.0, nan], [2.0, 3.0]]), np.array([1, 2]))
    waiting.keep(*keys(["c"]), np.array([nan]), np.array([3]))
    _, y_true, _ = waiting.take(*keys(["c", "a", "b"]))
    assert np.array_equal(y_true, np.array([[nan, nan], [1, nan], [2, 3]]), equal_nan=True)


@pytest.mark.parametrize("name", ["m", history_of("m")])
def test_after_a_restart_nothing_waits_for_what_came_in_either_table(name: str) -> None:
    store = new()
    waiting = Waiting(store, "m", ())
    waiting.keep(*keys(["a", "b"]), np.zeros(2), np.zeros(2, np.int64))
    with store.transaction():
        waiting.flush()
    predicted(store, ["a"], name)
    again = Waiting(store, "m", (Table(store, "m"), Table(store, history_of("m"))))
    assert len(again) == 1
    assert again.take(*keys(["a", "b"]))[0].tolist() == [1]


def stored(store: State) -> int:
    return sum(chunk.batch.num_rows for chunk in store.chunks("waiting/m"))


def test_what_waits_no_more_does_not_gather(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ours, "_DEAD", 10)
    store = new()
    waiting = Waiting(store, "m", ())
    for number in range(20):
        ids = [f"{number} {place}" for place in range(5)]
        waiting.keep(*keys([*ids, f"stays {number}"]), np.zeros(6), np.zeros(6, np.int64))
        waiting.take(*keys(ids))
        with store.transaction():
            waiting.flush()
        assert stored(store) <= 2 * len(waiting) + 10
    assert len(Waiting(store, "m", ())) <= stored(store)
    again = Waiting(store, "m", ())
    assert again.take(*keys([f"stays {number}" for number in range(20)]))[0].tolist() == list(range(20))


def test_it_can_be_written_anew_with_only_what_waits() -> None:
    store = new()
    waiting = Waiting(store, "m", ())
    waiting.keep(*keys(["a", "b"]), np.array([1.0, 2.0]), np.array([3, 4]))
    with store.transaction():
        waiting.flush()
    waiting.take(*keys(["a"]))
    waiting.keep(*keys(["c"]), np.array([5.0]), np.array([6]))
    with store.transaction():
        waiting.rewrite()
        waiting.flush()
    assert stored(store) == 2
    places, y_true, moments = Waiting(store, "m", ()).take(*keys(["a", "b", "c"]))
    assert (places.tolist(), y_true.tolist(), moments.tolist()) == ([1, 2], [2.0, 5.0], [4, 6])


def moments_of(found: tuple[Int64, Floats, Int64]) -> list[int]:
    return [int(moment) for moment in found[2]]


def test_models_do_not_share_what_waits() -> None:
    store = new()
    for moment, model in enumerate(("m", "m2")):
        waiting = Waiting(store, model, ())
        waiting.keep(*keys(["a"]), np.zeros(1), np.array([moment]))
        with store.transaction():
            waiting.flush()
    assert moments_of(Waiting(store, "m", ()).take(*keys(["a"]))) == [0]
    assert moments_of(Waiting(store, "m2", ()).take(*keys(["a"]))) == [1]
