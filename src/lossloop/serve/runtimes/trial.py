"""Artifacts are tried in a process of their own before they are registered.

Libraries read them in compiled code. What is damaged, or made to harm, may end the process that reads it, or
keep it busy for ever: so it is not the server's, nor that of a person who registers. It has no secrets: of
the environment it gets what it needs to find its libraries.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import msgspec
import numpy as np

from lossloop.core.errors import InputError, LossloopError, MissingExtra
from lossloop.registry import Feature, FeatureKind, Manifest
from lossloop.serve.runtimes import features_of, load
from lossloop.serve.runtimes.base import Columns
from lossloop.serve.runtimes.inside import signal_name
from lossloop.serve.runtimes.libraries import told

PATIENCE = 120.0
MOST_BYTES = 2 << 30
"""The largest artifact."""
_SOUND = ("onnx",)
"""Formats whose reader told every damage that we tried; see docs/design/0023."""
_KEPT = ("HOME", "KERAS_BACKEND", "LANG", "LD_LIBRARY_PATH", "PATH", "PYTHONPATH", "TMPDIR", "XLA_FLAGS")
_NUMBERS = (0.0, 1.0, 0.5)
"""Small ones: a model may look them up in a table of its own."""


class _Told(msgspec.Struct, omit_defaults=True):
    """What a trial came to: an error, and what it is about."""

    error: str = ""
    field: str | None = None
    missing: bool = False
    manifest: Manifest | None = None


def tried(manifest: Manifest, artifact: bytes) -> Manifest:
    """Try an artifact where that is safe for its format; answer and raise as `check` does."""
    return (attempt if manifest.runtime in _SOUND else check)(manifest, artifact)


def check(manifest: Manifest, artifact: bytes, *, patience: float = PATIENCE) -> Manifest:
    """Load an artifact elsewhere and ask it for a few rows.

    Returns:
        The manifest; one without features has those that the artifact itself names.

    Raises:
        InputError: It cannot be loaded, does not fit its manifest, answers with no numbers, ends its
        process, or
            takes longer than `patience` seconds.
        MissingExtra: Its library is not installed.
    """
    if len(artifact) > MOST_BYTES:
        raise InputError(
            f"the artifact has {len(artifact):,} bytes; at most {MOST_BYTES:,} are taken", field="artifact"
        )
    sent = msgspec.json.encode(manifest)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "lossloop.serve.runtimes.trial"],
            input=len(sent).to_bytes(8) + sent + artifact, capture_output=True, check=False, timeout=patience,
            env=environment(),
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise InputError(
            f"the model was not loaded and asked within {patience:g} s", field="artifact"
        ) from None
    if done.returncode != 0 or not done.stdout:
        raise InputError(
            f"the artifact ended the process that tried it ({_end(done.returncode)}); it is damaged",
            field="artifact",
        )
    found = msgspec.json.decode(done.stdout.splitlines()[-1], type=_Told)
    if found.missing:
        raise _missing(found.error)
    if found.manifest is None:
        raise InputError(found.error, field=found.field)
    return found.manifest


def environment() -> dict[str, str]:
    """What a trial gets of the environment: where its libraries are, and no secrets."""
    return {name: os.environ[name] for name in _KEPT if name in os.environ}


def attempt(manifest: Manifest, artifact: bytes) -> Manifest:
    """Load an artifact here and ask it for a few rows; answer and raise as `check` does."""
    if not manifest.features:
        known = features_of(manifest.runtime, artifact)
        manifest = msgspec.structs.replace(manifest, features=known)
    runtime = load(manifest, artifact)
    rows = samples(manifest.features)
    try:
        found = runtime.predict(rows)
    except LossloopError:
        raise
    except Exception as error:  # a library's own
        if any(feature.kind is FeatureKind.CATEGORY for feature in manifest.features):
            return manifest  # it may refuse the categories that we made up
        raise InputError(f"the model cannot be asked: {told(error)}", field="artifact") from error
    if found.dtype != np.float64 or found.ndim not in (1, 2) or len(found) != _count(rows):
        raise InputError(
            f"the model answers {_count(rows)} rows with {found.dtype} of shape {found.shape}; one number "
            f"a row, or "
            "one a class",
            field="artifact",
        )
    return manifest


def samples(features: tuple[Feature, ...]) -> Columns:
    """A few rows such as may come: small numbers, categories that nobody has seen, and nulls."""
    return {feature.name: _sample(feature) for feature in features}


def _sample(feature: Feature) -> np.ndarray[Any, Any]:
    if feature.kind is FeatureKind.CATEGORY:
        return np.array(["", *(["a"] * (len(_NUMBERS) - 1)), None if feature.nullable else ""], dtype=object)
    return np.array([*_NUMBERS, np.nan if feature.nullable else 0.5])


def _count(rows: Columns) -> int:
    return len(next(iter(rows.values())))


def _end(code: int) -> str:
    return signal_name(-code) if code < 0 else f"exit code {code}"


def _missing(words: str) -> MissingExtra:
    error = MissingExtra("", "")
    error.args = (words,)
    return error


def main() -> None:
    """Try what standard input holds: the length of a manifest in 8 bytes, it, and an artifact."""
    sent = sys.stdin.buffer.read()
    size = int.from_bytes(sent[:8])
    manifest = msgspec.json.decode(sent[8 : 8 + size], type=Manifest)
    try:
        found = _Told(manifest=attempt(manifest, sent[8 + size :]))
    except MissingExtra as error:
        found = _Told(error=str(error), missing=True)
    except LossloopError as error:
        found = _Told(error=str(error), field=getattr(error, "field", None))
    sys.stdout.flush()
    sys.stdout.buffer.write(b"\n" + msgspec.json.encode(found) + b"\n")


if __name__ == "__main__":
    main()
