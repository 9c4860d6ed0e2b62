"""ONNX models that differ in what they take and give."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from onnx import TensorProto, helper

from lossloop.core.errors import InputError
from lossloop.registry import Feature, FeatureKind, Manifest, Options
from lossloop.serve.runtimes import Runtime, features_of, load
from tests.serve.networks import network

Input = tuple[str, int, list[str | int]]
COLUMN: list[str | int] = ["n", 1]


def graph(
    nodes: Sequence[tuple[str, list[str], list[str]]], inputs: Sequence[Input], outputs: Sequence[Input]
) -> bytes:
    """A model of operators: name, what they take, what they give."""
    made = helper.make_graph(
        [
            helper.make_node("Cast", taken, given, to=TensorProto.FLOAT)
            if name == "Cast"
            else helper.make_node(name, taken, given)
            for name, taken, given in nodes
        ],
        "tiny",
        [helper.make_tensor_value_info(*each) for each in inputs],
        [helper.make_tensor_value_info(*each) for each in outputs],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def cast(kind: int) -> bytes:
    """One number of some type, as a single-precision one."""
    return graph([("Cast", ["x"], ["y"])], [("x", kind, COLUMN)], [("y", TensorProto.FLOAT, COLUMN)])


def runtime(artifact: bytes, *names: str, **more: str | int) -> Runtime:
    features = tuple(Feature(name=name) for name in names)
    options = Options(output=str(more.get("output", "")))
    return load(Manifest(runtime="onnx", features=features, options=options), artifact)


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        (TensorProto.FLOAT, 1.5),
        (TensorProto.DOUBLE, 1.5),
        (TensorProto.FLOAT16, 1.5),
        (TensorProto.INT64, 1.0),
        (TensorProto.INT32, 1.0),
        (TensorProto.BOOL, 1.0),
    ],
)
def test_a_number_goes_in_as_the_model_s_type(kind: int, wanted: float) -> None:
    assert runtime(cast(kind), "x").predict({"x": np.array([1.5, 0.0])}).tolist() == [wanted, 0.0]


def test_other_types_are_refused() -> None:
    with pytest.raises(InputError, match=r"the model's input 'x' is tensor\(uint8\), not numbers or texts"):
        runtime(cast(TensorProto.UINT8), "x")


def test_a_table_of_whole_numbers_is_refused() -> None:
    artifact = graph(
        [("Cast", ["rows"], ["y"])],
        [("rows", TensorProto.INT64, ["n", 2])],
        [("y", TensorProto.FLOAT, ["n", 2])],
    )
    with pytest.raises(InputError, match=r"the model's input is tensor\(int64\), not a table of numbers"):
        runtime(artifact, "a", "b")


def test_a_table_goes_in_as_its_type() -> None:
    artifact = graph(
        [("ReduceSum", ["rows"], ["y"])],
        [("rows", TensorProto.DOUBLE, ["n", "k"])],
        [("y", TensorProto.DOUBLE, [1, 1])],
    )
    rows = {"a": np.array([1e-12]), "b": np.array([1.0]), "c": np.array([2.0])}
    assert runtime(artifact, "a", "b", "c").predict(rows).tolist() == [3.0 + 1e-12]


def test_one_feature_may_be_a_table_of_one() -> None:
    artifact = graph(
        [("Abs", ["rows"], ["y"])], [("rows", TensorProto.FLOAT, COLUMN)], [("y", TensorProto.FLOAT, COLUMN)]
    )
    rows = np.array([-2.0])
    assert runtime(artifact, "x").predict({"x": rows}).tolist() == [2.0]
    assert runtime(artifact, "rows").predict({"rows": rows}).tolist() == [2.0]


def test_columns_go_in_by_name() -> None:
    artifact = graph(
        [("Sub", ["a", "b"], ["y"])], [("a", TensorProto.FLOAT, COLUMN), ("b", TensorProto.FLOAT, COLUMN)],
        [("y", TensorProto.FLOAT, COLUMN)],
    )  # fmt: skip
    rows = {"b": np.array([1.0]), "a": np.array([5.0])}
    assert runtime(artifact, "b", "a").predict(rows).tolist() == [4.0]
    assert [each.name for each in features_of("onnx", artifact)] == ["a", "b"]
    with pytest.raises(InputError, match="the model takes 'b', which the manifest does not list"):
        runtime(artifact, "a")
    with pytest.raises(InputError, match="the model takes no feature 'c'"):
        runtime(artifact, "a", "b", "c")


def test_texts_and_numbers_are_not_taken_for_each_other() -> None:
    texts = graph(
        [("Identity", ["x"], ["y"])], [("x", TensorProto.STRING, COLUMN)], [("y", TensorProto.STRING, COLUMN)]
    )
    with pytest.raises(InputError, match="feature 'x' is a number, and the model takes texts"):
        runtime(texts, "x")
    assert features_of("onnx", texts) == (Feature(name="x", kind=FeatureKind.CATEGORY),)
    number = Manifest(runtime="onnx", features=(Feature(name="x", kind=FeatureKind.CATEGORY),))
    with pytest.raises(InputError, match="feature 'x' is a category, and the model takes numbers"):
        load(number, cast(TensorProto.FLOAT))
    with pytest.raises(InputError, match="feature 'a' is a category: the model takes one table of numbers"):
        load(Manifest(runtime="onnx", features=(Feature(name="a", kind=FeatureKind.CATEGORY),)), network(4))


def test_of_several_outputs_one_is_chosen() -> None:
    artifact = graph(
        [("Abs", ["x"], ["size"]), ("Neg", ["x"], ["other"]), ("Identity", ["x"], ["same"])],
        [("x", TensorProto.FLOAT, COLUMN)],
        [(name, TensorProto.FLOAT, COLUMN) for name in ("size", "other", "same")],
    )
    with pytest.raises(InputError, match="the model has the outputs size, other, same; choose one") as caught:
        runtime(artifact, "x")
    assert caught.value.field == "options.output"
    rows = {"x": np.array([-3.0])}
    found = [runtime(artifact, "x", output=name).predict(rows).tolist() for name in ("size", "other", "same")]
    assert found == [[3.0], [3.0], [-3.0]]
