"""What the join keeps and gives back: vectors, shadows, units, conflicts, and each change of a label."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.core.calendar import Calendar
from lossloop.core.clock import DAY, HOUR
from lossloop.ledger.facts import outcomes
from lossloop.ledger.joined.join import Join, Taken
from lossloop.ledger.joined.keys import Keys
from lossloop.ledger.joined.table import Rows
from lossloop.ledger.sqlite.state import State
from tests.ledger.samples import outcome_frame, prediction_frame

CALENDAR = Calendar(span=DAY, zone="America/New_York")
KEYS = Keys(b"secret")
AGE = 20
nan = math.nan


def new() -> Join:
    return Join(State(Path(":memory:")), "m", KEYS)


@pytest.fixture
def join() -> Join:
    return new()


def predict(
    join: Join,
    ids: list[str],
    y_pred: list[Any] | pa.Array | None = None,
    *,
    at: int | list[int] = 0,
    **more: Any,
) -> Taken:
    batch = prediction_frame(ids, y_pred, **more).batch
    moments = np.full(len(ids), at, dtype=np.int64) if isinstance(at, int) else np.array(at)
    return join.take_predictions(batch, at=moments, calendar=CALENDAR)


def happen(join: Join, labels: Mapping[str, float | None], *, at: int = 0) -> Taken:
    return join.take_outcomes(
        outcome_frame(labels).batch, at=np.full(len(labels), at, dtype=np.int64), age=AGE
    )


def happened_as_lists(join: Join, labels: Mapping[str, list[float] | None], *, at: int = 0) -> Taken:
    array = pa.array(list(labels.values()), pa.list_(pa.float64()))
    batch = outcomes(list(labels), array, [0] * len(labels), model="m")
    return join.take_outcomes(batch, at=np.full(len(labels), at, dtype=np.int64), age=AGE)


def rows(join: Join) -> Rows:
    return join.table.matured(after=0, until=1 << 62, most=1 << 30)


def same(one: Any, other: Any) -> bool:
    return np.array_equal(
        np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64), equal_nan=True
    )


def test_every_column_comes_back(join: Join) -> None:
    predict(
        join, ["a", "b", "c"], [0.25, 0.75, 0.5], at=5, version=[1, 2, 1], propensity=[0.9, 0.1, 1.0],
        role=["champion", "challenger", "champion"], unit=["ann", None, "ann"],
        shadow_version=[None, 3, None], shadow_y_pred=[None, 0.5, None],
    )  # fmt: skip
    happen(join, {"b": 1.0}, at=9)
    found = rows(join)
    assert len(found) == 3
    assert found.seq.tolist() == [1, 2, 3]
    assert found.version.tolist() == [1, 2, 1]
    assert found.role.tolist() == [0, 1, 0], "places in ROLES"
    assert found.propensity.tolist() == [0.9, 0.1, 1.0]
    assert found.at.tolist() == [5, 5, 5]
    assert found.unit.tolist() == [KEYS.unit("ann"), 0, KEYS.unit("ann")]
    assert found.y_pred.tolist() == [0.25, 0.75, 0.5]
    assert found.shadow_version.tolist() == [0, 3, 0]
    assert same(found.shadow_y_pred, [nan, 0.5, nan])
    assert same(found.y_true, [nan, 1.0, nan])
    assert same(found.judged, found.y_true)
    assert found.labelled_at[1] == 9


def test_what_another_system_does_not_say_has_its_default(join: Join) -> None:
    batch = prediction_frame(["a"]).batch.select(["id", "version", "time", "y_pred"])
    join.take_predictions(batch, at=np.array([5]), calendar=CALENDAR)
    found = rows(join)
    assert (found.role.tolist(), found.propensity.tolist(), found.unit.tolist()) == ([0], [1.0], [0])
    assert (found.shadow_version.tolist(), np.isnan(found.shadow_y_pred).tolist()) == ([0], [True])


def test_no_rows_are_columns_of_none(join: Join) -> None:
    empty = rows(join)
    assert len(empty) == 0
    assert {array.shape for array in (empty.seq, empty.y_pred, empty.labels_by(1))} == {(0,)}
    assert len(join.table.block(0)) == 0


def test_the_block_is_that_of_the_local_day(join: Join) -> None:
    predict(join, ["late evening"], at=3 * HOUR)
    predict(join, ["morning"], at=12 * HOUR)
    assert rows(join).block.tolist() == [-DAY, 0], "three o'clock in UTC is the day before in New York"
    assert join.table.block(-DAY).at.tolist() == [3 * HOUR]


def test_the_clock_and_the_block_never_go_back(join: Join) -> None:
    predict(join, ["a", "b", "c"], at=[3 * DAY, DAY, 4 * DAY])
    predict(join, ["d"], at=DAY)
    assert rows(join).at.tolist() == [3 * DAY, 3 * DAY, 4 * DAY, 4 * DAY]
    assert np.diff(rows(join).block).min() >= 0
    every_hour = Calendar(span=HOUR)
    join.take_predictions(prediction_frame(["e"]).batch, at=np.array([0]), calendar=every_hour)
    assert np.diff(rows(join).block).min() >= 0, "also where the policy's blocks became shorter"


def test_what_was_sent_again_does_not_move_the_clock(join: Join) -> None:
    predict(join, ["a"], at=10)
    taken = predict(join, ["a", "b"], at=[99, 20])
    assert (taken.predictions, taken.repeats) == (1, 1)
    assert rows(join).at.tolist() == [10, 20]


@given(st.lists(st.lists(st.floats(0, 1), min_size=2, max_size=12), min_size=1, max_size=4))
def test_vectors_come_back_the_short_ones_filled_up(vectors: list[list[float]]) -> None:
    join = new()
    predict(join, [str(i) for i in range(len(vectors))], vectors)
    found = rows(join).y_pred
    assert found.shape == (len(vectors), max(map(len, vectors)))
    for row, vector in zip(found.tolist(), vectors, strict=True):
        assert row[: len(vector)] == vector
        assert all(map(math.isnan, row[len(vector) :]))
    assert np.isnan(rows(join).shadow_y_pred).all()


@given(st.lists(st.lists(st.floats(-1, 1), min_size=1, max_size=20), min_size=1, max_size=4))
def test_a_vector_is_a_repeat_whatever_it_is_sent_beside(vectors: list[list[float]]) -> None:
    join, ids = new(), [str(i) for i in range(len(vectors))]
    for id, vector in zip(ids, vectors, strict=True):
        predict(join, [id], [vector], content=None)
    again = predict(join, ids, vectors, content=None)
    assert (again.repeats, again.conflicts) == (len(ids), 0)
    other = predict(join, ids, [[*vector[:-1], vector[-1] + 1] for vector in vectors], content=None)
    assert (other.repeats, other.conflicts) == (0, len(ids))


def test_a_vector_in_another_order_is_another_one(join: Join) -> None:
    predict(join, ["a"], [[0.25, 0.75]], content=None)
    assert predict(join, ["a"], [[0.75, 0.25]], content=None).conflicts == 1


def test_vectors_with_a_shadow(join: Join) -> None:
    predict(
        join, ["a", "b"], [[0.2, 0.8], [0.5, 0.5]], shadow_version=[2, None],
        shadow_y_pred=[[0.9, 0.1], None],
    )  # fmt: skip
    assert same(rows(join).shadow_y_pred, [[0.9, 0.1], [nan, nan]])


def test_vectors_of_a_fixed_length_with_a_shadow(join: Join) -> None:
    pairs = pa.list_(pa.float64(), 2)
    predicted, shadow = (pa.array(values, pairs) for values in ([[0.2, 0.8]] * 3, [None, [0.9, 0.1], None]))
    predict(join, ["a", "b", "c"], predicted, shadow_version=[None, 2, None], shadow_y_pred=shadow)
    assert rows(join).y_pred.tolist() == [[0.2, 0.8]] * 3
    assert same(rows(join).shadow_y_pred, [[nan, nan], [0.9, 0.1], [nan, nan]])


def test_the_first_prediction_with_an_id_stands(join: Join) -> None:
    first = predict(join, ["a"], [0.25])
    again = predict(join, ["a"], [0.25])
    other = predict(join, ["a"], [0.75], content=b"other")
    assert (first.predictions, again.repeats, other.conflicts) == (1, 1, 1)
    assert rows(join).y_pred.tolist() == [0.25]


@pytest.mark.parametrize(
    "changes",
    [{"y_pred": [0.75]}, {"version": [2]}, {"unit": ["bob"]}],
    ids=lambda changes: next(iter(changes)),
)
def test_without_a_digest_what_a_row_says_tells_a_repeat_from_a_conflict(
    join: Join, changes: dict[str, Any]
) -> None:
    said: dict[str, Any] = {"y_pred": [0.25], "unit": ["ann"], "content": None}
    predict(join, ["a"], **said)
    assert predict(join, ["a"], **said).repeats == 1
    assert predict(join, ["a"], **{**said, **changes}).conflicts == 1


def test_the_same_id_twice_in_one_batch_counts_once(join: Join) -> None:
    taken = predict(join, ["a", "a", "b", "a"], [0.1, 0.2, 0.3, 0.4])
    assert (taken.predictions, taken.repeats) == (2, 2)
    assert rows(join).y_pred.tolist() == [0.1, 0.3]
    (new,) = taken.arrived
    assert (new.version.tolist(), new.role.tolist(), len(set(new.block.tolist()))) == ([1, 1], [0, 0], 1)
    assert new.y_pred.tolist() == [0.1, 0.3]


def test_models_do_not_share_ids(join: Join) -> None:
    other = Join(State(Path(":memory:")), "other", KEYS)
    predict(join, ["a"])
    assert happen(other, {"a": 1.0}).waiting == 1
    assert np.isnan(rows(join).y_true).all()


def changed(taken: Taken) -> list[tuple[float, float]]:
    """Labels before and after, -1 for none."""
    return [
        (before, after)
        for changes in taken.changes
        for before, after in zip(
            np.nan_to_num(changes.before, nan=-1.0).tolist(),
            np.nan_to_num(changes.after, nan=-1.0).tolist(), strict=True,
        )
    ]  # fmt: skip


def test_changes_say_what_was_and_what_is(join: Join) -> None:
    predict(join, ["a"], [0.25], version=[3], role=["challenger"])
    first = happen(join, {"a": 0.0})
    (change,) = first.changes
    assert len(change) == 1
    assert (change.version.tolist(), change.role.tolist(), change.y_pred.tolist()) == ([3], [1], [0.25])
    assert change.block.tolist() == rows(join).block.tolist()
    assert changed(first) == [(-1, 0)]
    assert changed(happen(join, {"a": 0.0})) == []
    assert changed(happen(join, {"a": 1.0})) == [(0, 1)]
    assert changed(happen(join, {"a": None})) == [(1, -1)]
    assert happen(join, {"a": None}).repeats == 1


def test_a_batch_may_say_several_things_of_one_prediction(join: Join) -> None:
    predict(join, ["a", "b"])
    batch = outcomes(["a", "b", "a", "a"], [0.0, 1.0, 1.0, 1.0], [0] * 4, model="m")
    taken = join.take_outcomes(batch, at=np.arange(4), age=AGE)
    assert (taken.outcomes, taken.corrections, taken.repeats) == (2, 1, 1)
    assert changed(taken) == [(-1, 0), (-1, 1), (0, 1)]
    assert rows(join).y_true.tolist() == [1.0, 1.0]
    assert rows(join).labelled_at.tolist() == [0, 1]


@pytest.mark.parametrize("early", [False, True])
def test_a_batch_may_say_the_same_thing_any_number_of_times(join: Join, early: bool) -> None:
    """One row after the other, and not all that are left for each of them."""
    if not early:
        predict(join, ["a"])
    count = 5000
    batch = outcomes(
        ["a", *["b"] * count, "a"], [0.0, *[0.0, 1.0] * (count // 2), 0.0], [0] * (count + 2), model="m"
    )
    taken = join.take_outcomes(batch, at=np.zeros(count + 2, np.int64), age=AGE)
    assert (taken.corrections, taken.repeats) == (count - 1, 1)
    assert (taken.outcomes, taken.waiting) == ((0, 2) if early else (1, 1))
    predict(join, ["b"])
    assert rows(join).y_true[-1] == 1.0


def test_an_early_outcome_is_a_change_once_its_prediction_comes(join: Join) -> None:
    early = happen(join, {"a": 1.0}, at=3)
    assert (early.waiting, early.outcomes, early.changes) == (1, 0, [])
    taken = predict(join, ["a"], [[0.1, 0.9]], at=7)
    assert (taken.predictions, taken.outcomes, taken.waiting) == (1, 1, -1)
    assert changed(taken) == [(-1, 1)]
    assert taken.changes[0].y_pred.tolist() == [[0.1, 0.9]]


@pytest.mark.parametrize("early", [True, False])
def test_a_correction_counts_from_the_first_outcome_on(join: Join, early: bool) -> None:
    """However predictions and outcomes come about one another, the same facts give the same labels."""
    if not early:
        predict(join, ["a"], at=0)
    happen(join, {"a": 0.0}, at=5)
    happen(join, {"a": 1.0}, at=15)
    happen(join, {"a": 1.0}, at=17)
    if early:
        predict(join, ["a"], at=0)
    found = rows(join)
    assert (found.y_true.tolist(), found.labelled_at.tolist()) == ([1.0], [5])


@pytest.mark.parametrize(
    ("at", "judged"), [(100 + AGE, 1.0), (101 + AGE, 0.0)], ids=["at the age", "behind it"]
)
def test_a_correction_behind_the_judging_age_is_shown_and_not_judged(
    join: Join, at: int, judged: float
) -> None:
    predict(join, ["a"], at=100)
    happen(join, {"a": 0.0}, at=110)
    taken = happen(join, {"a": 1.0}, at=at)
    assert (taken.corrections, changed(taken)) == (1, [(0, 1)])
    assert rows(join).y_true.tolist() == [1.0]
    assert rows(join).labels_by(AGE).tolist() == [judged]
    happen(join, {"a": 0.5}, at=at + 1)
    assert (rows(join).y_true.tolist(), rows(join).labels_by(AGE).tolist()) == ([0.5], [judged])


@pytest.mark.parametrize(("age", "known"), [(9, False), (10, True), (11, True)])
def test_an_outcome_counts_once_it_has_come_by_an_age(join: Join, age: int, known: bool) -> None:
    predict(join, ["a"], at=100)
    happen(join, {"a": 1.0}, at=110)
    assert (rows(join).labels_by(age).tolist() == [1.0]) is known


def test_an_outcome_that_is_known_to_be_missing_is_no_label(join: Join) -> None:
    predict(join, ["a"], at=0)
    taken = happen(join, {"a": None}, at=1)
    assert taken.outcomes == 1
    assert np.isnan(rows(join).labels_by(10)).all()


# Labels that are lists: rankings, vectors.


def test_labels_may_be_lists_of_any_lengths(join: Join) -> None:
    predict(join, ["a", "b", "c"], [[0.1], [0.2, 0.3], [0.4]], at=100)
    happened_as_lists(join, {"a": [1.0, 2.0], "b": None, "c": [3.0]}, at=101)
    assert same(rows(join).y_true, [[1, 2], [nan, nan], [3, nan]])
    assert happened_as_lists(join, {"c": [3.0], "a": [1.0, 2.0]}).repeats == 2
    corrected = happened_as_lists(join, {"a": [1.0, 2.0, 3.0]}, at=101 + AGE)
    assert corrected.corrections == 1
    assert same(rows(join).y_true, [[1, 2, 3], [nan] * 3, [3, nan, nan]])
    assert same(rows(join).labels_by(AGE), [[1, 2, nan], [nan] * 3, [3, nan, nan]]), "corrected too late"


def test_a_list_that_waits_is_a_repeat_whatever_it_is_sent_beside(join: Join) -> None:
    happened_as_lists(join, {"a": [1.0]})
    again = happened_as_lists(join, {"a": [1.0], "b": [1.0, 2.0, 3.0]})
    assert (again.waiting, again.repeats, again.corrections) == (1, 1, 0)
    assert happen(join, {"a": 1.0}).repeats == 1, "a number is a list of one"
    assert happened_as_lists(join, {"a": [1.0, 2.0]}).corrections == 1
    predict(join, ["a", "b"], at=0)
    assert same(rows(join).y_true, [[1, 2, nan], [1, 2, 3]])


# Rows that were brought in later.


def test_history_stands_where_its_times_say_and_is_not_judged(join: Join) -> None:
    predict(join, ["now"], at=50)
    happen(join, {"old": 1.0}, at=60)
    batch = prediction_frame(["older", "old", "now"]).batch
    taken = join.take_predictions(batch, at=np.array([9, 8, 7]), calendar=CALENDAR, history=True)
    assert (taken.predictions, taken.repeats, taken.outcomes, taken.waiting) == (2, 1, 1, -1)
    assert rows(join).at.tolist() == [50]
    assert join.history.slice(0, 2).at.tolist() == [9, 8]
    assert same(join.history.slice(0, 2).y_true, [nan, 1.0])
    assert happen(join, {"older": 0.0, "old": 1.0, "now": 0.0}).outcomes == 2
    assert predict(join, ["old"], at=70).repeats == 1, "an id is known, wherever it stands"


# Erasure.


def erased(join: Join, places: list[int]) -> None:
    join.erase(np.array(places, np.int64))


def test_what_is_erased_is_forgotten_and_counts_on(join: Join) -> None:
    predict(join, ["a", "b"], [0.25, 0.75], at=5, unit=["ann", "bob"])
    happen(join, {"a": 1.0, "b": 0.0}, at=6)
    erased(join, [0])
    found = rows(join)
    assert len(found) == 2
    assert found.unit.tolist() == [0, KEYS.unit("bob")]
    assert same(found.y_pred, [nan, 0.75])
    assert found.y_true.tolist() == [1.0, 0.0]
    high, low = KEYS.of(pa.array(["a", "b"]))
    assert join.table.find(high, low).tolist() == [-1, 1]
    assert happen(join, {"a": 0.0}).waiting == 1, "nobody knows whom it was about"
    assert predict(join, ["b"], [0.75], unit=["bob"]).repeats == 1


def test_nothing_erased_changes_nothing(join: Join) -> None:
    erased(join, [])
    predict(join, ["a"], at=5)
    erased(join, [])
    assert len(rows(join)) == 1


@pytest.mark.parametrize("lists", [False, True])
def test_an_outcome_that_waited_for_what_was_erased_does_not_come_back(join: Join, lists: bool) -> None:
    store = State(Path(":memory:"))
    join = Join(store, "m", KEYS)
    happen(join, {"a": 1.0, "b": 1.0})
    predict(join, ["a"], [[0.5, 0.5]] if lists else [0.5])
    join.flush()
    erased(join, [0])
    join.flush()
    again = Join(store, "m", KEYS)
    assert happen(again, {"a": 1.0}).waiting == 1, "it waits anew, and not since before"
    assert happen(again, {"b": 1.0}).repeats == 1
    store.close()
