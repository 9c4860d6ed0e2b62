"""A version with a transform: both are tried, apart and together, before anything is registered."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from lossloop.core.errors import InputError, LossloopError
from lossloop.core.ids import digest
from lossloop.registry import Artifacts, By, Manifest
from lossloop.serve.runtimes import EXTERNAL, Permit
from lossloop.serve.runtimes.libraries import told
from lossloop.serve.runtimes.trial import samples, tried
from lossloop.serve.transforms import load_transform, load_version, model_of
from lossloop.serve.warming import warm


def with_transform(
    artifacts: Artifacts, manifest: Manifest, transform: bytes | None
) -> tuple[Manifest, bytes]:
    """The manifest with its transform's digest, and the transform's bytes.

    Args:
        artifacts: Where a transform is that is not given again.
        manifest: Says what it takes and makes.
        transform: Its bytes.

    Raises:
        InputError: There is no transform where one is told of, or the other way round, or nobody applies it.
    """
    said = manifest.transform
    if said is None:
        raise InputError(
            "the manifest says nothing of a transform: write what it takes and makes under transform",
            field="transform",
        )
    if manifest.runtime == EXTERNAL and said.by is By.SERVER:
        words = "another system serves the version, so its callers make the features: write by: caller"
        raise InputError(words, field="transform.by")
    if transform is None:
        if not said.artifact:
            raise InputError(
                "the manifest has a transform: give its file with --transform", field="transform"
            )
        transform = artifacts.get(said.artifact)
    stored = msgspec.structs.replace(said, artifact=digest(transform))
    return msgspec.structs.replace(manifest, transform=stored), transform


def tried_behind(manifest: Manifest, artifact: bytes) -> Manifest:
    """Try a model by itself, with the features that the transform makes; return the whole manifest."""
    tried(model_of(manifest), artifact)
    return manifest


def try_version(manifest: Manifest, parts: Mapping[str, bytes], permit: Permit | None) -> None:
    """Load a version of bytes that are not stored yet, and ask it for a few rows.

    Raises:
        InputError: It cannot be loaded or asked.
        StateError: It failed at its first rows.
    """
    if manifest.runtime != EXTERNAL:
        runtime = load_version(manifest, parts.__getitem__, permit)
        try:
            warm(manifest, runtime)
        finally:
            close_ = getattr(runtime, "close", None)
            if close_ is not None:
                close_()
    said = manifest.transform
    if said is None or said.by is By.SERVER:
        return
    made = load_transform(said, parts[said.artifact], manifest.process, permit)
    try:
        made.apply(samples(said.inputs))
    except LossloopError:
        raise
    except Exception as error:  # a library's own
        raise InputError(f"the transform cannot be asked: {told(error)}", field="transform") from error
