"""Requests made to harm: any shape, id, name or number is rows or a clear error, which costs little."""

from __future__ import annotations

import asyncio
import math
import tracemalloc
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossloop.app.grpc.converting import read_request
from lossloop.app.grpc.messages import CLASSES
from lossloop.core.errors import DeadlineExceeded, InputError, LossloopError
from lossloop.registry import Feature, FeatureKind
from lossloop.serve.asked import read
from lossloop.serve.batch import MOST_ROWS
from lossloop.serve.inference import Reply, Request, Tensor
from lossloop.serve.inference.datatypes import NAMES, of_json, of_raw
from lossloop.serve.inference.inputs import read_rows
from lossloop.serve.inference.serving import _wish
from lossloop.serve.inference.tensors import MOST_TENSORS, MOST_VALUES, flat, size_of
from lossloop.serve.reading import LONGEST_NAME
from lossloop.serve.schema import Schema
from tests.serve.models import FEATURES
from tests.serve.test_service import Place

NUMBERS = (Feature(name="x"), Feature(name="y", nullable=True))
HUGE = (1 << 63) - 1
lengths = st.sampled_from([-HUGE - 1, -1, 0, 1, 2, 3, 8, MOST_ROWS, MOST_ROWS + 1, 1 << 31, 1 << 62, HUGE])
shapes = st.lists(lengths, max_size=10)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    made = Place(tmp_path_factory.mktemp("hostile"))
    yield made
    made.close()


def fp64(name: str, *values: float) -> Tensor:
    return Tensor(name=name, datatype="FP64", shape=(len(values),), values=np.array(values, np.float64))


def peak(do: Any) -> int:
    """Bytes that something takes at most."""
    tracemalloc.start()
    try:
        do()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


# Shapes.


@given(st.sampled_from(NAMES), shapes)
def test_any_shape_is_a_size_that_can_be_held_or_an_error(name: str, shape: list[int]) -> None:
    try:
        size = size_of("x", name, shape)
    except InputError:
        return
    assert 0 <= size == math.prod(shape) <= MOST_VALUES
    assert shape[0] <= MOST_ROWS
    assert len(shape) <= 8


@given(st.lists(st.sampled_from([0, 1, 2, 8, HUGE]), min_size=1, max_size=8))
def test_data_of_nothing_has_the_shapes_of_nothing(shape: list[int]) -> None:
    if math.prod(shape) == 0:
        assert flat([], shape, "x") == []
        return
    with pytest.raises(InputError, match="does not have the shape"):
        flat([], shape, "x")


@pytest.mark.parametrize(
    ("data", "shape"),
    [
        ([[[[1.0]]]], (1,)), ([[], [1.0]], (2, 1)), ([[1.0], []], (2, 1)), ([1.0, [2.0]], (2, 1)),
        ([[1.0], 2.0], (2, 1)), ([[[1.0]], [2.0]], (2, 1, 1)), ([[]] * 3, (3, 1)), ([[1.0]], (1, HUGE)),
    ],
)  # fmt: skip
def test_ragged_data_has_no_shape(data: list[Any], shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError) as told:
        of_json("FP64", flat(data, shape, "x"), "x")
    assert len(str(told.value)) < 200


@given(st.sampled_from(NAMES), st.binary(max_size=64), shapes)
def test_raw_bytes_of_any_shape_are_looked_at_and_not_believed(
    name: str, raw: bytes, shape: list[int]
) -> None:
    tensor = CLASSES["ModelInferRequest"].InferInputTensor
    message = CLASSES["ModelInferRequest"](
        inputs=[tensor(name="x", datatype=name, shape=shape)], raw_input_contents=[raw]
    )
    try:
        (found,) = read_request(message).inputs
    except InputError:
        return
    assert len(found.values) == math.prod(shape)
    if name == "BYTES":
        assert all(isinstance(each, str) for each in found.values)


def test_tensors_are_counted_before_they_are_read() -> None:
    tensor = CLASSES["ModelInferRequest"].InferInputTensor(name="x", datatype="none", shape=[HUGE] * 9)
    wanted = CLASSES["ModelInferRequest"].InferRequestedOutputTensor(name="y_pred")
    for more in ({"inputs": [tensor] * (MOST_TENSORS + 1)}, {"outputs": [wanted] * (MOST_TENSORS + 1)}):
        with pytest.raises(InputError, match="at most 4096 tensors"):
            read_request(CLASSES["ModelInferRequest"](**more))


def test_a_text_that_claims_to_be_longer_than_all_is_not_made_room_for() -> None:
    raw = b"\xff\xff\xff\xff" + b"x" * 100

    def do() -> None:
        with pytest.raises(InputError, match="end within value 0"):
            of_raw("BYTES", raw, 1, "x")

    assert peak(do) < 1 << 20


# Rows.

names = st.sampled_from(["x", "y", "colour", "unit", "time", "prediction_id", "other", ""])
columns = st.one_of(
    st.tuples(
        st.sampled_from(["FP64", "FP32"]),
        st.lists(st.sampled_from([0.0, -1.5, math.nan, math.inf, -math.inf, 1e308, 5e-324]), max_size=4),
    ),
    st.tuples(
        st.sampled_from(["INT64", "UINT64"]), st.lists(st.sampled_from([0, 1, 2**53 + 1, 2**62]), max_size=4)
    ),
    st.tuples(
        st.just("BYTES"),
        st.lists(st.sampled_from(["", "a", "\x00", "é" * 40, "2024-01-01T00:00:00Z"]), max_size=4),
    ),
)


def _tensor(name: str, column: tuple[str, list[Any]], wide: bool) -> Tensor:
    kind, data = column
    values: Any = data
    if kind != "BYTES":
        with np.errstate(over="ignore"):
            dtype = {"FP64": "f8", "FP32": "f4", "INT64": "i8", "UINT64": "u8"}[kind]
            values = np.array(data, np.float64).astype(dtype) if kind[0] == "F" else np.array(data, dtype)
    return Tensor(name=name, datatype=kind, shape=(len(data), 1) if wide else (len(data),), values=values)


tensors = st.lists(
    st.builds(_tensor, names, columns, st.booleans()),
    max_size=5,
)
parameters = st.dictionaries(
    st.sampled_from(["unit", "time", "prediction_id", "timeout"]),
    st.sampled_from(["", "u", "x" * 300, 1, -1, True, 0.5, None, 10**400]),
    max_size=3,
)


@settings(max_examples=150)
@given(tensors, parameters, st.sampled_from(["", "r", "r" * 300]), st.booleans())
def test_any_tensors_are_rows_or_a_clear_error(
    inputs: list[Tensor], parameters: dict[str, Any], id: str, numbers: bool
) -> None:
    features = NUMBERS if numbers else FEATURES
    try:
        given = read_rows(features, Request(model="m", inputs=inputs, parameters=parameters, id=id))
    except InputError:
        return
    found = read(Schema(features), given, now=7, replays=True)
    assert sorted([*found.places, *(each.row or 0 for each in found.problems)]) == list(range(given.count))
    assert len(found.asked) == len(found.places)
    for feature in features:
        column = list(found.asked.features[feature.name])
        assert len(column) == len(found.places)
        for value in column:
            if value is None or value != value:  # noqa: PLR0124 - NaN
                assert feature.nullable
            else:
                assert isinstance(value, str) == (feature.kind is FeatureKind.CATEGORY)
                assert isinstance(value, str) or math.isfinite(value)


@pytest.mark.parametrize("where", ["id", "parameter"])
def test_a_huge_id_is_refused_before_it_is_written_out_for_each_row(where: str) -> None:
    huge, xs = "i" * 100_000, fp64("x", *np.zeros(20_000))
    more: dict[str, Any] = {"id": huge} if where == "id" else {"parameters": {"prediction_id": huge}}

    def do() -> None:
        with pytest.raises(InputError, match="100000 characters; at most 256") as told:
            read_rows(NUMBERS, Request(model="m", inputs=[xs], **more))
        assert told.value.field == "id"

    assert peak(do) < 8 << 20


def test_an_id_as_long_as_may_be_is_one_of_a_row_and_too_long_for_several() -> None:
    id = "i" * LONGEST_NAME
    one = read_rows(NUMBERS, Request(model="m", inputs=[fp64("x", 1)], id=id))
    assert read(Schema(NUMBERS), one, now=7, replays=False).asked.ids == [id]
    two = read_rows(NUMBERS, Request(model="m", inputs=[fp64("x", 1, 2)], id=id))
    found = read(Schema(NUMBERS), two, now=7, replays=False)
    assert [(each.row, each.field) for each in found.problems] == [(0, "id"), (1, "id")]


def test_an_id_that_stands_twice_is_a_problem_of_its_second_row() -> None:
    ids = Tensor(name="prediction_id", datatype="BYTES", shape=(3,), values=["a", "b", "a"])
    rows = read_rows(NUMBERS, Request(model="m", inputs=[fp64("x", 1, 2, 3), ids]))
    found = read(Schema(NUMBERS), rows, now=7, replays=False)
    assert (found.asked.ids, found.places) == (["a", "b"], [0, 1])
    assert [(each.row, each.field) for each in found.problems] == [(2, "id")]


# Deadlines.


@pytest.mark.parametrize(
    ("timeout", "patience", "deadline"),
    [
        (None, None, None), (None, 0.0, 0.0), (None, -1.0, -1.0), (1, None, 1e-6), (10**400, 2.0, 2.0),
        (5_000_000, 2.0, 2.0), (1_000_000, 2.0, 1.0), (1_000_000, 0.0, 0.0), (1_000_000, -1.0, -1.0),
    ],
)  # fmt: skip
def test_the_shorter_of_two_deadlines_counts(
    timeout: int | None, patience: float | None, deadline: float | None
) -> None:
    parameters = {} if timeout is None else {"timeout": timeout}
    assert _wish(Request(model="m", parameters=parameters, patience=patience)).deadline == deadline


def test_a_deadline_beyond_all_numbers_is_a_long_one() -> None:
    deadline = _wish(Request(model="m", parameters={"timeout": 10**400})).deadline
    assert deadline is not None
    assert 1e9 < deadline < math.inf


@pytest.mark.parametrize("timeout", [0, -1, True, 0.5, "1", math.nan, -(10**400)])
def test_what_is_no_deadline_is_refused(timeout: Any) -> None:
    with pytest.raises(InputError, match="in microseconds") as told:
        _wish(Request(model="m", parameters={"timeout": timeout}))
    assert told.value.field == "parameters.timeout"
    assert len(str(told.value)) < 120


def infer(place: Place, model: str, *inputs: Tensor, **more: Any) -> Reply:
    place.follow()
    return asyncio.run(place.running.inference.infer(Request(model=model, inputs=inputs, **more)))


def test_numbers_at_the_edge_are_answered_as_they_are(place: Place) -> None:
    model = place.model(0.0)
    xs = [1e308, -1e308, 5e-324, -0.0, 3.0]
    with pytest.raises(LossloopError, match="no version has a valid answer"):
        infer(place, model, fp64("x", *xs))
    reply = infer(place, model, fp64("x", *xs[2:]))
    assert np.asarray(reply.outputs[0].values).tolist() == [1.5, 1.5, 4.5]


def test_nobody_waits_who_has_no_time(place: Place) -> None:
    model = place.model(0.0)
    place.lane(model).inline = 0
    with pytest.raises(DeadlineExceeded):
        infer(place, model, fp64("x", 1), patience=0.0)
    assert infer(place, model, fp64("x", 1), patience=60.0).version == "1"
