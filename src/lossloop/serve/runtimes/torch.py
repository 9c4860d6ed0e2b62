"""Programs that torch.export saved (.pt2).

Loading one may run code that it brings: PyTorch unpickles parts of it, and gives no way to forbid that.
One input of shape (n, features) in the manifest's order, or one of shape (n, 1) for each feature in that
order; the number of rows must be dynamic. Numbers go in as float32, NaN for null.
"""

from __future__ import annotations

from io import BytesIO
from typing import Any

import numpy as np

from lossloop.core.errors import InputError
from lossloop.registry import Manifest
from lossloop.serve.runtimes.base import Columns, Floats
from lossloop.serve.runtimes.inputs import Matrix, answers, only_numbers, order
from lossloop.serve.runtimes.libraries import library, reading


class TorchRuntime:
    """A program on one thread, with no gradients."""

    native = False

    def __init__(self, artifact: bytes, manifest: Manifest) -> None:
        only_numbers(manifest.features, "a program of tensors takes none; encode it before, or take ONNX")
        torch = library("torch", "torch")
        torch.set_num_threads(1)
        with reading("a program of torch.export"):
            program = torch.export.load(BytesIO(artifact))
            self._module: Any = program.module()
            inputs = len(program.graph_signature.user_inputs)
        names = [feature.name for feature in manifest.features]
        self._each = inputs > 1
        self._matrix = Matrix(order(manifest.features, None, inputs) if self._each else names, np.float32)
        self._torch = torch

    def predict(self, columns: Columns) -> Floats:
        rows = self._torch.from_numpy(self._matrix.of(columns))
        given = rows.split(1, dim=1) if self._each else (rows,)
        with self._torch.inference_mode():
            found = self._module(*given)
        if not isinstance(found, self._torch.Tensor):
            raise InputError("the program answers with something else than one tensor", field="artifact")
        return answers(found.numpy())
