"""Facts as they stand in the log: anyone with Arrow can read them."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.core.clock import Micros, parse_time
from lossloop.ledger import facts
from lossloop.ledger.frames import Kind
from tests.ledger.samples import features, outcome_frame, prediction_frame

MANDATORY = {
    "id": "string", "version": "int32", "time": "timestamp[us, tz=UTC]", "y_pred": "double"
}  # fmt: skip


def types(batch: pa.RecordBatch) -> dict[str, str]:
    return {field.name: str(field.type) for field in batch.schema}


def test_predictions_say_whose_they_are_and_have_fixed_types() -> None:
    batch = prediction_frame(
        ["a"], model="flight-delay", unit=["ann"], role=["challenger"], propensity=[0.5], shadow_version=[2],
        shadow_y_pred=[0.25], features=features([{"hour": 7.0}]),
    ).batch  # fmt: skip
    assert facts.model_of(batch) == "flight-delay"
    assert types(batch) == {
        **MANDATORY, "unit": "string", "role": "string", "propensity": "double", "shadow_version": "int32",
        "shadow_y_pred": "double", "content": "binary", "features": "struct<hour: double>",
    }  # fmt: skip


def test_what_says_nothing_is_left_out() -> None:
    plain = {"id": ["a", "b"], "version": [1, 2], "time": [5, 6], "y_pred": [0.5, 1.0]}
    assert types(facts.predictions(plain, model="m")) == MANDATORY
    silent = {
        "unit": [None] * 2, "role": ["champion"] * 2, "propensity": [1.0, 1.0], "shadow_version": [None] * 2,
        "shadow_y_pred": [None] * 2, "content": [None] * 2, "features": pa.nulls(2, pa.string()),
        "latency_ms": [None] * 2, "error": [None] * 2, "limited": [None] * 2, "raw_y_pred": [None] * 2,
        "explanation": [None] * 2,
    }  # fmt: skip
    assert types(facts.predictions({**plain, **silent}, model="m")) == MANDATORY
    assert set(silent) == set(facts.OPTIONAL)
    half = facts.predictions({**plain, "unit": [None, "ann"], "role": ["champion", "challenger"]}, model="m")
    assert facts.optional(half, "role").to_pylist() == ["champion", "challenger"]  # type: ignore[union-attr]
    assert facts.optional(half, "content") is None


def test_what_failed_has_no_answer_of_the_type_of_the_others() -> None:
    plain = {"id": ["a", "b"], "version": [1, 2], "time": [5, 6], "error": [None, "TimeoutError"]}
    mixed = facts.predictions({**plain, "y_pred": [[0.5, 0.5], None]}, model="m")
    assert types(mixed) == {**MANDATORY, "y_pred": "list<item: double>", "error": "string"}
    none = facts.predictions({**plain, "y_pred": [None, None], "latency_ms": [3, None]}, model="m")
    assert types(none) == {**MANDATORY, "latency_ms": "double", "error": "string"}


def test_arrays_are_taken_as_they_are() -> None:
    columns = {
        "id": pa.array(["a"]), "version": pa.array([1]), "time": pa.array([5]).cast(facts.TIME),
        "y_pred": pa.array([[0.5, 0.5]]), "propensity": pa.array([0.5]),
    }  # fmt: skip
    batch = facts.predictions(columns, model="m")
    assert types(batch) == {**MANDATORY, "y_pred": "list<item: double>", "propensity": "double"}


def test_vectors_are_lists_and_their_shadow_too() -> None:
    batch = prediction_frame(["a"], [[0.1, 0.9]], shadow_version=[2], shadow_y_pred=[[0.2, 0.8]]).batch
    assert str(batch.schema.field("y_pred").type) == "list<item: double>"
    assert batch.schema.field("shadow_y_pred").type == batch.schema.field("y_pred").type
    assert "features" not in batch.schema.names


def test_outcomes_hold_labels_and_what_is_known_to_be_missing() -> None:
    batch = outcome_frame({"a": 1.0, "b": None}, times=[5, 6]).batch
    assert facts.model_of(batch) == "m"
    assert batch.column("y_true").to_pylist() == [1.0, None]
    assert facts.micros(batch.column("time")).tolist() == [5, 6]


def test_an_outcome_that_is_missing_may_say_why() -> None:
    assert facts.outcomes(["a"], [None], [5], [None], model="m").schema.names == ["id", "y_true", "time"]
    batch = facts.outcomes(["a", "b"], [None, 1.0], [5, 6], ["lost", None], model="m")
    assert batch.column("reason").to_pylist() == ["lost", None]


def test_labels_may_be_lists() -> None:
    lists = facts.outcomes(["a", "b"], [None, [1.0, 2.0]], [5, 6], model="m")
    assert lists.column("y_true").to_pylist() == [None, [1.0, 2.0]]
    given = facts.outcomes(pa.array(["a"]), pa.array([[1.0]]), pa.array([5]).cast(facts.TIME), model="m")
    assert types(given)["y_true"] == types(lists)["y_true"] == "list<item: double>"


@given(st.lists(st.integers(-(1 << 62), 1 << 62)))
def test_times_are_exact(times: list[Micros]) -> None:
    column = pa.array(times, pa.int64()).cast(facts.TIME)
    assert facts.micros(column).tolist() == times


def test_a_command_is_json_with_its_keys_in_order() -> None:
    frame = facts.command("id-1", "promote", {"version": 2, "model": "m"}, now=9)
    assert (frame.kind, frame.time) == (Kind.COMMAND, 9)
    assert frame.batch.to_pylist() == [{"id": "id-1", "name": "promote", "body": '{"model":"m","version":2}'}]


def test_a_tick_says_the_time_and_when_it_came() -> None:
    moment = parse_time("2013-03-18T17:45:00Z")
    frame = facts.tick(moment, now=3)
    assert (frame.kind, frame.time) == (Kind.TICK, 3)
    assert facts.micros(frame.batch.column("time")).tolist() == [moment]


def test_decisions_are_ids_and_bodies() -> None:
    frame = facts.decisions([("m/1", "{}"), ("m/2", "[]")], now=4)
    assert (frame.kind, frame.time) == (Kind.DECISION, 4)
    assert frame.batch.to_pylist() == [{"id": "m/1", "body": "{}"}, {"id": "m/2", "body": "[]"}]


def test_columns_of_different_lengths_are_no_batch() -> None:
    with pytest.raises(ValueError, match="not all the same length"):
        prediction_frame(["a", "b"], [0.5])


@pytest.mark.parametrize("vector", [False, True])
def test_what_a_limit_cut_is_of_the_type_of_the_answer_and_what_explains_it_is_text(vector: bool) -> None:
    one = [0.5, 0.5] if vector else 0.5
    columns = {
        "id": ["a", "b"], "version": [1, 1], "time": [3, 4], "y_pred": [one, one],
        "limited": [None, "y_pred <= 0.5"], "raw_y_pred": [None, one], "explanation": ['{"base":1.0}', None],
    }  # fmt: skip
    batch = facts.predictions(columns, model="m")
    assert batch.schema.field("raw_y_pred").type == batch.schema.field("y_pred").type
    rows = batch.to_pylist()
    assert (rows[0]["raw_y_pred"], rows[1]["raw_y_pred"]) == (None, one)
    assert rows[0]["explanation"] == '{"base":1.0}'
    plain = facts.predictions(
        {name: columns[name] for name in ("id", "version", "time", "y_pred")}, model="m"
    )
    assert not {"limited", "raw_y_pred", "explanation"} & set(plain.schema.names)
