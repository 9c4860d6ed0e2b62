"""ONNX models through ONNX Runtime: one input of shape (n, 1) per feature, one output.

Numbers go in as float32 with NaN for null, categories as strings with "" for null.
"""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from lossloop.core.errors import InputError, MissingExtra
from lossloop.serve.runtimes.base import Columns, Floats


class OnnxRuntime:
    """A session on one thread, so that the same rows give the same bits.

    Raises:
        MissingExtra: onnxruntime is not installed.
        InputError: The bytes are no ONNX model that this runtime can load.
    """

    native = True

    def __init__(self, artifact: bytes) -> None:
        try:
            library: Any = importlib.import_module("onnxruntime")
        except ModuleNotFoundError:
            raise MissingExtra("onnxruntime", "onnx") from None
        options = library.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        try:
            self._session = library.InferenceSession(artifact, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises a dozen classes of its own, all of them "bad model"
            raise InputError(f"not an ONNX model that can be loaded: {error}", field="artifact") from error
        self._output = self._session.get_outputs()[0].name

    def predict(self, columns: Columns) -> Floats:
        feeds = {name: _input(column) for name, column in columns.items()}
        (found,) = self._session.run([self._output], feeds)
        answers = np.asarray(found, dtype=np.float64)
        return answers[:, 0] if answers.ndim == 2 and answers.shape[1] == 1 else answers


def _input(column: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if column.dtype == object:
        return np.array([value or "" for value in column.tolist()], dtype=object)[:, None]
    with np.errstate(over="ignore"):  # what is too large for float32 is infinite there
        return column.astype(np.float32)[:, None]
