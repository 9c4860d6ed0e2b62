"""Laws of scenarios: what may be written, what is named where it may not, and what the log gives back."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lossloop.act.scenarios import (
    MOST_ROWS,
    AnyScenario,
    DirectionScenario,
    ExampleScenario,
    InvarianceScenario,
    Must,
    read_given,
    read_value,
)

ROW = {"x": 1.0}
finite = st.floats(allow_nan=False, allow_infinity=False)
within = st.floats(0, 1e9)
values = st.none() | st.text(max_size=5) | finite
given_rows = st.lists(st.dictionaries(st.text(min_size=1, max_size=5), values, min_size=1), max_size=4)
directions = st.builds(
    DirectionScenario,
    rows=given_rows.map(tuple),
    feature=st.text(),
    add=finite.filter(bool),
    must=st.sampled_from(Must),
    within=within,
)
invariances = st.builds(
    InvarianceScenario,
    rows=given_rows.map(tuple),
    feature=st.text(),
    values=st.lists(values, min_size=1).map(tuple),
    within=within,
)
examples = st.builds(ExampleScenario, rows=given_rows.filter(bool).map(tuple), answer=finite, within=within)


def wrong(scenario: AnyScenario) -> list[str]:
    return [key for key, _ in scenario.problems()]


@given(directions | invariances | examples)
def test_what_says_something_is_sound_and_comes_out_of_the_log_as_it_was(scenario: AnyScenario) -> None:
    assert wrong(scenario) == []
    assert msgspec.json.decode(msgspec.json.encode(scenario), type=AnyScenario) == scenario


@pytest.mark.parametrize("bad", [-1e-9, math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    "scenario",
    [
        ExampleScenario(rows=(ROW,), answer=1.0),
        InvarianceScenario(feature="x", values=(1.0,)),
        DirectionScenario(feature="x", add=1.0, must=Must.NOT_FALL),
    ],
)
def test_a_tolerance_is_a_number_from_0_on(scenario: AnyScenario, bad: float) -> None:
    assert wrong(msgspec.structs.replace(scenario, within=bad)) == ["within"]
    assert wrong(msgspec.structs.replace(scenario, output=-1)) == ["output"]
    assert wrong(msgspec.structs.replace(scenario, rows=(ROW,) * (MOST_ROWS + 1))) == ["rows"]
    assert wrong(msgspec.structs.replace(scenario, rows=(ROW,) * MOST_ROWS)) == []


@pytest.mark.parametrize("add", [0.0, -0.0, math.nan, math.inf])
def test_a_direction_needs_a_step(add: float) -> None:
    assert wrong(DirectionScenario(feature="x", add=add, must=Must.NOT_RISE)) == ["add"]


def test_an_invariance_needs_a_value() -> None:
    assert wrong(InvarianceScenario(feature="x", values=())) == ["values"]


@pytest.mark.parametrize(
    ("said", "keys"),
    [
        ({}, ["kind"]),
        ({"answer": 1.0}, ["kind"]),
        ({"action": "block"}, ["kind"]),
        ({"rows": (ROW,), "action": "block"}, []),
        ({"at_most": 1.0}, []),
        ({"at_least": 0.0, "at_most": 0.0}, []),
        ({"at_least": 1.0, "at_most": 0.0}, ["at_least"]),
        ({"answer": 0.5, "at_least": 1.0, "at_most": 0.0}, ["kind", "at_least"]),
    ],
)
def test_an_example_says_what_is_wanted_of_which_rows(said: dict[str, Any], keys: list[str]) -> None:
    assert wrong(ExampleScenario(**said)) == keys


@given(st.dictionaries(st.text(), values | st.integers(-(2**53), 2**53), min_size=1))
def test_a_row_is_read_value_by_value(row: dict[str, Any]) -> None:
    found = read_given(row)
    assert found.keys() == row.keys()
    assert all(found[name] == value for name, value in row.items())
    assert all(each is None or isinstance(each, (float, str)) for each in found.values())
    assert read_given(found) == found


@given(st.booleans() | st.lists(st.integers()) | st.binary() | st.sampled_from([math.nan, math.inf]))
def test_nothing_else_is_a_value(value: Any) -> None:
    with pytest.raises(ValueError, match="is no value of a feature: a finite number, a text or null"):
        read_value(value)
