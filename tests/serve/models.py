"""Models small enough to be made in a line, as ONNX, and runtimes that do as a test says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper

from lossloop.registry import Feature, FeatureKind, Manifest, Version
from lossloop.serve.runtimes import Columns

FEATURES = (
    Feature(name="x"),
    Feature(name="y", nullable=True),
    Feature(name="colour", kind=FeatureKind.CATEGORY, nullable=True),
)
COLOURS = {"red": 10.0, "": 0.5}
"""What the additive model adds for a category; 0 for others, and "" stands for null."""


def additive(bias: float = 0.0, *, flat: bool = False) -> bytes:
    """x + y (1 where null) + the colour's number + bias; its output has shape (n, 1), or (n,) if `flat`."""
    nodes = [
        helper.make_node("Constant", [], ["one"], value_float=1.0),
        helper.make_node("Constant", [], ["bias"], value_float=bias),
        helper.make_node("IsNaN", ["y"], ["missing"]),
        helper.make_node("Where", ["missing", "one", "y"], ["filled"]),
        helper.make_node(
            "LabelEncoder", ["colour"], ["shade"], domain="ai.onnx.ml", keys_strings=list(COLOURS),
            values_floats=list(COLOURS.values()), default_float=0.0,
        ),
        helper.make_node("Sum", ["x", "filled", "shade", "bias"], ["sum"]),
    ]  # fmt: skip
    if flat:
        nodes += [
            helper.make_node("Constant", [], ["columns"], value_ints=[1]),
            helper.make_node("Squeeze", ["sum", "columns"], ["answer"]),
        ]
    return _model(nodes, "answer" if flat else "sum", ["n"] if flat else ["n", 1])


def classes() -> bytes:
    """The chances of three classes, shape (n, 3): softmax of (x, y, 0)."""
    nodes = [
        helper.make_node("Sub", ["x", "x"], ["zero"]),
        helper.make_node("Concat", ["x", "y", "zero"], ["scores"], axis=1),
        helper.make_node("Softmax", ["scores"], ["chances"], axis=1),
    ]
    return _model(nodes, "chances", ["n", 3])


def _model(nodes: list[onnx.NodeProto], output: str, shape: list[str | int]) -> bytes:
    kinds = {FeatureKind.NUMBER: TensorProto.FLOAT, FeatureKind.CATEGORY: TensorProto.STRING}
    inputs = [helper.make_tensor_value_info(each.name, kinds[each.kind], ["n", 1]) for each in FEATURES]
    graph = helper.make_graph(
        nodes, "tiny", inputs, [helper.make_tensor_value_info(output, TensorProto.FLOAT, shape)]
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)]
    model = helper.make_model(graph, opset_imports=opsets)
    model.ir_version = 8
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


def manifest(notes: str = "", runtime: str = "onnx", artifact: str = "") -> Manifest:
    return Manifest(runtime=runtime, artifact=artifact, features=FEATURES, notes=notes)


def version(number: int, runtime: str = "onnx") -> Version:
    made = manifest(str(number), runtime)
    return Version(model="m", number=number, digest=made.digest, manifest=made, registered_at=0)


@dataclass
class Scripted:
    """A runtime that answers what a function makes of the column x."""

    answer: Callable[[list[float]], Sequence[Any]]
    asked: int = 0
    native: bool = True

    def predict(self, columns: Columns) -> npt.NDArray[np.float64]:
        xs: list[float] = columns["x"].tolist()
        self.asked += len(xs)
        return np.array(self.answer(xs), dtype=np.float64)
