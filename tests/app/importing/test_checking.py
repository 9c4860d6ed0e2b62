"""A piece against the rules: the same as an endpoint's, a whole column at once."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.app.importing.checking import Held, hold
from lossloop.app.importing.mapping import plan, read_flags
from lossloop.app.importing.sources import Malformed, Piece
from lossloop.core.clock import format_time, from_datetime
from lossloop.core.errors import InputError
from lossloop.core.tasks import Task
from lossloop.core.traffic import Traffic
from lossloop.ledger.facts import TIME, is_history, model_of
from lossloop.ledger.frames import Kind
from lossloop.serve.rowwise import Terms, read_happened, read_recorded
from tests.app.importing.pasts import LONG_AGO

NOW = LONG_AGO + 10**12


def terms(task: Task = Task.BINARY, *, replays: bool = False) -> Terms:
    traffic = Traffic(model="m", task=task)
    return Terms(traffic=traffic, now=NOW, replays=replays, known=frozenset({1, 2}))


def held(
    kind: Kind,
    columns: dict[str, pa.Array],
    *maps: str,
    against: Terms | None = None,
    first: int = 1,
    malformed: tuple[Malformed, ...] = (),
    history: bool = True,
    **said: Any,
) -> Held:
    count = len(next(iter(columns.values())))
    rows = np.arange(first, first + count)
    piece = Piece(rows=rows, columns=columns, read=first + count, malformed=malformed)
    planned = plan(read_flags(maps, **said), kind, list(columns), source="a.csv")
    return hold(piece, planned, against or terms(), {}, history=history)


def predictions(count: int = 3, **given: Any) -> dict[str, pa.Array]:
    columns = {
        "id": [f"p{place}" for place in range(count)],
        "time": pa.array([LONG_AGO] * count).cast(TIME),
        "version": [1] * count,
        "y_pred": [0.5] * count,
        **given,
    }
    return {name: arrow(values) for name, values in columns.items()}


def arrow(values: Any) -> pa.Array:
    return values if isinstance(values, pa.Array) else pa.array(values)


def typed(rows: list[tuple[Any, ...]], **kinds: pa.DataType) -> dict[str, pa.Array]:
    """Rows as columns of given types."""
    columns = zip(*rows, strict=True)
    return {name: pa.array(values, kind) for (name, kind), values in zip(kinds.items(), columns, strict=True)}


def column(found: Held, name: str) -> list[Any]:
    """A column of what is to be logged."""
    values: list[Any] = [] if found.facts is None else found.facts.column(name).to_pylist()
    return values


def test_failures_are_brought_in_where_somebody_says_which_column_has_them() -> None:
    given: dict[str, Any] = {
        "y_pred": [0.5, None, None, 0.5],
        "error": [0.1, 0.2, 0.3, 0.4],
        "latency_ms": ["12.5", "", "x", "-1"],
    }
    found = held(Kind.PREDICTION, predictions(4, **given, why=["", "TimeoutError", "TimeoutError", ""]))
    assert [(bad.row, bad.column) for bad in found.bad] == [
        (2, "y_pred"), (3, "latency_ms"), (4, "latency_ms")
    ]  # fmt: skip
    assert column(found, "latency_ms") == [12.5]
    assert found.facts is not None
    assert "error" not in found.facts.schema.names, "it is how far off predictions were"
    given["latency_ms"][2:] = ["", ""]
    named = held(
        Kind.PREDICTION, predictions(4, **given, why=["", "TimeoutError", "HTTP 503", "both"]), "error=why"
    )
    assert [(bad.row, bad.column) for bad in named.bad] == [(4, "why")]
    assert column(named, "y_pred") == [0.5, None, None]
    assert column(named, "error") == [None, "TimeoutError", "HTTP 503"]


def test_failures_of_lists_have_none() -> None:
    given = {"y_pred": [[0.5, 0.5], None, None], "why": [None, "e", None]}
    found = held(Kind.PREDICTION, predictions(3, **given), "error=why", against=terms(Task.MULTICLASS))
    assert column(found, "y_pred") == [[0.5, 0.5], None]
    assert [(bad.row, bad.column) for bad in found.bad] == [(3, "y_pred")]


def labels(found: Held) -> dict[str, Any]:
    return dict(zip(column(found, "id"), column(found, "y_true"), strict=True))


def outcomes(y_true: list[Any], **given: Any) -> dict[str, pa.Array]:
    columns = {"id": [f"p{place}" for place in range(len(y_true))], "y_true": y_true, **given}
    return {name: pa.array(values) for name, values in columns.items()}


def said(found: Held) -> dict[int, tuple[str, str]]:
    return {bad.row: (bad.column, bad.reason) for bad in found.bad}


Id = st.one_of(st.none(), st.text(max_size=3), st.just("x" * 257))
Number = st.one_of(st.none(), st.floats(), st.integers(-2, 2).map(float), st.just(0.5))
Moment = st.integers(-(10**17), 10**17)


@given(
    st.lists(
        st.tuples(
            Id, Number, st.one_of(st.none(), st.integers(-1, 4)), Moment, Id,
            st.one_of(st.none(), st.sampled_from(["champion", "challenger", "boss"])), Number,
        ),
        min_size=1, max_size=8,
    )
)  # fmt: skip
def test_predictions_are_taken_by_the_rules_of_the_endpoint(rows: list[tuple[Any, ...]]) -> None:
    columns = typed(
        rows, id=pa.string(), y_pred=pa.float64(), version=pa.int64(), time=pa.int64(), unit=pa.string(),
        role=pa.string(), propensity=pa.float64(),
    )  # fmt: skip
    found = held(Kind.PREDICTION, {**columns, "time": columns["time"].cast(TIME)})
    good = []
    for place, values in enumerate(rows):
        row = dict(zip(columns, values, strict=True))
        row |= {name: row[name] or None for name in ("id", "unit", "role")}  # an empty cell is null
        try:
            row["time"] = format_time(row["time"])
            assert row["id"] is not None
            good.append(read_recorded(row, place, terms()))
        except (AssertionError, InputError, OverflowError, ValueError, OSError):
            assert place + 1 in said(found)
    assert found.taken == len(good)
    assert found.taken + len(found.bad) == len(rows)
    assert column(found, "id") == [row["id"] for row in good]
    assert column(found, "y_pred") == [row["y_pred"] for row in good]


Tasks = st.sampled_from([Task.BINARY, Task.REGRESSION, Task.MULTICLASS])


@given(st.lists(st.tuples(Id, Number, Id), min_size=1, max_size=8), Tasks)
def test_outcomes_are_taken_by_the_rules_of_the_endpoint(rows: list[tuple[Any, ...]], task: Task) -> None:
    columns = typed(rows, id=pa.string(), y_true=pa.float64(), reason=pa.string())
    found = held(Kind.OUTCOME, columns, against=terms(task))
    last: dict[str, Any] = {}
    refused: dict[int, str] = {}
    for place, (id, y_true, reason) in enumerate(rows):
        row = {"id": id or None, "y_true": y_true, "reason": reason or None}  # an empty cell is null
        try:
            read = read_happened(row, place, terms(task))
            last[read["id"]] = read["y_true"]
        except InputError as error:
            refused[place + 1] = str(error) if id else "the id is empty"
    assert {bad.row: bad.reason for bad in found.bad} == refused
    assert labels(found) == last
    assert found.taken - found.superseded == len(last)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"id": ["", "b", "c"]}, ("id", "the id is empty")),
        ({"id": ["x" * 300, "b", "c"]}, ("id", "id has 300 characters; at most 256 are taken")),
        ({"y_pred": [1.5, 0.5, 0.5]}, ("y_pred", "a probability lies in [0, 1]; got 1.5")),
        ({"y_pred": [math.nan, 0.5, 0.5]}, ("y_pred", "y_pred must be finite, not nan")),
        ({"y_pred": ["?", "0.5", "1"]}, ("y_pred", "y_pred must be a number, not '?'")),
        ({"y_pred": [None, 0.5, 0.5]}, ("y_pred", "y_pred must be a number, not null")),
        ({"version": [7, 1, 2]}, ("version", "unknown version of m '7'; there are: 1, 2")),
        (
            {"role": ["boss", "x", None]},
            ("role", "role must be one of champion, challenger, holdout, override, not 'boss'"),
        ),
        ({"propensity": [0.0, 1.0, None]}, ("propensity", "propensity must lie in (0, 1], not 0.0")),
        ({"time": ["", "2021-01-01T00:00:00Z", "2021-01-01T00:00:00Z"]}, ("time", "the time is empty")),
    ],
)  # fmt: skip
def test_a_bad_row_says_its_column_and_what_is_wrong(change: dict[str, Any], reason: tuple[str, str]) -> None:
    found = held(Kind.PREDICTION, predictions(**change))
    assert said(found)[1] == reason
    assert found.taken + len(found.bad) == 3


def test_a_row_is_known_by_its_number_and_the_name_that_its_source_gives_its_column() -> None:
    columns = predictions(score=[0.5, 7.0, 0.5])
    columns["y_pred"] = pa.array([0.5] * 3)
    found = held(Kind.PREDICTION, columns, "y_pred=score", first=5001)
    assert said(found) == {5002: ("score", "a probability lies in [0, 1]; got 7")}
    assert found.bad[0].cells["score"] == 7.0


def test_what_is_no_row_is_rejected_in_its_place() -> None:
    row = Malformed(row=2, reason="3 values where the first line has 2", text="a,b,c")
    found = held(Kind.PREDICTION, predictions(y_pred=[0.5, 2.0, 3.0]), malformed=(row,))
    assert [(bad.row, bad.text) for bad in found.bad] == [(2, "a,b,c"), (2, ""), (3, "")]


def test_history_is_marked_and_what_arrives_now_is_not() -> None:
    for history in (True, False):
        found = held(Kind.PREDICTION, predictions(), history=history).facts
        assert is_history(found) is history
        assert model_of(found) == "m"
        found = held(Kind.OUTCOME, outcomes([1, 0]), history=history).facts
        assert is_history(found) is history


def test_the_future_is_refused_but_in_a_replay() -> None:
    columns = predictions(time=pa.array([NOW + 10**9] * 3).cast(TIME))
    found = held(Kind.PREDICTION, columns)
    assert found.facts is None
    assert "more than 5 minutes ahead" in said(found)[1][1]
    assert held(Kind.PREDICTION, columns, against=terms(replays=True)).taken == 3


def test_an_outcome_without_a_time_is_known_since_now() -> None:
    found = held(Kind.OUTCOME, outcomes([1]))
    assert [format_time(from_datetime(each)) for each in column(found, "time")] == [format_time(NOW)]


def test_ids_of_predictions_may_stand_twice_for_the_join_keeps_the_first() -> None:
    found = held(Kind.PREDICTION, predictions(id=["a", "a", "b"]))
    assert column(found, "id") == ["a", "a", "b"]
    assert (found.taken, found.superseded) == (3, 0)


def test_of_labels_that_stand_twice_only_the_last_is_sent() -> None:
    found = held(Kind.OUTCOME, outcomes([1, 0, 1, 5], id=["a", "b", "a", "b"]))
    assert labels(found) == {"a": 1.0, "b": 0.0}
    assert (found.taken, found.superseded, len(found.bad)) == (3, 1, 1)


def test_a_missing_outcome_may_have_a_reason_and_no_label() -> None:
    found = held(Kind.OUTCOME, outcomes([None, 1.0], reason=["lost", "lost"]))
    assert column(found, "reason") == ["lost"]
    assert said(found) == {2: ("reason", "a reason says why y_true is missing; send one of the two")}


def test_classes_are_lists_and_labels_their_index() -> None:
    columns = predictions()
    del columns["y_pred"]
    columns |= {"a": pa.array([0.25, 0.5, 0.9]), "b": pa.array([0.75, 0.5, 0.9])}
    found = held(Kind.PREDICTION, columns, "y_pred=a,b", against=terms(Task.MULTICLASS))
    assert column(found, "y_pred") == [[0.25, 0.75], [0.5, 0.5]]
    assert said(found) == {3: ("a,b", "the probabilities sum to 1.8, not to 1")}
    with pytest.raises(InputError, match="y_pred of a binary task is one column, not 2"):
        held(Kind.PREDICTION, columns, "y_pred=a,b")


@pytest.mark.parametrize("task", [Task.VECTOR, Task.RANKING])
def test_tasks_of_lists_have_lists(task: Task) -> None:
    columns = predictions(y_pred=[[1.0, 2.0], [3.0], [math.inf]])
    found = held(Kind.PREDICTION, columns, against=terms(task))
    assert column(found, "y_pred") == [[1.0, 2.0], [3.0]]
    happened = held(Kind.OUTCOME, outcomes([[1.0, 0.0], None]), against=terms(task))
    assert column(happened, "y_true") == [[1.0, 0.0], None]


def test_a_distribution_has_lists_and_happens_as_a_number() -> None:
    columns = predictions(y_pred=[[1.0, 2.0], [3.0], [math.inf]])
    found = held(Kind.PREDICTION, columns, against=terms(Task.DISTRIBUTION))
    assert column(found, "y_pred") == [[1.0, 2.0], [3.0]]
    happened = held(Kind.OUTCOME, outcomes([1.5, None]), against=terms(Task.DISTRIBUTION))
    assert column(happened, "y_true") == [1.5, None]


def test_survival_has_two_columns_of_its_outcomes() -> None:
    columns = outcomes([[1.0, 0.0], None])
    del columns["y_true"]
    columns |= {"days": pa.array([30.0, -1.0]), "died": pa.array([1.0, 0.0])}
    found = held(Kind.OUTCOME, columns, "y_true=days,died", against=terms(Task.SURVIVAL))
    assert column(found, "y_true") == [[30.0, 1.0]]
    assert "the label of a survival task is [time, event]" in next(iter(said(found).values()))[1]


def test_features_come_with_their_row() -> None:
    found = held(
        Kind.PREDICTION, predictions(amount=[1.0, 2.0, 3.0], land=["FR", None, "DE"]), "features=amount,land",
    )  # fmt: skip
    assert column(found, "features")[1] == {"amount": 2.0, "land": None}


def test_one_version_for_all_rows() -> None:
    columns = predictions()
    del columns["version"]
    found = held(Kind.PREDICTION, columns, version=2)
    assert column(found, "version") == [2, 2, 2]
