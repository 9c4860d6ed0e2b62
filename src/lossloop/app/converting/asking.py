"""The question: make a smaller or faster model of this one, if it answers the same."""

from __future__ import annotations

from typing import Any

import msgspec
import pyarrow as pa

from lossloop.app.converting.base import TOLERANCE, Converted, Parity, Shrink
from lossloop.app.converting.cost import cost
from lossloop.app.converting.making import make
from lossloop.app.converting.parity import compare
from lossloop.app.converting.shrinking import quantize
from lossloop.app.retraining.asking import columns_of
from lossloop.core.errors import InputError
from lossloop.core.ids import digest
from lossloop.registry import Manifest, Options
from lossloop.serve.runtimes import load
from lossloop.serve.runtimes.trial import tried


def convert(
    artifact: bytes, manifest: Manifest, rows: pa.Table, *, name: str = "", tolerance: float = TOLERANCE,
    threshold: float | None = None, shrink: Shrink | None = None,
) -> Converted:  # fmt: skip
    """Make ONNX of a model, and hold it against the model on held-out rows.

    What is made keeps the model's reference, profile and thresholds; its lineage says what it was made of.
    Where the parity does not hold, it is for the caller to refuse it.

    Args:
        artifact: The model.
        manifest: Its manifest; features may be missing where the model knows them.
        rows: Held-out rows with a column for each feature.
        name: Where the model comes from: a version's name, or a file's.
        tolerance: The largest difference of an answer that is allowed.
        threshold: From which score on something is done.
        shrink: How it is made smaller.

    Raises:
        InputError: The model cannot be converted, or the rows lack a feature.
        MissingExtra: A converter is not installed.
    """
    shrink = shrink or Shrink()
    manifest = tried(manifest, artifact)
    made, features = artifact, manifest.features
    if manifest.runtime != "onnx" or shrink.trees is not None:
        made, features = make(artifact, manifest, shrink.trees)
    if shrink.quantize is not None:
        made = quantize(made, shrink.quantize)
    after = msgspec.structs.replace(
        manifest, runtime="onnx", artifact="", features=features,
        options=manifest.options if manifest.runtime == "onnx" else Options(column=manifest.options.column),
    )  # fmt: skip
    tried(after, made)
    if not len(rows):
        raise InputError("there are no rows to compare models on", field="rows")
    columns = columns_of(rows, manifest.features)
    old, new = load(manifest, artifact), load(after, made)
    parity = compare(old.predict(columns), new.predict(columns), tolerance=tolerance, threshold=threshold)
    costs = cost(artifact, old, columns), cost(made, new, columns)
    found = Converted(artifact=made, manifest=after, parity=parity, before=costs[0], after=costs[1])
    told = _told(found, manifest, digest(artifact), name, shrink)
    lineage = {**manifest.lineage, "converted": told}
    return msgspec.structs.replace(found, manifest=msgspec.structs.replace(after, lineage=lineage))


def _told(found: Converted, source: Manifest, artifact: str, name: str, shrink: Shrink) -> dict[str, Any]:
    """What a version's lineage says of its conversion."""
    return {
        "from": name, "artifact": artifact, "runtime": source.runtime, **msgspec.to_builtins(shrink),
        "parity": plain(found.parity),
        "before": msgspec.to_builtins(found.before), "after": msgspec.to_builtins(found.after),
    }  # fmt: skip


def plain(parity: Parity) -> dict[str, Any]:
    """A parity as plain values."""
    told: dict[str, Any] = msgspec.to_builtins(parity)
    return told
