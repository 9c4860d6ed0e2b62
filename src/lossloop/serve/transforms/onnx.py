"""A transform as an ONNX graph: an input of shape (n, 1) for each raw input, an output for each feature.

An output has the feature's name and shape (n, 1) or (n,). A feature that the graph does not make is the raw
input of its name. An empty text is null, and so is NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from lossloop.core.errors import InputError, alternatives
from lossloop.registry import Feature, FeatureKind, Transform
from lossloop.serve.runtimes.base import Columns
from lossloop.serve.runtimes.onnx import TEXT, fed, session_of, type_of


class OnnxTransform:
    """A session on one thread.

    Raises:
        InputError: The graph takes or makes something else than the manifest says.
    """

    native = True

    def __init__(self, artifact: bytes, transform: Transform) -> None:
        self._session = session_of(artifact)
        kinds = {feature.name: feature.kind for feature in transform.inputs}
        inputs = self._session.get_inputs()
        for each in inputs:
            if each.name not in kinds:
                words = f"the transform takes {each.name!r}; {alternatives(each.name, kinds)}"
                raise InputError(words, field="transform.inputs")
        self._types = {each.name: type_of(each, kinds[each.name]) for each in inputs}
        outputs = {each.name: each for each in self._session.get_outputs()}
        self._features = tuple(transform.features)
        self._made = [feature.name for feature in transform.features if feature.name in outputs]
        for feature in transform.features:
            _check(feature, outputs.get(feature.name), transform.inputs)

    def apply(self, columns: Columns) -> Columns:
        feeds = {name: fed(columns[name], kind) for name, kind in self._types.items()}
        found = dict(zip(self._made, self._session.run(self._made, feeds), strict=True)) if self._made else {}
        rows = len(next(iter(columns.values())))
        return {
            feature.name: _column(feature, found[feature.name], rows)
            if feature.name in found
            else columns[feature.name]
            for feature in self._features
        }


def _check(feature: Feature, output: Any, inputs: Sequence[Feature]) -> None:
    if output is None:
        raw = next((each for each in inputs if each.name == feature.name), None)
        if raw is None or raw.kind is not feature.kind:
            raise InputError(
                f"the transform makes no {feature.name!r}, and no raw input has that name and kind",
                field="transform.features",
            )
        return
    if (output.type == TEXT) != (feature.kind is FeatureKind.CATEGORY):
        raise InputError(
            f"the transform makes {feature.name!r} as {output.type}, which is no {feature.kind}",
            field="transform.features",
        )


def _column(feature: Feature, made: Any, rows: int) -> np.ndarray[Any, Any]:
    flat = np.asarray(made).reshape(-1)
    if len(flat) != rows:  # one value for all of them would be made of their neighbours
        raise InputError(
            f"the transform made {len(flat)} values of {feature.name!r} for {rows} rows", field="transform"
        )
    if feature.kind is FeatureKind.NUMBER:
        return flat.astype(np.float64)
    column = np.empty(len(flat), object)
    column[:] = [str(value) or None for value in flat.tolist()]
    return column
