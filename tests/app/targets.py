"""Retrain targets, as a user's own package has them."""

from __future__ import annotations

import os

import onnx
from onnx import TensorProto, helper

from lossloop.act.retrain import Trained, TrainingData
from lossloop.registry import Feature, Reference

REFERENCE = Reference(
    loss="brier", mean=0.1, block="1d", block_means=(0.1, 0.1, 0.1), rows=30, design_effect=1.0
)


def train(data: TrainingData) -> Trained:
    """Remember what was given; the version is served elsewhere."""
    lineage = {
        "rows_seen": len(data.rows),
        "columns": data.rows.column_names,
        "secret": "SECRET" in os.environ,
    }
    return Trained(artifact=b"", runtime="external", features=(), reference=REFERENCE, lineage=lineage)


def fail(data: TrainingData) -> Trained:
    """Not today."""
    raise RuntimeError("the trainer found no disk")


def answer_something_else(data: TrainingData) -> int:
    """Not a version."""
    return len(data.rows)


def leave(data: TrainingData) -> Trained:
    """End the process without a word."""
    os._exit(7)


def rate_of_late(data: TrainingData) -> Trained:
    """The share of 1 in the latest rows, as a constant model; a warm one goes half the way to it."""
    late = data.rows["y_true"].to_numpy()[-100:]
    rate = float(late.mean())
    if data.previous is not None:
        rate = 0.5 * rate + 0.5 * float(onnx.load_from_string(data.previous).doc_string)
    reference = Reference(
        loss="brier", mean=rate * (1 - rate), block="1d", block_means=(rate * (1 - rate),) * 8,
        rows=len(late), design_effect=1.0,
    )  # fmt: skip
    lineage = {"rate": rate, "warm": data.previous is not None}
    return Trained(
        artifact=constant(rate), runtime="onnx", features=(Feature(name="x"),), reference=reference,
        lineage=lineage,
    )  # fmt: skip


def constant(rate: float) -> bytes:
    """An ONNX model that answers a rate whatever it is asked; its doc string says the rate."""
    nodes = [
        helper.make_node("Constant", [], ["nothing"], value_float=0.0),
        helper.make_node("Constant", [], ["rate"], value_float=rate),
        helper.make_node("Mul", ["x", "nothing"], ["gone"]),
        helper.make_node("Add", ["gone", "rate"], ["y_pred"]),
    ]
    graph = helper.make_graph(
        nodes, "constant",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1])],
        [helper.make_tensor_value_info("y_pred", TensorProto.FLOAT, ["n", 1])],
    )  # fmt: skip
    made = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10, doc_string=str(rate)
    )
    return bytes(made.SerializeToString())
