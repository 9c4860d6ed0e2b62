"""What the loop was worth, on flights that can be counted by hand."""

from __future__ import annotations

import math
from datetime import date

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper

from lossloop.app.demo import flights
from lossloop.app.demo.compare import Courses, compare, delay_cost
from lossloop.core.clock import HOUR
from lossloop.core.errors import InputError
from lossloop.registry import FeatureKind

LIVE, RELEASE = flights.midnight(date(2013, 3, 1)), flights.midnight(date(2013, 3, 18))


def always(chance: float) -> bytes:
    """A model that gives every flight the same chance of being late."""
    inputs, nodes = [], []
    for feature in flights.FEATURES:
        kind = TensorProto.STRING if feature.kind is FeatureKind.CATEGORY else TensorProto.FLOAT
        inputs.append(helper.make_tensor_value_info(feature.name, kind, ["n", 1]))
        nodes.append(helper.make_node("Identity", [feature.name], [f"{feature.name}_unused"]))
    nodes += [
        helper.make_node("Constant", [], ["none"], value_float=0.0),
        helper.make_node("Constant", [], ["chance"], value_float=chance),
        helper.make_node("Mul", ["distance", "none"], ["nothing"]),
        helper.make_node("Add", ["nothing", "chance"], ["y_pred"]),
    ]
    output = helper.make_tensor_value_info("y_pred", TensorProto.FLOAT, ["n", 1])
    graph = helper.make_graph(nodes, "always", inputs, [output])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 10
    return bytes(model.SerializeToString())


def table(*rows: tuple[int, int | None]) -> pa.Table:
    """Flights at a moment, late or not, or never arrived."""
    columns = {
        "id": pa.array([f"f{number}" for number in range(len(rows))], pa.string()),
        "time": pa.array([time for time, _ in rows], pa.int64()),
        "late": pa.array([late for _, late in rows], pa.int64()),
    }
    for feature in flights.FEATURES:
        category = feature.kind is FeatureKind.CATEGORY
        columns[feature.name] = pa.array(
            ["x" if category else 1.0] * len(rows), pa.string() if category else pa.float64()
        )
    return pa.table(columns)


def told(*rows: tuple[int, int | None], served: float = 0.1) -> Courses:
    answers = {f"f{number}": served for number in range(len(rows))}
    return compare(table(*rows), answers, {1: always(0.25), 2: always(0.5)}, live=LIVE, release=RELEASE)


def test_each_course_answers_as_it_would_have() -> None:
    courses = told((LIVE + HOUR, 1), (RELEASE + HOUR, 1), (RELEASE + 2 * HOUR, 0))
    losses = {name: course[0].mean_loss * 3 for name, course in courses.items()}
    assert losses["with the loop"] == pytest.approx(-2 * math.log(0.1) - math.log(0.9), rel=1e-6)
    assert losses["version 1 for ever"] == pytest.approx(-2 * math.log(0.25) - math.log(0.75), rel=1e-6)
    assert losses["version 2 for everyone"] == pytest.approx(-math.log(0.25) - 2 * math.log(0.5), rel=1e-6)


def test_money_is_what_wrong_warnings_cost() -> None:
    courses = told((LIVE + HOUR, 1), (RELEASE + HOUR, 1), (RELEASE + 2 * HOUR, 0), served=0.4)
    assert {name: course[0].usd for name, course in courses.items()} == {
        "with the loop": 10.0,  # it warned of all three, once in vain
        "version 1 for ever": 40.0,  # it warned of none
        "version 2 for everyone": 30.0,  # it missed the first, and warned in vain of the last
    }


def test_months_are_local_and_the_same_for_all() -> None:
    april = flights.midnight(date(2013, 4, 1))
    courses = told((LIVE, 1), (april - 1, 0), (april, 0), (april + HOUR, 1))
    for course in courses.values():
        assert [(month.month, month.flights) for month in course] == [("2013-03", 2), ("2013-04", 2)]


def test_flights_without_an_outcome_and_from_before_count_in_no_course() -> None:
    courses = told((LIVE - HOUR, 1), (LIVE, 1), (LIVE, None))
    assert [[month.flights for month in course] for course in courses.values()] == [[1]] * 3


@given(
    late=st.lists(st.sampled_from([0.0, 1.0]), min_size=1, max_size=20),
    chance=st.floats(0, 1),
    missed=st.floats(1, 20),
    false_alarm=st.floats(1, 20),
)
def test_the_cost_is_that_of_the_cheaper_choice(
    late: list[float], chance: float, missed: float, false_alarm: float
) -> None:
    loss = delay_cost.with_parameters(missed=missed, false_alarm=false_alarm)
    costs = np.asarray(loss(np.array(late), np.full(len(late), chance)))
    warned = chance >= false_alarm / (missed + false_alarm)
    wrong = {0.0: false_alarm if warned else 0.0, 1.0: 0.0 if warned else missed}
    assert costs.tolist() == [wrong[each] for each in late]


def test_the_cost_takes_probabilities_only() -> None:
    with pytest.raises(InputError, match=r"probability 1\.5 is outside"):
        delay_cost(np.array([1.0]), np.array([1.5]))
