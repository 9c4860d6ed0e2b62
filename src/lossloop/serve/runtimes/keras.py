"""Keras models (.keras) on JAX, in Keras' safe mode: layers that hold code of their own are refused.

One input of shape (n, features) in the manifest's order, or one of shape (n, 1) for each feature, by name.
Numbers go in as float32, NaN for null. Rows are padded to a power of two, so that few sizes are compiled.
"""

from __future__ import annotations

import os
import tempfile
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from lossloop.core.errors import InputError
from lossloop.registry import Feature, Manifest
from lossloop.serve.runtimes.base import Columns, Floats
from lossloop.serve.runtimes.inputs import Matrix, answers, only_numbers, order
from lossloop.serve.runtimes.libraries import library, reading

_MOST_BYTES = 4 << 30
_MOST_ROWS = 1024
"""Rows that are asked for at once; more come in parts."""


class KerasRuntime:
    """A compiled model on one thread, where this is what loads JAX."""

    native = False

    def __init__(self, artifact: bytes, manifest: Manifest) -> None:
        only_numbers(
            manifest.features, "Keras' layers for texts need TensorFlow; encode it before, or take ONNX"
        )
        model = read(artifact)
        if len(model.outputs) != 1:
            raise InputError(f"the model has {len(model.outputs)} outputs; serve one", field="artifact")
        self._by_name = _by_name(model)
        known, count = _inputs(model)
        self._names = order(manifest.features, known, count)
        self._matrix = Matrix(self._names, np.float32)
        # As NumPy arrays, and handed over at each call: what Keras keeps, its own predict() may give away.
        self._weights = [
            [np.asarray(each.value) for each in group]
            for group in (model.trainable_variables, model.non_trainable_variables)
        ]
        self._ask = library("jax", "jax").jit(
            lambda weights, rows: model.stateless_call(*weights, rows, training=False)[0]
        )

    def predict(self, columns: Columns) -> Floats:
        rows = self._matrix.of(columns)
        parts = [self._part(rows[at : at + _MOST_ROWS]) for at in range(0, len(rows), _MOST_ROWS)]
        return answers(parts[0] if len(parts) == 1 else np.concatenate(parts))

    def _part(self, rows: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        count = len(rows)
        room = 1 << (count - 1).bit_length()
        if room > count:
            rows = np.concatenate([rows, np.zeros((room - count, rows.shape[1]), dtype=rows.dtype)])
        given: Any = rows
        if self._by_name:
            given = {name: rows[:, place : place + 1] for place, name in enumerate(self._names)}
        return np.asarray(self._ask(self._weights, given))[:count]


def features(artifact: bytes) -> tuple[Feature, ...] | None:
    """The names of a model's inputs, where it has one for each feature; None otherwise."""
    known, _ = _inputs(read(artifact))
    return None if known is None else tuple(Feature(name=name) for name in known)


def read(artifact: bytes) -> Any:
    """The model in a file; raise InputError where there is none."""
    with reading("a Keras model"), zipfile.ZipFile(BytesIO(artifact)) as found:
        size = sum(each.file_size for each in found.infolist())
        if size > _MOST_BYTES:
            raise InputError(
                f"unpacked the file has {size:,} bytes; at most {_MOST_BYTES:,}", field="artifact"
            )
    os.environ.setdefault("KERAS_BACKEND", "jax")
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")
    library("jax", "jax")
    keras = library("keras", "keras")
    if keras.backend.backend() != "jax":
        raise InputError(
            f"Keras runs on {keras.backend.backend()} here; set KERAS_BACKEND=jax, or leave it out",
            field="runtime",
        )
    with reading("a Keras model"), tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "model.keras"  # Keras reads files by their names alone
        path.write_bytes(artifact)
        return keras.saving.load_model(path, compile=False, safe_mode=True)


def _by_name(model: Any) -> bool:
    return isinstance(model.input_shape, dict) or len(model.inputs) > 1


def _inputs(model: Any) -> tuple[list[str] | None, int]:
    """The names of the inputs, one for each feature, or None; and how many features there are."""
    shapes = [tuple(each.shape) for each in model.inputs]
    if _by_name(model):
        if not isinstance(model.input, dict) or any(shape != (None, 1) for shape in shapes):
            raise InputError(
                "several inputs must be a dictionary of inputs of shape (n, 1), one for each feature",
                field="artifact",
            )
        return [str(name) for name in model.input], len(shapes)
    if len(shapes[0]) != 2 or shapes[0][0] is not None:
        raise InputError(f"the model's input has shape {shapes[0]}, not (n, features)", field="artifact")
    return None, int(shapes[0][1])
