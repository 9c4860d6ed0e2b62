"""Model runtimes by name; a version's manifest says which one runs its artifact."""

from __future__ import annotations

from collections.abc import Mapping

from lossloop.core.errors import InputError, UnknownName
from lossloop.registry import Feature, Manifest
from lossloop.serve.runtimes import catboost, keras, lightgbm, onnx, skops, xgboost
from lossloop.serve.runtimes.base import Columns, Format, Runtime
from lossloop.serve.runtimes.catboost import CatboostRuntime
from lossloop.serve.runtimes.child import ASIDE, ChildRuntime, without_permit
from lossloop.serve.runtimes.keras import KerasRuntime
from lossloop.serve.runtimes.libraries import reading
from lossloop.serve.runtimes.lightgbm import LightgbmRuntime
from lossloop.serve.runtimes.onnx import OnnxRuntime
from lossloop.serve.runtimes.permits import Permit, required
from lossloop.serve.runtimes.picking import picked
from lossloop.serve.runtimes.skops import SkopsRuntime
from lossloop.serve.runtimes.torch import TorchRuntime
from lossloop.serve.runtimes.xgboost import XgboostRuntime

RUNTIMES: Mapping[str, Format] = {
    "catboost": Format(load=CatboostRuntime, features=catboost.features),
    "keras": Format(load=KerasRuntime, features=keras.features),
    "lightgbm": Format(load=LightgbmRuntime, features=lightgbm.features),
    "onnx": Format(load=OnnxRuntime, features=onnx.features),
    "skops": Format(load=SkopsRuntime, features=skops.features),
    "torch": Format(load=TorchRuntime, code=True),
    "xgboost": Format(load=XgboostRuntime, features=xgboost.features),
    **{name: Format(load=without_permit, code=True) for name in ASIDE},
}
EXTERNAL = "external"
"""The runtime of versions that another system serves."""


def check_name(name: str) -> None:
    """Raise UnknownName for a runtime that does not exist."""
    if name != EXTERNAL and name not in RUNTIMES:
        raise UnknownName("runtime", name, [*RUNTIMES, EXTERNAL], field="runtime")


def runs_code(name: str) -> bool:
    """Whether a version of this runtime brings code that is run."""
    return name in RUNTIMES and RUNTIMES[name].code


def load(manifest: Manifest, artifact: bytes, permit: Permit | None = None) -> Runtime:
    """Load an artifact as its manifest says.

    Raises:
        UnknownName: There is no such runtime.
        InputError: The artifact is damaged, something else, or does not fit the manifest.
        MissingExtra: The runtime's library is not installed.
        Forbidden: It brings code, and there is no permit.
    """
    found = _format(manifest.runtime)
    if manifest.runtime in ASIDE:
        runtime = ChildRuntime(manifest.runtime, artifact, manifest, required(permit, manifest.runtime))
        return picked(runtime, manifest.options.column)
    if found.code:
        raise InputError(
            f"an artifact of the runtime {manifest.runtime!r} can run code when it is loaded, which is not "
            "done here; convert it to ONNX",
            field="runtime",
        )
    with reading(f"a model for the runtime {manifest.runtime}"):
        return picked(found.load(artifact, manifest), manifest.options.column)


def features_of(runtime: str, artifact: bytes) -> tuple[Feature, ...]:
    """What an artifact itself knows of its features.

    Raises:
        InputError: It knows nothing; says what a manifest must say.
    """
    told = _format(runtime).features
    with reading(f"a model for the runtime {runtime}"):
        found = None if told is None else told(artifact)
    if found is None:
        raise InputError(
            "the model does not name its features; write a manifest that lists them in the model's order",
            field="features",
        )
    return found


def _format(name: str) -> Format:
    if name not in RUNTIMES:
        raise UnknownName("runtime", name, RUNTIMES, field="runtime")
    return RUNTIMES[name]


__all__ = [
    "ASIDE", "EXTERNAL", "RUNTIMES", "Columns", "Format", "Permit", "Runtime", "check_name", "features_of",
    "load", "runs_code",
]  # fmt: skip
