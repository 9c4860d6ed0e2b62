"""Rows as callers send them: a bad one is a problem of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.core.clock import FUTURE_TOLERANCE, Micros, format_time, parse_time
from lossloop.core.errors import InputError
from lossloop.serve.reading import LONGEST_NAME, Readings, content, moment, read_rows, text, whole

NOW = parse_time("2024-01-01T12:00:00Z")
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
