"""The model that is served, a state directory that serves it, and the rows that it is asked for."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from lossloop.app import operate
from lossloop.app.commands import Promote
from lossloop.app.home import Home, init
from lossloop.core.errors import MissingExtra
from lossloop.registry import Feature, Manifest

MODEL = "bench"
FEATURES = tuple(f"x{number}" for number in range(10))
POLICY = f"""
model: {MODEL}
task: binary
loss: log_loss(cap=5)
mode: act
labels: {{mature_after: 30d}}
watches:
  worse: {{kind: guardrail, limit: 0.9, promise: 1 per 3650 blocks}}
rollout: {{steps: [50%], promote_if_within: 1, roll_back_if_worse_by: 2}}
"""
"""Nothing comes to be judged in a bench."""


def logistic(bias: float = 0.0) -> bytes:
    """Logistic regression of ten numbers as ONNX, with one input of shape (n, 10).

    Raises:
        MissingExtra: The library that writes ONNX is not installed.
    """
    try:
        helper: Any = importlib.import_module("onnx.helper")
        arrays: Any = importlib.import_module("onnx.numpy_helper")
    except ModuleNotFoundError:
        raise MissingExtra("onnx", "demo") from None
    single = 1  # TensorProto.FLOAT
    weights = np.random.default_rng(7).normal(size=(len(FEATURES), 1)).astype(np.float32)
    nodes = [
        helper.make_node("Gemm", ["x", "weights", "bias"], ["score"]),
        helper.make_node("Sigmoid", ["score"], ["chance"]),
    ]
    graph = helper.make_graph(
        nodes,
        "logistic",
        [helper.make_tensor_value_info("x", single, ["n", len(FEATURES)])],
        [helper.make_tensor_value_info("chance", single, ["n", 1])],
        [arrays.from_array(weights, "weights"), arrays.from_array(np.array([bias], np.float32), "bias")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return bytes(model.SerializeToString())


def manifest(notes: str = "") -> Manifest:
    """Of a version of the model."""
    return Manifest(runtime="onnx", features=tuple(Feature(name=name) for name in FEATURES), notes=notes)


def made(path: Path) -> Home:
    """A state directory with one version, which is the champion."""
    home = init(path)
    operate.set_policy(home, POLICY)
    operate.register(home, MODEL, manifest(), logistic())
    operate.obey(home, Promote(model=MODEL, version=1))
    return home


def body(rows: int, *, seed: int = 0) -> bytes:
    """A request for so many rows."""
    drawn = np.random.default_rng(seed).normal(size=(rows, len(FEATURES))).round(4).tolist()
    return msgspec.json.encode(
        {"rows": [{"features": dict(zip(FEATURES, row, strict=True))} for row in drawn]}
    )
