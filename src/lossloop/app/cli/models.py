"""`lossloop policy` and `lossloop register`: which models there are, and their versions."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import Parameter

from lossloop.app import operate
from lossloop.app.cli.common import DEFAULT_STATE, Json, StatePath, answer, home
from lossloop.core.errors import InputError
from lossloop.registry import Approval, Manifest


def policy(file: Path, /, *, state: StatePath = DEFAULT_STATE, json: Json = False) -> None:
    """Check a policy file and put it in force; its model exists from then on.

    Parameters
    ----------
    file
        The policy, as YAML.
    state
        The state directory.
    json
        Answer as JSON.
    """
    result = operate.set_policy(home(state), text_of(file), source=file.name)
    answer(msgspec.to_builtins(result), as_json=json, words=result.message)


def register(
    model: str,
    manifest: Path | None = None,
    /,
    *,
    artifact: Annotated[Path | None, Parameter(name="--artifact")] = None,
    transform: Annotated[Path | None, Parameter(name="--transform")] = None,
    signature: Annotated[Path | None, Parameter(name="--signature")] = None,
    state: StatePath = DEFAULT_STATE,
    json: Json = False,
) -> None:
    """Make a version of a model from a manifest and its artifact, or from an artifact that says enough.

    Parameters
    ----------
    model
        The model.
    manifest
        A JSON file: runtime, features, reference and lineage. Left out, the artifact tells the runtime and
        its features.
    artifact
        The model's file; left out where another system serves the version (runtime `external`).
    transform
        The file of the manifest's transform: an ONNX graph, or Python source.
    signature
        What `lossloop sign` wrote: somebody vouches for a version that brings code.
    state
        The state directory.
    json
        Answer as JSON.
    """
    if manifest is None and artifact is None:
        raise InputError("name a manifest, or a model's file with --artifact", field="manifest")
    read = Manifest() if manifest is None else manifest_of(manifest)
    data, name = (None, "") if artifact is None else (bytes_of(artifact), artifact.name)
    signed = None if signature is None else signature_of(signature)
    made = None if transform is None else bytes_of(transform)
    result = operate.register(home(state), model, read, data, file=name, signed=signed, transform=made)
    answer(msgspec.to_builtins(result), as_json=json, words=result.message)


def manifest_of(path: Path) -> Manifest:
    """The manifest in a file; InputError where it is none."""
    try:
        return msgspec.json.decode(text_of(path), type=Manifest)
    except msgspec.DecodeError as error:
        raise InputError(f"{path}: {error}", field="manifest") from None


def signature_of(path: Path) -> Approval:
    """The signature in a file; InputError where it is none."""
    try:
        return msgspec.json.decode(text_of(path), type=Approval)
    except msgspec.DecodeError as error:
        raise InputError(f"{path}: {error}", field="signature") from None


def text_of(path: Path) -> str:
    """What a text file holds; InputError where it cannot be read."""
    try:
        return bytes_of(path).decode()
    except UnicodeDecodeError:
        raise InputError(f"{path} is not text in UTF-8") from None


def bytes_of(path: Path) -> bytes:
    """What a file holds; InputError where it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
