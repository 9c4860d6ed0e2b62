"""The models that every server gets: fitted once, saved for scikit-learn's loaders and as ONNX."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np

FEATURES = tuple(f"x{place}" for place in range(10))
ROWS = 2_000


def fit(name: str, folder: Path) -> None:
    """Write ``NAME.joblib`` and ``NAME.onnx``.

    Args:
        name: ``logistic`` or ``boosting``.
        folder: Where.
    """
    rng = np.random.default_rng(7)
    table = rng.normal(size=(ROWS, len(FEATURES)))
    y_true = rng.random(ROWS) < 1.0 / (1.0 + np.exp(-table @ rng.normal(size=len(FEATURES))))
    model = _estimator(name).fit(table, y_true.astype(int))
    importlib.import_module("joblib").dump(model, folder / f"{name}.joblib")
    skl2onnx: Any = importlib.import_module("skl2onnx")
    kind = importlib.import_module("skl2onnx.common.data_types").FloatTensorType([None, len(FEATURES)])
    graph = skl2onnx.to_onnx(model, initial_types=[("x", kind)], options={"zipmap": False})
    (folder / f"{name}.onnx").write_bytes(graph.SerializeToString())


def rows(count: int) -> list[list[float]]:
    """So many rows to ask for."""
    drawn = np.random.default_rng(11).normal(size=(count, len(FEATURES)))
    return [[round(float(value), 4) for value in row] for row in drawn]


def _estimator(name: str) -> Any:
    if name == "logistic":
        return importlib.import_module("sklearn.linear_model").LogisticRegression()
    ensemble = importlib.import_module("sklearn.ensemble")
    return ensemble.GradientBoostingClassifier(n_estimators=100, random_state=0)
