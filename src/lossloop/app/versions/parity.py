"""Does a converted version answer as the model that it was made of: when it was made, and on recent inputs?

`lossloop convert` writes into a version's lineage, under `converted`, what it was made of and how far the two
differed on held-out rows. Where the original is a version too they are compared again, on what traffic sends.
"""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from lossloop.act.checks import Check, Status
from lossloop.app.versions.base import Arm, Case, Shown, fitted, told
from lossloop.ledger.joined.columns import Floats
from lossloop.registry import Manifest

CONVERTED = "converted"
"""In a lineage: what the version was made of."""


class Stored(msgspec.Struct):
    """How far both differed on the rows of the conversion."""

    rows: int
    tolerance: float
    largest: float | None = None
    """None where one had an answer and the other had none."""


class Conversion(msgspec.Struct):
    """What a lineage says of a conversion; it may say more."""

    parity: Stored
    artifact: str = ""
    """The digest of the original."""


def conversion(manifest: Manifest) -> Conversion | None:
    """What a version's lineage says of its conversion; None where it was not converted.

    Raises:
        msgspec.ValidationError: It says something else.
    """
    said: Any = manifest.lineage.get(CONVERTED)
    return None if said is None else msgspec.convert(said, Conversion)


def is_original(converted: Manifest, other: Manifest) -> bool:
    """Whether one version is what another was made of."""
    said = converted.lineage.get(CONVERTED)
    digest = said.get("artifact") if isinstance(said, dict) else None
    return bool(digest) and digest == other.artifact


def check(case: Case) -> Shown:
    """Read what the conversion measured, and compare again where the original can be run."""
    try:
        found = conversion(case.version.manifest)
    except msgspec.ValidationError as error:
        words = f"its lineage says it was converted, and not how far both agree: {error}"
        return told(Check.PARITY, Status.FAILED, words)
    if found is None:
        return told(Check.PARITY, Status.SKIPPED, "its lineage names no model that it was converted from")
    stored, tolerance = found.parity, found.parity.tolerance
    figures = {"rows": float(stored.rows), "tolerance": tolerance}
    if stored.largest is None or not stored.largest <= tolerance:
        off = "answers that only one gave" if stored.largest is None else f"{stored.largest:.3g}"
        words = f"when it was converted both differed by {off}, more than {tolerance:g}"
        return told(Check.PARITY, Status.FAILED, words, figures)
    figures["largest"] = stored.largest
    words = f"when it was converted {stored.rows:,} rows differed by {stored.largest:.3g} at most"
    if case.original is None or case.original.runtime is None or case.version.runtime is None:
        return told(Check.PARITY, Status.PASSED, f"{words}; the original cannot be run here", figures)
    return _held(case, case.original, tolerance, words, figures)


def _held(case: Case, original: Arm, tolerance: float, words: str, figures: dict[str, float]) -> Shown:
    """What recent rows say, after the conversion itself held."""
    rows, off, why = _again(case, original)
    if why:
        return told(Check.PARITY, Status.FAILED, why, figures)
    figures |= {"recent_rows": float(rows), "recent_largest": off}
    again = f"{rows:,} recent rows differ by {off:.3g} at most" if rows else "no recent row for another look"
    if off > tolerance:
        return told(Check.PARITY, Status.FAILED, f"{again}, more than {tolerance:g}", figures)
    return told(Check.PARITY, Status.PASSED, f"{words}; {again}", figures)


def _again(case: Case, original: Arm) -> tuple[int, float, str]:
    """On how many recent rows both were asked, how far they differ at most, and what keeps them from it."""
    theirs = fitted(original.manifest.features, case.recent.features, len(case.recent))
    rows = np.flatnonzero(theirs.fits & case.inputs.fits)
    if not len(rows):
        return 0, 0.0, ""
    answers: list[Floats] = []
    for arm, inputs in ((case.version, case.inputs), (original, theirs)):
        values, error = arm.run(inputs.rows(rows), len(rows), case.task)
        if error:
            return len(rows), np.inf, f"{arm.name} {error}"
        answers.append(values)
    ours, other = answers
    if ours.shape != other.shape:
        return len(rows), np.inf, f"it answers with the shape {ours.shape[1:]}, not {other.shape[1:]}"
    none = np.isnan(ours) & np.isnan(other)
    gaps = np.where(none, 0.0, np.abs(ours - other))
    return len(rows), float(np.where(np.isnan(gaps), np.inf, gaps).max()), ""
