"""Bodies that the endpoints take, and the one shape of what is wrong with them; without a server."""

from __future__ import annotations

from typing import Any

import msgspec
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.app.http import problems as told
from lossloop.app.http.requests import (
    ArmBody,
    Body,
    ExperimentBody,
    OutcomesBody,
    OutcomesStream,
    PredictBody,
    PredictionsBody,
    PredictionsStream,
    PromoteBody,
    RolloutBody,
    VersionBody,
)
from lossloop.core.errors import (
    AccessError,
    Away,
    Conflict,
    DeadlineExceeded,
    Forbidden,
    InputError,
    LossloopError,
    Overloaded,
    StateError,
    StorageFull,
    TooLarge,
    UnknownName,
    VersionFailed,
)

OUTCOME = {"id": "a", "y_true": 1}


def read(kind: type[Body], **body: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(body), type=kind)


@pytest.mark.parametrize("kind", Body.__subclasses__(), ids=lambda kind: kind.__name__)
def test_no_body_takes_a_key_that_it_does_not_know(kind: type[Body]) -> None:
    with pytest.raises(msgspec.ValidationError, match="unknown field `nonsense`"):
        read(kind, nonsense=1)
    with pytest.raises(msgspec.ValidationError, match="Expected `object`"):
        msgspec.json.decode(b"[]", type=kind)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (RolloutBody, {"version": 2**31}),
        (RolloutBody, {"version": -(2**31) - 1}),
        (RolloutBody, {"version": 1.5}),
        (RolloutBody, {"version": "2"}),
        (RolloutBody, {"version": True}),
        (RolloutBody, {"version": 2, "plan": []}),
        (PromoteBody, {"version": "best"}),
        (PromoteBody, {"force": 1}),
        (ExperimentBody, {"arms": {"2": 0.5}}),
        (ExperimentBody, {"arms": [[2, 0.5]]}),
        (ExperimentBody, {"arms": [{"version": 2, "share": "half"}]}),
        (ExperimentBody, {"arms": [{"version": 2, "share": 0.5, "salt": "x"}]}),
        (PredictBody, {"rows": {"features": {}}}),
        (VersionBody, {"artifact": "not base64!"}),
        (VersionBody, {"signature": "signed"}),
        (VersionBody, {"manifest": {"runtime": 1}}),
    ],
)
def test_a_value_of_another_kind_is_refused_with_its_place(kind: type[Body], body: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError, match=r"at `\$"):
        read(kind, **body)


def test_what_is_left_out_has_its_default() -> None:
    assert read(PromoteBody) == PromoteBody(version=None, reason="", force=False)
    assert read(RolloutBody, version=3) == RolloutBody(version=3)
    arms = [{"version": 2, "share": 0.25}, {"version": 3, "share": 1}]
    assert read(ExperimentBody, arms=arms).arms == [
        ArmBody(version=2, share=0.25), ArmBody(version=3, share=1.0)
    ]  # fmt: skip
    assert read(VersionBody, artifact="AAEC").artifact == b"\0\1\2"


def test_rows_or_lists_and_not_both() -> None:
    rows = read(OutcomesBody, model="m", outcomes=[OUTCOME, OUTCOME]).batch()
    lists = read(OutcomesBody, model="m", columns={"id": ["a", "a"], "y_true": [1, 1]}).batch()
    assert rows.count == lists.count == 2
    with pytest.raises(InputError, match="send rows under 'outcomes', or lists under 'columns'") as none:
        read(OutcomesBody, model="m").batch()
    assert none.value.field == "outcomes"
    with pytest.raises(InputError, match="send either 'outcomes' or 'columns'") as both:
        read(OutcomesBody, model="m", outcomes=[OUTCOME], columns={"id": ["a"], "y_true": [1]}).batch()
    assert both.value.field == "columns"


@pytest.mark.parametrize(
    ("columns", "field", "words"),
    [
        ({"id": ["a"]}, "columns.y_true", "y_true"),
        ({"id": ["a"], "y_true": [1], "y_tru": [1]}, "columns.y_tru", "unknown column 'y_tru'"),
        ({"id": ["a", "b"], "y_true": [1]}, None, "2"),
        ({"id": "a", "y_true": [1]}, "columns.id", "list"),
    ],
)
def test_lists_that_do_not_fit_are_named(columns: dict[str, Any], field: str | None, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        read(OutcomesBody, model="m", columns=columns).batch()
    assert field is None or caught.value.field == field


def test_features_of_lists_are_an_object() -> None:
    columns = {"version": [1], "y_pred": [0.5], "features": [{"x": 1}]}
    with pytest.raises(InputError, match="features must be an object of names to lists") as caught:
        read(PredictionsBody, model="m", columns=columns).batch()
    assert caught.value.field == "columns.features"


def stream(model: str | None = None, **columns: list[Any]) -> bytes:
    facts = pa.table(columns)
    if model is not None:
        facts = facts.replace_schema_metadata({"model": model})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, facts.schema) as writer:
        writer.write_table(facts)
    return bytes(sink.getvalue())


@pytest.mark.parametrize(("query", "schema"), [("m", None), (None, "m"), ("m", "m")])
def test_the_model_of_a_stream_stands_in_the_query_or_in_the_schema(
    query: str | None, schema: str | None
) -> None:
    found = OutcomesStream.read(stream(schema, id=["a"], y_true=[1.0]), query)
    assert (found.model, found.batch().count) == ("m", 1)


@pytest.mark.parametrize(
    ("query", "schema", "words"),
    [(None, None, "name the model: "), ("a", "b", "the query names the model 'a', the schema 'b'")],
)
def test_no_model_and_two_of_them_are_refused(query: str | None, schema: str | None, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        OutcomesStream.read(stream(schema, id=["a"], y_true=[1.0]), query)
    assert caught.value.field == "model"


@given(at=st.integers(0, 400))
def test_a_stream_that_was_cut_off_is_no_batch(at: int) -> None:
    whole = stream("m", id=["a", "b"], version=[1, 1], y_pred=[0.1, 0.2])
    cut = whole[: at % (len(whole) // 2)]
    with pytest.raises(InputError):
        PredictionsStream.read(cut, "m")


ERRORS: list[tuple[LossloopError, int]] = [
    (InputError("x"), 422),
    (UnknownName("model", "x", ["y"]), 404),
    (UnknownName("column", "x", ["y"], row=3), 422),
    (Conflict("x"), 409),
    (TooLarge("x"), 413),
    (Forbidden("x"), 403),
    (AccessError("x"), 401),
    (Overloaded("x"), 429),
    (StorageFull("x"), 507),
    (DeadlineExceeded("x"), 504),
    (VersionFailed("x"), 503),
    (Away("x"), 503),
    (StateError("x"), 500),
    (told.Malformed("x"), 400),
    (told.Unsupported("x"), 415),
    (told.TimedOut("x"), 408),
]


@pytest.mark.parametrize(("error", "status"), ERRORS, ids=lambda each: type(each).__name__)
def test_each_error_has_its_status_and_the_one_shape(error: LossloopError, status: int) -> None:
    assert told.status_of(error) == status
    found = told.problem(error)
    assert (found["status"], found["detail"], found["type"]) == (status, str(error), "about:blank")
    assert found["title"]
    assert msgspec.json.decode(msgspec.json.encode(found)) == found


def test_a_field_is_told_where_there_is_one() -> None:
    assert told.problem(InputError("x", field="plan.error"))["field"] == "plan.error"
    assert "field" not in told.problem(InputError("x"))
    assert "field" not in told.problem(StateError("x"))


@given(rows=st.lists(st.integers(0, 99), min_size=1, max_size=9, unique=True))
def test_bad_rows_are_told_in_their_order(rows: list[int]) -> None:
    found = told.problems([InputError(f"row {row} is bad", field="y", row=row) for row in rows])
    assert [each["row"] for each in found["errors"]] == sorted(rows)
    many = "1 bad row" if len(rows) == 1 else f"{len(rows)} bad rows"
    assert found["detail"] == f"{many}; the first: row {min(rows)}: row {min(rows)} is bad"


def test_errors_of_one_status_keep_it_and_others_are_unprocessable() -> None:
    conflicts = [Conflict("x", row=0), Conflict("y", row=1)]
    assert told.problems(conflicts)["status"] == 409
    assert told.problems([*conflicts, InputError("z", row=2)])["status"] == 422
