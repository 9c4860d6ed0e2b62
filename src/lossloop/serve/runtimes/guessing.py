"""Which runtime a file is for, by its first bytes, or by its name where these say nothing."""

from __future__ import annotations

import io
import zipfile
from pathlib import PurePath

from lossloop.core.errors import InputError

_BEGINNINGS = {b"CBM1": "catboost", b"tree\nversion=": "lightgbm"}
_ENDINGS = {
    ".cbm": "catboost",
    ".keras": "keras",
    ".onnx": "onnx",
    ".pt2": "torch",
    ".skops": "skops",
    ".ubj": "xgboost",
}
_HINT = 4096
_PICKLES = (b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
"""How what Python's pickle or joblib writes begins, by the protocol."""


def runtime_of(artifact: bytes, name: str = "") -> str:
    """The runtime for an artifact.

    Args:
        artifact: Its bytes.
        name: Its file's name, if it has one.

    Raises:
        InputError: It may be anything, or it is a pickle.
    """
    for beginning, runtime in _BEGINNINGS.items():
        if artifact.startswith(beginning):
            return runtime
    if artifact[:1] == b"{" and b"learner" in artifact[:_HINT]:
        return "xgboost"
    if artifact.startswith(_PICKLES):
        raise InputError(
            "this is a pickle, and loading one runs code; save a scikit-learn model with skops, others in "
            "their own "
            "formats",
            field="artifact",
        )
    found = _of_zip(artifact) if artifact[:2] == b"PK" else ""
    if found := found or _ENDINGS.get(PurePath(name).suffix.lower(), ""):
        return found
    raise InputError("cannot tell which runtime this file is for; say it in a manifest", field="runtime")


def _of_zip(artifact: bytes) -> str:
    try:
        with zipfile.ZipFile(io.BytesIO(artifact)) as found:
            names = set(found.namelist())
    except (zipfile.BadZipFile, NotImplementedError, UnicodeDecodeError, OSError):
        return ""  # damaged, or of a version of zip that nobody writes
    if "schema.json" in names:
        return "skops"
    if {"config.json", "metadata.json"} <= names:
        return "keras"
    return "torch" if any(name.endswith("/archive_format") for name in names) else ""
