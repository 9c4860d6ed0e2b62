"""ONNX models with smaller weights, by ONNX Runtime's own tools."""

from __future__ import annotations

import logging
import tempfile
import warnings
from pathlib import Path
from typing import Any

from lossloop.core.errors import InputError
from lossloop.serve.runtimes.libraries import library, reading

_DENSE = {"Conv", "Gemm", "LSTM", "MatMul"}
"""Operators with weights that can be made smaller."""


def quantize(artifact: bytes, way: str) -> bytes:
    """An ONNX model whose weights take 8 bits (``dynamic``) or 16 (``float16``); inputs and outputs stay.

    Raises:
        InputError: It has no such weights: trees and linear models of converters have none.
        MissingExtra: The libraries that do it are not installed.
    """
    onnx = library("onnx", "convert")
    with reading("an ONNX model"):
        model = onnx.load_from_string(artifact)
    if not any(node.op_type in _DENSE for node in model.graph.node):
        raise InputError(
            "the model has no layers with weights that could be quantised; keep fewer of its trees instead",
            field="quantize",
        )
    with reading("an ONNX model that can be quantised, nor one"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _half(model) if way == "float16" else _dynamic(model)


def _half(model: Any) -> bytes:
    tools = library("onnxruntime.transformers.float16", "convert", name="onnxruntime")
    return bytes(tools.convert_float_to_float16(model, keep_io_types=True).SerializeToString())


def _dynamic(model: Any) -> bytes:
    tools = library("onnxruntime.quantization", "convert", name="onnxruntime")
    kept = logging.root.level
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "model.onnx"
        logging.root.setLevel(logging.ERROR)  # it advises about steps that matter to graphs of images
        try:
            tools.quantize_dynamic(model, str(path))
        finally:
            logging.root.setLevel(kept)
        return path.read_bytes()
