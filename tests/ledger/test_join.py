"""What the join stores and gives back: vectors, shadows, units, conflicts, and each change of a label."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.core.calendar import Calendar
from lossloop.core.clock import DAY, HOUR
from lossloop.ledger.join import (
    Change,
    Rows,
    Taken,
    block_rows,
    columns,
    matured,
    take_outcomes,
    take_predictions,
)
from lossloop.ledger.state import State
from tests.ledger.samples import outcome_frame, prediction_frame

CALENDAR = Calendar(span=DAY, zone="America/New_York")


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    made = State(tmp_path / "state.db")
    yield made
    made.close()


def predict(
    state: State, ids: list[str], y_pred: list[Any] | None = None, *, at: int = 0, **more: Any
) -> Taken:
    batch = prediction_frame(ids, y_pred, **more).batch
    moments = np.full(len(ids), at, dtype=np.int64)
    return take_predictions(state, batch, model="m", at=moments, calendar=CALENDAR)


def happen(state: State, labels: dict[str, float | None], *, at: int = 0) -> Taken:
    return take_outcomes(
        state, outcome_frame(labels).batch, model="m", at=np.full(len(labels), at, dtype=np.int64)
    )


def rows(state: State) -> Rows:
    return matured(state, model="m", after=0, since=-(1 << 62), until=1 << 62)


def test_every_column_comes_back(state: State) -> None:
    predict(
        state, ["a", "b"], [0.25, 0.75], at=5, version=[1, 2], role=["champion", "challenger"],
        propensity=[0.9, 0.1], unit=["ann", None], shadow_version=[None, 3], shadow_y_pred=[None, 0.5],
    )  # fmt: skip
    happen(state, {"b": 1.0}, at=9)
    found = rows(state)
    assert len(found) == 2
    assert found.seq.tolist() == [1, 2]
    assert found.version.tolist() == [1, 2]
    assert list(found.role) == ["champion", "challenger"]
    assert found.propensity.tolist() == [0.9, 0.1]
    assert found.at.tolist() == [5, 5]
    assert list(found.unit) == ["ann", None]
    assert found.y_pred.tolist() == [0.25, 0.75]
    assert found.shadow_version.tolist() == [0, 3]
    assert np.array_equal(found.shadow_y_pred, [math.nan, 0.5], equal_nan=True)
    assert np.array_equal(found.y_true, [math.nan, 1.0], equal_nan=True)
    assert found.labelled_at[1] == 9


def test_no_rows_are_columns_of_none() -> None:
    empty = columns([])
    assert len(empty) == 0
    assert {array.shape for array in (empty.seq, empty.y_pred, empty.labels_by(1))} == {(0,)}


def test_the_block_is_that_of_the_local_day(state: State) -> None:
    predict(state, ["late evening"], at=3 * HOUR)
    predict(state, ["morning"], at=12 * HOUR)
    assert rows(state).block.tolist() == [-DAY, 0], "three o'clock in UTC is the day before in New York"
    assert block_rows(state, model="m", block=-DAY).at.tolist() == [3 * HOUR]
    assert len(block_rows(state, model="other", block=0)) == 0


@given(st.lists(st.lists(st.floats(0, 1), min_size=2, max_size=4), min_size=1, max_size=4))
def test_vectors_come_back_the_short_ones_filled_up(vectors: list[list[float]]) -> None:
    state = State(Path(":memory:"))
    predict(state, [str(i) for i in range(len(vectors))], vectors)
    found = rows(state).y_pred
    assert found.shape == (len(vectors), max(map(len, vectors)))
    for row, vector in zip(found.tolist(), vectors, strict=True):
        assert row[: len(vector)] == vector
        assert all(map(math.isnan, row[len(vector) :]))
    assert np.isnan(rows(state).shadow_y_pred).all()
    state.close()


def test_vectors_with_a_shadow(state: State) -> None:
    predict(
        state,
        ["a", "b"],
        [[0.2, 0.8], [0.5, 0.5]],
        shadow_version=[2, None],
        shadow_y_pred=[[0.9, 0.1], None],
    )
    found = rows(state).shadow_y_pred
    assert np.array_equal(found, [[0.9, 0.1], [math.nan, math.nan]], equal_nan=True)


def test_the_first_prediction_with_an_id_stands(state: State) -> None:
    first = predict(state, ["a"], [0.25])
    again = predict(state, ["a"], [0.25])
    other = predict(state, ["a"], [0.75], content=b"other")
    assert (first.predictions, again.repeats, other.conflicts) == (1, 1, ["a"])
    assert rows(state).y_pred.tolist() == [0.25]


def test_the_same_id_twice_in_one_batch_counts_once(state: State) -> None:
    taken = predict(state, ["a", "a"])
    assert (taken.predictions, taken.repeats) == (1, 1)
    assert len(taken.arrived) == 1


def test_models_do_not_share_ids(state: State) -> None:
    predict(state, ["a"])
    take_outcomes(state, outcome_frame({"a": 1.0}).batch, model="other", at=np.array([0]))
    assert np.isnan(rows(state).y_true).all()


def test_changes_say_what_was_and_what_is(state: State) -> None:
    predict(state, ["a"], [0.25], version=[3], role=["challenger"])

    def change(before: float | None, after: float | None) -> list[Change]:
        block = int(rows(state).block[0])
        return [Change(version=3, role="challenger", block=block, y_pred=0.25, before=before, after=after)]

    assert happen(state, {"a": 0.0}).changes == change(None, 0.0)
    assert happen(state, {"a": 0.0}).changes == []
    assert happen(state, {"a": 1.0}).changes == change(0.0, 1.0)
    assert happen(state, {"a": None}).changes == change(1.0, None)
    assert happen(state, {"a": None}).repeats == 1


def test_an_early_outcome_is_a_change_once_its_prediction_comes(state: State) -> None:
    early = happen(state, {"a": 1.0}, at=3)
    assert (early.waiting, early.outcomes, early.changes) == (1, 0, [])
    taken = predict(state, ["a"], [[0.1, 0.9]], at=7)
    assert (taken.predictions, taken.outcomes) == (1, 1)
    assert [(each.before, each.after, each.y_pred) for each in taken.changes] == [(None, 1.0, [0.1, 0.9])]
    assert state.row("count_waiting", "m") == (0,)


@pytest.mark.parametrize("early", [True, False])
def test_a_correction_counts_from_the_first_outcome_on(state: State, early: bool) -> None:
    """However predictions and outcomes come about one another, the same facts give the same labels."""
    if not early:
        predict(state, ["a"], at=0)
    happen(state, {"a": 0.0}, at=5)
    happen(state, {"a": 1.0}, at=50)
    happen(state, {"a": 1.0}, at=70)
    if early:
        predict(state, ["a"], at=0)
    found = rows(state)
    assert (found.y_true.tolist(), found.labelled_at.tolist()) == ([1.0], [5])


@pytest.mark.parametrize(("age", "known"), [(9, False), (10, True), (11, True)])
def test_an_outcome_counts_once_it_has_come_by_an_age(state: State, age: int, known: bool) -> None:
    predict(state, ["a"], at=100)
    happen(state, {"a": 1.0}, at=110)
    assert (rows(state).labels_by(age).tolist() == [1.0]) is known


def test_an_outcome_that_is_known_to_be_missing_is_no_label(state: State) -> None:
    predict(state, ["a"], at=0)
    taken = happen(state, {"a": None}, at=1)
    assert taken.outcomes == 1
    assert np.isnan(rows(state).labels_by(10)).all()
