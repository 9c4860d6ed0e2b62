"""Rows as callers send them: a bad one is a problem of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.core.clock import FUTURE_TOLERANCE, Micros, format_time, parse_time
from lossloop.core.errors import InputError, UnknownName
from lossloop.core.tasks import Task
from lossloop.core.traffic import Traffic
from lossloop.serve.reading import LONGEST_NAME, Readings, content, moment, read_rows, text, whole
from lossloop.serve.recording import (
    OUTCOME_KEYS,
    PREDICTION_KEYS,
    read_happened,
    read_recorded,
    recorded_facts,
)

NOW = parse_time("2024-01-01T12:00:00Z")
TRAFFIC = Traffic(model="m", task=Task.BINARY, champion=1)
HUGE = 10**400

scalars = st.none() | st.booleans() | st.integers() | st.just(HUGE) | st.floats() | st.text(max_size=5)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
)


def identity(row: Mapping[str, Any], place: int) -> Mapping[str, Any]:
    return row


def problems(readings: Readings[Any]) -> list[tuple[int | None, str | None, str]]:
    return [(each.row, each.field, str(each)) for each in readings.problems]


# Rows.


def test_good_rows_keep_their_places() -> None:
    found = read_rows([{"id": "a"}, 3, {"id": "b"}], identity, ("id",))
    assert found.rows == [(0, {"id": "a"}), (2, {"id": "b"})]
    assert problems(found) == [(1, None, "a row must be an object, not int")]


def test_an_unknown_key_is_told_the_known_ones() -> None:
    found = read_rows([{"idd": "a"}], identity, ("id", "y_true"))
    assert problems(found) == [(0, "idd", "unknown key 'idd'; did you mean 'id'?")]


def test_an_id_stands_once_in_a_batch() -> None:
    found = read_rows([{"id": "a"}, {"id": "a"}, {"id": None}, {"id": None}, {}], identity, ("id",))
    assert [place for place, _ in found.rows] == [0, 2, 3, 4]
    assert problems(found) == [(1, "id", "the id 'a' stands twice in this batch")]


@given(st.lists(anything, max_size=6))
def test_every_row_is_read_or_has_one_problem(rows: list[Any]) -> None:
    found = read_rows(rows, identity, ("id", "a"))
    places = [place for place, _ in found.rows] + [each.row for each in found.problems]
    assert sorted(place for place in places if place is not None) == list(range(len(rows)))


# Values.


@pytest.mark.parametrize(
    ("row", "value"), [({}, None), ({"id": None}, None), ({"id": "é"}, "é"), ({"id": " "}, " ")]
)
def test_text_is_text_or_absent(row: dict[str, Any], value: str | None) -> None:
    assert text(row, "id", 0) == value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("", "id must be text, not ''"),
        (7, "id must be text, not 7"),
        (["a"], "id must be text, not ['a']"),
        ("x" * 257, f"id has 257 characters; at most {LONGEST_NAME} are taken"),
    ],
)
def test_what_is_no_short_text_is_refused(value: Any, message: str) -> None:
    with pytest.raises(InputError) as caught:
        text({"id": value}, "id", 4)
    assert (str(caught.value), caught.value.field, caught.value.row) == (message, "id", 4)


@pytest.mark.parametrize("ahead", [-(10**12), 0, FUTURE_TOLERANCE])
def test_an_event_may_be_long_ago_or_a_little_ahead(ahead: Micros) -> None:
    row = {"time": format_time(NOW + ahead)}
    assert moment(row, 0, now=NOW, replays=False) == NOW + ahead
    assert moment({}, 0, now=NOW, replays=False) == NOW


def test_only_a_replay_believes_the_future() -> None:
    row = {"time": format_time(NOW + FUTURE_TOLERANCE + 1)}
    with pytest.raises(
        InputError, match="is more than 5 minutes ahead of the receipt time 2024-01-01T12:00:00Z"
    ) as e:
        moment(row, 2, now=NOW, replays=False)
    assert (e.value.field, e.value.row) == ("time", 2)
    assert moment(row, 2, now=NOW, replays=True) == NOW + FUTURE_TOLERANCE + 1


@pytest.mark.parametrize("value", ["noon", 1704110400, "2024-01-01", "9999-01-01T00:00:00Z"])
def test_what_is_no_time_names_its_row(value: Any) -> None:
    with pytest.raises(InputError) as caught:
        moment({"time": value}, 2, now=NOW, replays=True)
    assert (caught.value.field, caught.value.row) == ("time", 2)


@pytest.mark.parametrize("value", [None, 0, -1, 1.0, "1", True, [1]])
def test_a_version_is_a_whole_number_above_none(value: Any) -> None:
    with pytest.raises(InputError, match="version must be a whole number above 0, not ") as caught:
        whole({"version": value}, "version", 1)
    assert (caught.value.field, caught.value.row) == ("version", 1)
    assert whole({"version": 3}, "version", 1) == 3


def test_content_is_what_was_sent_in_any_order_of_its_keys() -> None:
    one = {"id": "a", "features": {"x": 1, "y": 2}}
    assert content(one) == content({"features": {"y": 2, "x": 1}, "id": "a"})
    assert content(one) != content({"id": "a", "features": {"x": 1, "y": 3}})
    assert len(content(one)) == 16


# Recorded predictions.


def recorded(row: dict[str, Any], task: Task = Task.BINARY) -> Any:
    traffic = Traffic(model="m", task=task, champion=1)
    return read_recorded(traffic, {1, 2}, row, 5, now=NOW, replays=False)


def test_a_recorded_prediction_has_defaults_for_what_it_does_not_say() -> None:
    found = recorded({"version": 2, "y_pred": 0.25})
    assert (found.answer.version, found.answer.role, found.answer.y_pred) == (2, "champion", 0.25)
    assert (found.propensity, found.features, found.sent.time, found.sent.unit) == (1.0, "{}", NOW, None)
    assert found.answer.id == found.sent.id
    assert found.sent.id != recorded({"version": 2, "y_pred": 0.25}).sent.id, "without an id each is its own"


def test_what_a_recorded_prediction_says_is_kept() -> None:
    row = {"id": "a", "version": 1, "y_pred": 1, "time": "2024-01-01T00:00:00Z", "unit": "ann",
           "role": "challenger", "propensity": 0.1, "features": {"x": [1, {"y": None}]}}  # fmt: skip
    found = recorded(row)
    batch = recorded_facts("m", [found])
    (stored,) = batch.to_pylist()
    assert stored["time"].isoformat() == "2024-01-01T00:00:00+00:00"
    del stored["time"]
    assert stored == {
        "id": "a", "version": 1, "y_pred": 1.0, "unit": "ann", "role": "challenger", "propensity": 0.1,
        "features": '{"x":[1,{"y":null}]}', "shadow_version": None, "shadow_y_pred": None,
        "content": content(row),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "field", "message"),
    [
        ({"version": 3}, "version", "unknown version of m '3'; there are: 1, 2"),
        ({"version": "1"}, "version", "version must be a whole number above 0, not '1'"),
        ({"y_pred": 1.5}, "y_pred", "a probability lies in [0, 1]; got 1.5"),
        ({"y_pred": None}, "y_pred", "y_pred must be a number, not null"),
        ({"role": "king"}, "role", "role must be one of champion, challenger, not 'king'"),
        ({"role": ["champion"]}, "role", "role must be one of champion, challenger, not ['champion']"),
        ({"propensity": 0}, "propensity", "propensity must lie in (0, 1], not 0"),
        ({"propensity": 1.1}, "propensity", "propensity must lie in (0, 1], not 1.1"),
        ({"propensity": float("nan")}, "propensity", "propensity must lie in (0, 1], not nan"),
        ({"propensity": True}, "propensity", "propensity must lie in (0, 1], not True"),
        ({"features": [1]}, "features", "features must be an object of names to values"),
        ({"unit": 5}, "unit", "unit must be text, not 5"),
    ],
)
def test_a_bad_recorded_prediction_is_told(changes: dict[str, Any], field: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        recorded({"version": 1, "y_pred": 0.5, **changes})
    assert str(caught.value) == message
    assert (caught.value.field, caught.value.row) == (field, 5)
    assert isinstance(caught.value, UnknownName) == (changes.get("version") == 3)


def test_vectors_can_be_recorded() -> None:
    found = [
        recorded({"version": 1, "y_pred": shares}, Task.MULTICLASS)
        for shares in ([0.2, 0.8], [0.1, 0.2, 0.7])
    ]
    assert recorded_facts("m", found).column("y_pred").to_pylist() == [[0.2, 0.8], [0.1, 0.2, 0.7]]


# Outcomes.


@pytest.mark.parametrize(("y_true", "label"), [(1, 1.0), (False, 0.0), (None, None)])
def test_an_outcome_is_a_label_or_known_to_be_missing(y_true: Any, label: float | None) -> None:
    found = read_happened(TRAFFIC, {"id": "a", "y_true": y_true}, 0, now=NOW, replays=False)
    assert (found.id, found.y_true, found.time) == ("a", label, NOW)


@pytest.mark.parametrize(
    ("row", "field", "message"),
    [
        ({"y_true": 1}, "id", "an outcome needs the id of its prediction"),
        ({"id": "a"}, "y_true", "an outcome needs y_true; null says that it is missing"),
        ({"id": "a", "y_true": 0.5}, "y_true", "the label of a binary task is 0 or 1, not 0.5"),
        ({"id": 7, "y_true": 1}, "id", "id must be text, not 7"),
    ],
)
def test_a_bad_outcome_is_told(row: dict[str, Any], field: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        read_happened(TRAFFIC, row, 8, now=NOW, replays=False)
    assert (str(caught.value), caught.value.field, caught.value.row) == (message, field, 8)


keys = st.sampled_from([*PREDICTION_KEYS, *OUTCOME_KEYS])
likely = st.sampled_from([1, 0.5, "a", [0.5, 0.5], {"x": HUGE}, None, "champion", "2024-01-01T00:00:00Z"])


@given(st.sampled_from(Task), st.lists(st.dictionaries(keys, anything | likely, max_size=6), max_size=3))
def test_whatever_is_sent_is_taken_or_refused_with_its_row(task: Task, rows: list[dict[str, Any]]) -> None:
    traffic = Traffic(model="m", task=task, champion=1)

    def recording(sent: Mapping[str, Any], place: int) -> Any:
        return read_recorded(traffic, {1}, sent, place, now=NOW, replays=True)

    def happening(sent: Mapping[str, Any], place: int) -> Any:
        return read_happened(traffic, sent, place, now=NOW, replays=True)

    taken = read_rows([{"version": 1, **row} for row in rows], recording, PREDICTION_KEYS)
    if taken.rows:
        assert recorded_facts("m", [each for _, each in taken.rows]).num_rows == len(taken.rows)
    happened = read_rows(rows, happening, OUTCOME_KEYS)
    for found in (taken, happened):
        assert len(found.rows) + len(found.problems) == len(rows)
        assert all(each.row is not None for each in found.problems)
