"""A batch read by column says and keeps just what it would, read row by row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lossloop.core.tasks import Task
from lossloop.ledger.facts import outcomes, predictions
from lossloop.serve import recording
from lossloop.serve.arrow import of_arrow
from lossloop.serve.batch import Rows, of_columns, of_rows
from lossloop.serve.recording import Taken, take_outcomes, take_predictions
from lossloop.serve.rowwise import OUTCOME_KEYS, OUTCOME_NEEDS, PREDICTION_KEYS, PREDICTION_NEEDS, Terms
from tests.serve.sending import HUGE, NOW, outcome_rows, prediction_rows, terms

Take = Callable[[Any, Terms], Taken]
tasks, truths = st.sampled_from(Task), st.booleans()


def as_predictions(rows: list[Any]) -> Rows:
    return of_rows(rows, PREDICTION_KEYS, PREDICTION_NEEDS)


def as_outcomes(rows: list[Any]) -> Rows:
    return of_rows(rows, OUTCOME_KEYS, OUTCOME_NEEDS)


def both_ways(take: Take, batch: Rows, held: Terms) -> tuple[Taken, Taken]:
    """The same rows, read by row and by column."""
    few, recording.FEW = recording.FEW, len(batch.rows)
    try:
        return take(batch, held), take(batch.by_column(), held)
    finally:
        recording.FEW = few


def said(taken: Taken) -> list[tuple[Any, ...]]:
    return [(type(each), str(each), each.field, each.row) for each in taken.problems]


def stored(facts: pa.RecordBatch, made: set[str]) -> list[dict[str, Any]]:
    """What is logged, without the ids that were made."""
    rows = facts.to_pylist()
    return [{**row, "id": None if row["id"] in made else row["id"]} for row in rows]


def made_ids(taken: Taken, rows: list[Any]) -> set[str]:
    return {
        id
        for id, row in zip(taken.ids or [None] * len(rows), rows, strict=True)
        if id is not None and (not isinstance(row, dict) or row.get("id") is None)
    }


@given(tasks, prediction_rows, truths)
@example(Task.REGRESSION, [{"version": 1, "y_pred": 2**60 + 1}, {"version": 1, "y_pred": HUGE}], False)
@example(
    Task.MULTICLASS, [{"version": 1, "y_pred": y} for y in ([0.5, 0.5], [True, False], [0.5, None])], False
)
def test_predictions_by_column_are_those_by_row(task: Task, rows: list[Any], replays: bool) -> None:
    by_row, by_column = both_ways(take_predictions, as_predictions(rows), terms(task, replays=replays))
    assert said(by_column) == said(by_row)
    assert by_column.count == by_row.count == len(rows) - len(by_row.problems)
    if by_row.count:
        one, other = (
            stored(predictions(taken.facts, model="m"), made_ids(taken, rows))
            for taken in (by_row, by_column)
        )
        assert other == one
        assert [id is None for id in by_row.ids or []] == [
            place in {each.row for each in by_row.problems} for place in range(len(rows) if by_row.ids else 0)
        ]


@given(tasks, outcome_rows, truths)
@example(Task.REGRESSION, [{"id": "a", "y_true": True}, {"id": "b", "y_true": 1}], False)
def test_outcomes_by_column_are_those_by_row(task: Task, rows: list[Any], replays: bool) -> None:
    by_row, by_column = both_ways(take_outcomes, as_outcomes(rows), terms(task, replays=replays))
    assert said(by_column) == said(by_row)
    assert by_column.count == by_row.count
    if by_row.count:
        one, other = (
            outcomes(facts["id"], facts["y_true"], facts["time"], facts.get("reason"), model="m").to_pylist()
            for facts in (by_row.facts, by_column.facts)
        )
        assert other == one


def test_few_rows_are_lists_and_many_are_arrays() -> None:
    rows = [{"id": str(place), "y_true": 1} for place in range(recording.FEW + 1)]
    few, many = take_outcomes(as_outcomes(rows[:-1]), terms()), take_outcomes(as_outcomes(rows), terms())
    assert isinstance(few.facts["id"], list)
    assert isinstance(many.facts["id"], pa.Array)
    assert many.facts["id"].to_pylist()[:-1] == few.facts["id"]


def test_ids_are_made_where_there_is_none() -> None:
    ids = [f"a{place}" if place % 2 == 0 else None for place in range(20)]
    rows: list[Any] = [{"version": 1, "y_pred": 0.5, "id": id} for id in ids]
    taken = take_predictions(as_predictions([*rows, {"version": 9, "y_pred": 0.5}]), terms())
    assert taken.ids is not None
    assert taken.ids[::2][:2] == ["a0", "a2"]
    assert taken.ids[-1] is None
    assert len(set(taken.ids)) == 21
    assert all(len(id or "") == 36 for id in taken.ids[1:20:2])
    sent = take_predictions(as_predictions([{**row, "id": str(i)} for i, row in enumerate(rows)]), terms())
    assert sent.ids is None, "who sent the ids knows them"


def test_an_id_of_a_row_that_is_refused_still_stands_for_the_first() -> None:
    rows: list[Any] = [{"id": "a", "y_true": 7}, {"id": "a", "y_true": 1}, {"id": "b", "y_true": 1}]
    for taken in both_ways(take_outcomes, as_outcomes(rows), terms()):
        assert [(each.row, each.field) for each in taken.problems] == [(0, "y_true"), (1, "id")]
        assert "stands twice in this batch" in str(taken.problems[1])


# The other shapes.

FULL: dict[str, list[Any]] = {
    "id": ["a", "b", None], "version": [1, 2, 1], "y_pred": [0.5, 1, 0], "unit": ["ann", None, "ann"],
    "time": ["2024-01-01T00:00:00Z", None, "2023-12-31T19:00:00.5-05:00"], "role": ["challenger", None, None],
    "propensity": [0.25, None, 1],
}  # fmt: skip


def test_columns_and_rows_and_arrow_are_taken_alike() -> None:
    rows = [dict(zip(FULL, row, strict=True)) for row in zip(*FULL.values(), strict=True)]
    table = {**FULL, "y_pred": [0.5, 1.0, 0.0], "propensity": [0.25, None, 1.0]}
    found = [
        take_predictions(as_predictions(rows), terms()),
        take_predictions(as_predictions(rows).by_column(), terms()),
        take_predictions(of_columns(FULL, PREDICTION_KEYS, PREDICTION_NEEDS), terms()),
        take_predictions(
            of_arrow(pa.RecordBatch.from_pydict(table), PREDICTION_KEYS, PREDICTION_NEEDS), terms()
        ),
    ]
    logged = [stored(predictions(taken.facts, model="m"), {(taken.ids or [""])[-1] or ""}) for taken in found]
    assert logged[0][2]["propensity"] == 1.0
    assert all(each == logged[0] for each in logged[1:])


FAILING: dict[str, list[Any]] = {
    "id": ["a", "b", "c", "d", "e"], "version": [1] * 5, "y_pred": [0.5, None, 0.5, None, 0.25],
    "error": [None, "TimeoutError", "both", None, None], "latency_ms": [12.5, 250.0, None, None, -1.0],
}  # fmt: skip


def test_failures_are_taken_alike_in_every_shape() -> None:
    """An answer or an error, and not both; what is refused is worded alike."""
    rows = [dict(zip(FAILING, row, strict=True)) for row in zip(*FAILING.values(), strict=True)]
    shapes: list[Any] = [
        as_predictions(rows),
        as_predictions(rows).by_column(),
        of_columns(FAILING, PREDICTION_KEYS, PREDICTION_NEEDS),
        of_arrow(pa.RecordBatch.from_pydict(FAILING), PREDICTION_KEYS, PREDICTION_NEEDS),
    ]
    found = [take_predictions(shape, terms()) for shape in shapes]
    assert [(each.row, each.field) for each in found[0].problems] == [
        (2, "error"), (3, "y_pred"), (4, "latency_ms")
    ]  # fmt: skip
    assert all(said(each) == said(found[0]) for each in found)
    for taken in found:
        batch = predictions(taken.facts, model="m")
        assert batch.column("y_pred").to_pylist() == [0.5, None]
        assert batch.column("error").to_pylist() == [None, "TimeoutError"]
        assert batch.column("latency_ms").to_pylist() == [12.5, 250.0]


@pytest.mark.parametrize("kind", [pa.null(), pa.float64(), pa.list_(pa.float64())])
@pytest.mark.parametrize("task", [Task.BINARY, Task.MULTICLASS])
def test_a_batch_of_nothing_but_failures_may_have_answers_of_any_type(task: Task, kind: pa.DataType) -> None:
    columns = {"version": pa.array([1, 1]), "y_pred": pa.nulls(2, kind), "error": pa.array(["e", "f"])}
    batch = of_arrow(pa.RecordBatch.from_pydict(columns), PREDICTION_KEYS, PREDICTION_NEEDS)
    taken = take_predictions(batch, terms(task))
    assert (taken.count, taken.problems) == (2, [])
    assert predictions(taken.facts, model="m").column("y_pred").null_count == 2


def test_features_are_objects_or_columns() -> None:
    rows = [{"version": 1, "y_pred": 0.5, "features": {"x": place}} for place in range(20)]
    by_row = predictions(take_predictions(as_predictions(rows), terms()).facts, model="m")
    assert by_row.column("features").to_pylist()[:2] == ['{"x":0}', '{"x":1}']
    columns = {"version": [1, 1], "y_pred": [0.5, 0.5], "features": {"x": [1, None], "plan": ["pro", None]}}
    batch = of_columns(columns, PREDICTION_KEYS, PREDICTION_NEEDS)
    by_column = predictions(take_predictions(batch, terms()).facts, model="m")
    assert by_column.column("features").to_pylist() == [{"x": 1.0, "plan": "pro"}, {"x": None, "plan": None}]
    assert str(by_column.schema.field("features").type) == "struct<x: double, plan: string>"


def test_features_as_text_are_json_objects() -> None:
    texts = ['{"x":1}', "[1]", None, "{", '{"x":' + "[" * 100_000]
    table = {"version": [1] * 5, "y_pred": [0.5] * 5, "features": texts}
    batch = of_arrow(pa.RecordBatch.from_pydict(table), PREDICTION_KEYS, PREDICTION_NEEDS)
    taken = take_predictions(batch, terms())
    assert [(each.row, each.field) for each in taken.problems] == [
        (1, "features"),
        (3, "features"),
        (4, "features"),
    ]
    assert taken.facts["features"].to_pylist() == ['{"x":1}', None]  # type: ignore[union-attr]


@pytest.mark.parametrize("task", [Task.BINARY, Task.REGRESSION, Task.MULTICLASS])
def test_bad_rows_of_an_arrow_batch_are_worded_like_others(task: Task) -> None:
    table = {"id": ["a", "", None, "d", "a"], "y_true": [1.0, 1.0, 1.0, float("nan"), 0.0],
             "time": pa.array([NOW] * 5, pa.timestamp("us", tz="UTC"))}  # fmt: skip
    batch = of_arrow(pa.RecordBatch.from_pydict(table), OUTCOME_KEYS, OUTCOME_NEEDS)
    taken = take_outcomes(batch, terms(task))
    assert [each.row for each in taken.problems] == [1, 2, 3, 4]
    assert [str(each) for each in taken.problems[:2]] == [
        "id must be text, not ''", "an outcome needs the id of its prediction"
    ]  # fmt: skip
    assert taken.facts["id"].to_pylist() == ["a"]  # type: ignore[union-attr]


def test_times_of_an_arrow_batch_beyond_the_calendar_are_refused() -> None:
    moments = [-(1 << 62), 1 << 62, NOW + 400_000_000, NOW]
    table = {"id": list("abcd"), "y_true": [1.0] * 4, "time": pa.array(moments, pa.timestamp("us", tz="UTC"))}
    batch = of_arrow(pa.RecordBatch.from_pydict(table), OUTCOME_KEYS, OUTCOME_NEEDS)
    taken = take_outcomes(batch, terms())
    assert [(each.row, each.field) for each in taken.problems] == [(0, "time"), (1, "time"), (2, "time")]
    assert "more than 5 minutes ahead" in str(taken.problems[2])
    assert "cannot be taken" not in " ".join(map(str, taken.problems))


@pytest.mark.parametrize(
    "kind", [pa.list_(pa.float64()), pa.list_(pa.int8(), 1), pa.large_list(pa.float32())]
)
@pytest.mark.parametrize("task", [Task.BINARY, Task.REGRESSION, Task.MULTICLASS])
def test_lists_where_a_number_is_asked_for_are_bad_rows(task: Task, kind: pa.DataType) -> None:
    """Arrow has no way to cast them, and the server failed at the request."""
    table = {"id": ["a", "b"], "y_true": pa.array([[1], None], kind)}
    taken = take_outcomes(
        of_arrow(pa.RecordBatch.from_pydict(table), OUTCOME_KEYS, OUTCOME_NEEDS), terms(task)
    )
    assert [(each.row, each.field) for each in taken.problems] == [(0, "y_true")]
    if task is not Task.MULTICLASS:
        table = {"version": [1, 1], "y_pred": pa.array([[1], None], kind)}
        batch = of_arrow(pa.RecordBatch.from_pydict(table), PREDICTION_KEYS, PREDICTION_NEEDS)
        assert [each.field for each in take_predictions(batch, terms(task)).problems] == ["y_pred", "y_pred"]
