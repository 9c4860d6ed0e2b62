"""What a client is told of a server and of a model, before it asks anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lossloop.core.tasks import LISTED, Task
from lossloop.registry import FeatureKind, Version
from lossloop.serve.inference.datatypes import BYTES, FP64, INT64
from lossloop.serve.inference.inputs import PREDICTION_ID
from lossloop.serve.inference.outputs import ACTION, ROLE, VERSION, Y_PRED

EXTENSIONS = ("binary_tensor_data", "model_repository", "parameters")


@dataclass(frozen=True, kw_only=True, slots=True)
class TensorShape:
    """A tensor of a model: -1 stands for any length."""

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelMetadata:
    """A model, the versions that can be asked for, and its tensors."""

    name: str
    versions: tuple[str, ...]
    platform: str
    inputs: tuple[TensorShape, ...]
    outputs: tuple[TensorShape, ...]


def describe(version: Version, task: Task, ready: Sequence[int]) -> ModelMetadata:
    """A version's features as inputs, and all outputs that can be asked for."""
    manifest = version.manifest
    inputs = tuple(
        TensorShape(
            name=feature.name, datatype=FP64 if feature.kind is FeatureKind.NUMBER else BYTES, shape=(-1,)
        )
        for feature in manifest.features
    )
    texts = [PREDICTION_ID, ROLE] if manifest.thresholds is None else [PREDICTION_ID, ROLE, ACTION]
    outputs = (
        TensorShape(name=Y_PRED, datatype=FP64, shape=(-1, -1) if task in LISTED else (-1,)),
        TensorShape(name=VERSION, datatype=INT64, shape=(-1,)),
        *(TensorShape(name=name, datatype=BYTES, shape=(-1,)) for name in texts),
    )
    return ModelMetadata(
        name=version.model,
        versions=tuple(str(number) for number in sorted(ready)),
        platform=f"lossloop_{manifest.runtime}",
        inputs=inputs,
        outputs=outputs,
    )
