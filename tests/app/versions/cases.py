"""Cases for checks of versions, without a ledger: rows in memory, and runtimes that do as a test says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lossloop.act.checks import Checks
from lossloop.act.policy import read_policy
from lossloop.app.judging import Lens
from lossloop.app.versions.base import Arm, Case
from lossloop.app.versions.recent import Recent
from lossloop.registry import Feature, FeatureKind, Manifest
from tests.app.desk import policy_text

X, COLOUR = Feature(name="x"), Feature(name="colour", kind=FeatureKind.CATEGORY, nullable=True)
Array = np.ndarray[Any, Any]


@dataclass
class Says:
    """A runtime that answers what a function makes of its columns."""

    answer: Callable[[Mapping[str, Array]], Any]
    native: bool = False

    def predict(self, columns: Mapping[str, Array]) -> Array:
        return np.asarray(self.answer(columns), dtype=np.float64)


def sigmoid(bias: float = 0.0, slope: float = 1.0) -> Says:
    """1 / (1 + exp(-(slope x + bias)))."""
    return Says(lambda columns: 1.0 / (1.0 + np.exp(-(slope * columns["x"] + bias))))


def arm(runtime: Says | None = None, *, name: str = "m:2", number: int | None = 2, **manifest: Any) -> Arm:
    """A version of x and colour; one without a runtime is served elsewhere."""
    kind = "external" if runtime is None else "onnx"
    made = Manifest(**{"runtime": kind, "artifact": "a", "features": (X, COLOUR), **manifest})
    return Arm(
        name=name, manifest=made, number=number, runtime=runtime, why_not="" if runtime else "elsewhere"
    )


def recent(count: int = 400, **columns: Any) -> Recent:
    """Rows of x, even over [-2, 2], and colours by turns; other columns as they are given."""
    features = {
        "x": np.linspace(-2.0, 2.0, count),
        "colour": np.array([("red", "blue", None, "green")[row % 4] for row in range(count)], dtype=object),
    }
    given = {
        "features": features, "version": np.ones(count, np.int64), "block": np.arange(count) // 50,
        "y_pred": np.full(count, 0.5), "shadow_version": np.zeros(count, np.int64),
        "shadow_y_pred": np.full(count, np.nan), "y_true": np.full(count, np.nan),
    }  # fmt: skip
    return Recent(**{**given, **columns})


def case(
    version: Arm | None = None,
    champion: Arm | None = None,
    *,
    rows: Recent | None = None,
    policy: Any = None,
    original: Arm | None = None,
    **check: Any,
) -> Case:
    """A case of a policy with these checks."""
    read = read_policy(policy_text(**{"check": check or None, **(policy or {})}))
    return Case(
        lens=Lens(policy=read, thresholds=()), rules=read.check or Checks(),
        version=version or arm(sigmoid()), champion=champion, recent=recent() if rows is None else rows,
        seconds=0.01, original=original,
    )  # fmt: skip


BASE = arm(sigmoid(), name="m:1", number=1)
"""A champion."""
