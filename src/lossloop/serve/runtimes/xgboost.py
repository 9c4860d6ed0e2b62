"""XGBoost's own files, JSON or UBJSON. A missing number or category is what XGBoost calls missing.

Categories come by the texts that the model was trained with (`enable_categorical`, XGBoost 3.1 or newer);
one that it has not seen is missing. Of a model saved by a scikit-learn wrapper that stopped early, the
rounds up to the best one count, as there.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from lossloop.core.errors import InputError
from lossloop.registry import Feature, FeatureKind, Manifest
from lossloop.serve.runtimes.base import Columns, Floats
from lossloop.serve.runtimes.inputs import Matrix, answers, kinds, order
from lossloop.serve.runtimes.libraries import library, reading

_SOFTMAX = "multi:softmax"


class XgboostRuntime:
    """A booster on one thread, so that the same rows give the same bits."""

    native = True

    def __init__(self, artifact: bytes, manifest: Manifest) -> None:
        booster = read(artifact)
        known = _categories(booster)
        wanted = kinds(manifest.features)
        names = order(manifest.features, booster.feature_names, booster.num_features())
        for name, categories in zip(names, known, strict=True):
            if (wanted[name] is FeatureKind.CATEGORY) != (categories is not None):
                raise InputError(_disagreeing(name, wanted[name]), field="features")
        found = {name: each for name, each in zip(names, known, strict=True) if each is not None}
        self._matrix = Matrix(names, np.float32, categories=found)
        booster.set_param({"nthread": 1})
        as_chances(booster)
        self._rounds = (0, rounds(booster))
        self._booster = booster

    def predict(self, columns: Columns) -> Floats:
        rows = self._matrix.clipped(columns)
        return answers(
            self._booster.inplace_predict(rows, iteration_range=self._rounds, validate_features=False)
        )


def features(artifact: bytes) -> tuple[Feature, ...] | None:
    """What the model knows of its features; None where it has no names for them."""
    booster = read(artifact)
    if booster.feature_names is None:
        return None
    return tuple(
        Feature(name=name, kind=_kind(categories), nullable=True)
        for name, categories in zip(booster.feature_names, _categories(booster), strict=True)
    )


def as_chances(booster: Any) -> None:
    """Let a model that was trained to say the likeliest class say the chances of all, by the same trees."""
    if _objective(booster) == _SOFTMAX:
        booster.set_param({"objective": "multi:softprob"})


def rounds(booster: Any) -> int:
    """How many rounds count; 0 for all."""
    best = booster.attr("best_iteration") if booster.attr("scikit_learn") else None
    return 0 if best is None else int(best) + 1


def read(artifact: bytes) -> Any:
    """The booster in a file; raise InputError where there is none."""
    found = library("xgboost", "xgboost")
    with reading("an XGBoost model"):
        if not artifact.startswith(b"{"):  # XGBoost would try its format of old, and may end the process
            raise InputError("not an XGBoost model that can be loaded: no JSON, nor UBJSON", field="artifact")
        booster = found.Booster(model_file=bytearray(artifact))
        booster.num_features()
    if _config(booster)["learner"]["gradient_booster"]["name"] == "gblinear":
        raise InputError(
            "a linear booster cannot be served by the runtime xgboost; fit scikit-learn's linear models",
            field="artifact",
        )
    return booster


def _config(booster: Any) -> Any:
    return json.loads(booster.save_config())


def _objective(booster: Any) -> str:
    return str(_config(booster)["learner"]["objective"]["name"])


def _categories(booster: Any) -> list[list[str] | None]:
    """The texts of each feature's categories, in the order of their codes; None for numbers."""
    if "c" not in (booster.feature_types or ()):
        return [None] * int(booster.num_features())
    stored = booster.get_categories(export_to_arrow=True).to_arrow()
    return [None if each is None else [str(text) for text in each.to_pylist()] for _, each in stored]


def _kind(categories: list[str] | None) -> FeatureKind:
    return FeatureKind.NUMBER if categories is None else FeatureKind.CATEGORY


def _disagreeing(name: str, kind: FeatureKind) -> str:
    if kind is FeatureKind.CATEGORY:
        return (
            f"feature {name!r} is a category, and the model has no texts of it; train it on a DataFrame with "
            "enable_categorical, with XGBoost 3.1 or newer"
        )
    return f"feature {name!r} is a number in the manifest and a category in the model"
