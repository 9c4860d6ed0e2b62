"""CatBoost's own binary files (cbm). A missing number is NaN, a missing category the empty text."""

from __future__ import annotations

from typing import Any

import numpy as np

from lossloop.core.errors import InputError
from lossloop.registry import Feature, FeatureKind, Manifest
from lossloop.serve.runtimes.base import Columns, Floats
from lossloop.serve.runtimes.inputs import Matrix, answers, kinds, order
from lossloop.serve.runtimes.libraries import library, reading

_CHANCES = {
    "Logloss",
    "CrossEntropy",
    "MultiClass",
    "MultiClassOneVsAll",
    "MultiLogloss",
    "MultiCrossEntropy",
}
_EXPONENTS = {"Poisson", "Tweedie"}
_MAGIC = b"CBM1"


class CatboostRuntime:
    """A model on one thread, so that the same rows give the same bits."""

    native = True

    def __init__(self, artifact: bytes, manifest: Manifest) -> None:
        model = read(artifact)
        names = order(manifest.features, names_of(model), len(model.feature_names_))
        categories = {names[place] for place in model.get_cat_feature_indices()}
        for name, kind in kinds(manifest.features).items():
            if (kind is FeatureKind.CATEGORY) != (name in categories):
                other = "category" if name in categories else "number"
                raise InputError(
                    f"feature {name!r} is a {kind} in the manifest and a {other} in the model",
                    field="features",
                )
        self._model = model
        self._names = names
        self._matrix = None if categories else Matrix(names, np.float32)
        loss = str(model.get_all_params().get("loss_function", "")).split(":")[0]
        self._type = _prediction_type(loss)
        self._binary = self._type == "Probability" and loss in ("Logloss", "CrossEntropy")

    def predict(self, columns: Columns) -> Floats:
        rows = self._mixed(columns) if self._matrix is None else self._matrix.of(columns)
        found = answers(self._model.predict(rows, prediction_type=self._type, thread_count=1))
        return found[:, 1] if self._binary else found

    def _mixed(self, columns: Columns) -> np.ndarray[Any, Any]:
        made = np.empty((len(columns[self._names[0]]), len(self._names)), dtype=object)
        for place, name in enumerate(self._names):
            column = columns[name]
            made[:, place] = [each or "" for each in column] if column.dtype == object else column
        return made


def features(artifact: bytes) -> tuple[Feature, ...] | None:
    """What the model knows of its features; None where it has no names for them."""
    model = read(artifact)
    names, categories = names_of(model), set(model.get_cat_feature_indices())
    if names is None:
        return None
    return tuple(
        Feature(
            name=name,
            kind=FeatureKind.CATEGORY if place in categories else FeatureKind.NUMBER,
            nullable=True,
        )
        for place, name in enumerate(names)
    )


def read(artifact: bytes) -> Any:
    """The model in a file; raise InputError where there is none."""
    found = library("catboost", "catboost")
    with reading("a CatBoost model"):
        if not artifact.startswith(_MAGIC):
            raise InputError("not a CatBoost model that can be loaded: it is none", field="artifact")
        model = found.CatBoost()
        model.load_model(blob=artifact)
        if model.get_text_feature_indices() or model.get_embedding_feature_indices():
            raise InputError("features that are texts or embeddings cannot be served yet", field="artifact")
    return model


def names_of(model: Any) -> list[str] | None:
    """The features' names; None where they are those that CatBoost itself gives."""
    names: list[str] = model.feature_names_
    return None if names == [str(place) for place in range(len(names))] else names


def _prediction_type(loss: str) -> str:
    if loss in _CHANCES:
        return "Probability"
    return "Exponent" if loss in _EXPONENTS else "RawFormulaVal"
