"""Transforms small enough to be made in a line, and rows that they fit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from lossloop.registry import By, Feature, FeatureKind, Transform
from lossloop.serve.runtimes import Columns
from tests.serve.models import FEATURES

INPUTS = (
    Feature(name="metres"),
    Feature(name="y", nullable=True),
    Feature(name="paint", kind=FeatureKind.CATEGORY, nullable=True),
)
"""Raw: x is made of metres, y stays, and the colour is made of the paint."""
PAINTS = {"crimson": "red", "navy": "blue", "": ""}


def kilometres(per: float = 1000.0, *, default: str = "") -> bytes:
    """x = metres / per; colour by PAINTS; y as it is, which the graph does not make.

    An unknown paint is of the default colour; so is none, unless that is null as well.
    """
    nodes = [
        helper.make_node("Constant", [], ["per"], value_float=per),
        helper.make_node("Div", ["metres", "per"], ["x"]),
        helper.make_node(
            "LabelEncoder", ["paint"], ["colour"], domain="ai.onnx.ml", keys_strings=list(PAINTS),
            values_strings=[value or default for value in PAINTS.values()], default_string=default,
        ),
    ]  # fmt: skip
    return graph(nodes, {"metres": TensorProto.FLOAT, "paint": TensorProto.STRING},
                 {"x": TensorProto.FLOAT, "colour": TensorProto.STRING})  # fmt: skip


def graph(nodes: Sequence[onnx.NodeProto], inputs: Mapping[str, int], outputs: Mapping[str, int]) -> bytes:
    """A model of columns."""
    made = helper.make_model(
        helper.make_graph(list(nodes), "transform", _infos(inputs), _infos(outputs)),
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 3)],
    )
    made.ir_version = 8
    onnx.checker.check_model(made)
    return bytes(made.SerializeToString(deterministic=True))


def _infos(columns: Mapping[str, int]) -> list[onnx.ValueInfoProto]:
    return [helper.make_tensor_value_info(name, kind, ["n", 1]) for name, kind in columns.items()]


def transform(**said: Any) -> Transform:
    """What the manifest says of it: its features are those of the additive model."""
    return Transform(**{"runtime": "onnx", "inputs": INPUTS, "features": FEATURES, "by": By.SERVER, **said})


def raw(count: int = 6) -> Columns:
    """Raw inputs of n rows."""
    paints = np.empty(count, object)
    paints[:] = [["crimson", "navy", None, "beige"][place % 4] for place in range(count)]
    ys = np.array([np.nan if place % 3 == 0 else float(place) for place in range(count)])
    return {"metres": np.arange(count) * 500.0, "y": ys, "paint": paints}
