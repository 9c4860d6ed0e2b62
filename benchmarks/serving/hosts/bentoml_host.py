"""BentoML with the model: served by its own command line, from its own environment."""

from __future__ import annotations

import os
from typing import Any

import bentoml
import joblib


@bentoml.service(workers=1, logging={"access": {"enabled": False}})
class Host:
    """Its contract, with nothing added."""

    def __init__(self) -> None:
        self.model = joblib.load(os.environ["BENCH_MODEL"])

    @bentoml.api
    def predict(self, rows: list[list[float]]) -> dict[str, Any]:
        """The probability of 1."""
        return {"y_pred": self.model.predict_proba(rows)[:, 1].tolist()}
