"""Transforms: one feature code, stored in the version, for training, serving and batches."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from lossloop.registry import By, Manifest, Transform
from lossloop.registry.process import Process
from lossloop.serve.runtimes import Permit, load, runs_code
from lossloop.serve.runtimes.base import Runtime
from lossloop.serve.runtimes.permits import required
from lossloop.serve.transforms.applied import Applied
from lossloop.serve.transforms.base import Transforming
from lossloop.serve.transforms.onnx import OnnxTransform
from lossloop.serve.transforms.python import PythonTransform

Get = Callable[[str], bytes]
"""The bytes behind a digest."""


def brings_code(manifest: Manifest) -> bool:
    """Whether a version brings code that is run: as its model, or as its transform."""
    return runs_code(manifest.runtime) or (
        manifest.transform is not None and manifest.transform.runtime == "python"
    )


def load_transform(
    transform: Transform, artifact: bytes, process: Process | None = None, permit: Permit | None = None
) -> Transforming:
    """Load a transform.

    Args:
        transform: What the manifest says of it.
        artifact: Its bytes.
        process: Limits of the process of one in Python.
        permit: Shows that somebody answers for its code.

    Raises:
        InputError: The artifact is none, or does not fit what the manifest says.
        MissingExtra: Its library is not installed.
        Forbidden: It is code, and there is no permit.
    """
    if transform.runtime == "python":
        return PythonTransform(artifact, transform, process, required(permit, "python"))
    return OnnxTransform(artifact, transform)


def load_version(manifest: Manifest, get: Get, permit: Permit | None = None) -> Runtime:
    """Load a version's model, behind its transform where Lossloop applies that.

    Raises:
        InputError: An artifact is damaged, something else, or does not fit the manifest.
        StateError: An artifact is missing.
        MissingExtra: A library is not installed.
        Forbidden: It brings code, and there is no permit.
    """
    transform = manifest.transform
    model = load(model_of(manifest), get(manifest.artifact), permit)
    if transform is None or transform.by is By.CALLER:
        return model
    made = load_transform(transform, get(transform.artifact), manifest.process, permit)
    return Applied(made, model)


def model_of(manifest: Manifest) -> Manifest:
    """What the model alone is: it takes what the transform makes."""
    if manifest.transform is None:
        return manifest
    return msgspec.structs.replace(manifest, features=manifest.transform.features, transform=None)


__all__ = [
    "Applied", "Get", "OnnxTransform", "PythonTransform", "Transforming", "brings_code", "load_transform",
    "load_version", "model_of",
]  # fmt: skip
