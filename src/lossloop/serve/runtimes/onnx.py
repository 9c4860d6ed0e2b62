"""ONNX models through ONNX Runtime.

They have one input of shape (n, 1) for each feature, or one of shape (n, features) in the manifest's order.
Numbers go in with NaN for null, categories as strings with "" for null. What cannot be held by a model's
single precision is infinite there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lossloop.core.errors import InputError, UnknownName
from lossloop.registry import Feature, FeatureKind, Manifest
from lossloop.serve.runtimes.alone import one_by_one
from lossloop.serve.runtimes.base import Columns, Floats
from lossloop.serve.runtimes.inputs import Matrix, answers, kinds, only_numbers, order
from lossloop.serve.runtimes.libraries import library, reading

_TYPES: Mapping[str, type[np.generic]] = {
    "tensor(float)": np.float32, "tensor(double)": np.float64, "tensor(float16)": np.float16,
    "tensor(int64)": np.int64, "tensor(int32)": np.int32, "tensor(bool)": np.bool_,
}  # fmt: skip
TEXT = "tensor(string)"
_MAPS = "seq(map("
"""How the types of chances begin that a converter made a dictionary of, for each row one."""
_LABELS = ("tensor(int64)", TEXT)


class OnnxRuntime:
    """A session on one thread, so that the same rows give the same bits."""

    native = True

    def __init__(self, artifact: bytes, manifest: Manifest) -> None:
        session = session_of(artifact)
        inputs, wanted = session.get_inputs(), kinds(manifest.features)
        self._matrix: Matrix | None = None
        if _is_table(inputs, manifest.features):
            (table,) = inputs
            only_numbers(manifest.features, "the model takes one table of numbers")
            count = table.shape[1] if isinstance(table.shape[1], int) else len(manifest.features)
            self._matrix = Matrix(order(manifest.features, None, count), _number(table))
            self._input = table.name
        else:
            order(manifest.features, [each.name for each in inputs], len(inputs))
        self._types = {each.name: type_of(each, wanted.get(each.name)) for each in inputs}
        self._output, self._binary = _output(session.get_outputs(), manifest.options.output)
        self._session = session

    def predict(self, columns: Columns) -> Floats:
        if self._matrix is not None:
            feeds = {self._input: self._matrix.of(columns)}
        else:
            feeds = {name: fed(columns[name], kind) for name, kind in self._types.items()}
        try:
            (found,) = self._session.run([self._output], feeds)
        except Exception as error:  # a dozen classes of its own, and no root of them
            if self._matrix is not None or len(next(iter(columns.values()))) < 2:
                raise
            return one_by_one(self.predict, columns, (type(error),))
        if isinstance(found, list):  # a dictionary for each row, from class to chance
            found = [list(row.values()) for row in found]
        made = answers(found)
        return made[:, 1] if self._binary and made.ndim == 2 and made.shape[1] == 2 else made


def features(artifact: bytes) -> tuple[Feature, ...] | None:
    """What the model knows of its features: its inputs; None where it takes all of them as one table."""
    inputs = session_of(artifact).get_inputs()
    if len(inputs) == 1 and not _isfed(inputs[0]):
        return None
    return tuple(
        Feature(name=each.name, kind=FeatureKind.CATEGORY if each.type == TEXT else FeatureKind.NUMBER)
        for each in inputs
    )


def session_of(artifact: bytes) -> Any:
    """A session on one thread; InputError where the bytes are no model."""
    found = library("onnxruntime", "onnx")
    options = found.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # what it raises it would print as well
    with reading("an ONNX model"):
        return found.InferenceSession(artifact, options, providers=["CPUExecutionProvider"])


def _isfed(given: Any) -> bool:
    return len(given.shape) < 2 or given.shape[1] == 1


def _is_table(inputs: Sequence[Any], features: Sequence[Feature]) -> bool:
    """Whether one input takes all features; one that has a feature's name is that feature."""
    if len(inputs) != 1 or len(inputs[0].shape) != 2:
        return False
    return not _isfed(inputs[0]) or [each.name for each in features] != [inputs[0].name]


def _number(given: Any) -> type[np.floating[Any]]:
    found = _TYPES.get(given.type)
    if found is None or not issubclass(found, np.floating):
        raise InputError(f"the model's input is {given.type}, not a table of numbers", field="artifact")
    return found


def type_of(given: Any, kind: FeatureKind | None) -> type[np.generic] | None:
    """As what a column goes in; None for texts."""
    if given.type == TEXT:
        if kind is FeatureKind.NUMBER:
            raise InputError(
                f"feature {given.name!r} is a number, and the model takes texts", field="features"
            )
        return None
    if given.type not in _TYPES:
        raise InputError(
            f"the model's input {given.name!r} is {given.type}, not numbers or texts", field="artifact"
        )
    if kind is FeatureKind.CATEGORY:
        raise InputError(
            f"feature {given.name!r} is a category, and the model takes numbers", field="features"
        )
    return _TYPES[given.type]


def _output(outputs: Sequence[Any], wanted: str) -> tuple[str, bool]:
    """The output to take, and whether it is a classifier's: of two classes the second one's chance counts."""
    by_name = {each.name: each for each in outputs}
    if wanted and wanted not in by_name:
        raise UnknownName("output", wanted, by_name, field="options.output")
    if wanted or len(outputs) == 1:
        found = by_name[wanted] if wanted else outputs[0]
        return found.name, found.type.startswith(_MAPS)
    if (
        len(outputs) == 2 and outputs[0].type in _LABELS
    ):  # as converters make classifiers: labels, and chances
        return outputs[1].name, True
    raise InputError(
        f"the model has the outputs {', '.join(by_name)}; choose one with options.output",
        field="options.output",
    )


def fed(column: np.ndarray[Any, Any], kind: type[np.generic] | None) -> np.ndarray[Any, Any]:
    """A column as a model takes it: shape (n, 1); texts where `kind` is None."""
    if kind is None:
        return np.array([value or "" for value in column.tolist()], dtype=object)[:, None]
    with np.errstate(over="ignore"):
        return column.astype(kind)[:, None]
