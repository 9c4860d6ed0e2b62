"""A small network as ONNX, with weights that can be made smaller."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper, numpy_helper


def network(width: int = 64) -> bytes:
    """Two inputs in one table, two hidden layers, one chance."""
    draw = np.random.default_rng(3)
    shapes = {"w1": (2, width), "w2": (width, width), "w3": (width, 1)}
    weights = {name: draw.normal(size=shape) / np.sqrt(shape[0]) for name, shape in shapes.items()}
    nodes = [
        helper.make_node("MatMul", ["rows", "w1"], ["a1"]),
        helper.make_node("Relu", ["a1"], ["h1"]),
        helper.make_node("MatMul", ["h1", "w2"], ["a2"]),
        helper.make_node("Relu", ["a2"], ["h2"]),
        helper.make_node("MatMul", ["h2", "w3"], ["a3"]),
        helper.make_node("Sigmoid", ["a3"], ["y_pred"]),
    ]
    graph = helper.make_graph(
        nodes,
        "network",
        [helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["n", 2])],
        [helper.make_tensor_value_info("y_pred", TensorProto.FLOAT, ["n", 1])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString(deterministic=True))
