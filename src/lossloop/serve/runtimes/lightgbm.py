"""LightGBM's own text files. A missing number is NaN; a category that is null or was not seen is missing too.

Categories come by the texts that the model was trained with as a DataFrame of pandas' categories.
"""

from __future__ import annotations

import warnings
from typing import Any

from lossloop.core.errors import InputError
from lossloop.registry import Feature, FeatureKind, Manifest
from lossloop.serve.runtimes.base import Columns, Floats
from lossloop.serve.runtimes.inputs import Matrix, answers, kinds, order
from lossloop.serve.runtimes.libraries import library, reading

_ENDS = ("end of trees", "end of parameters")


class LightgbmRuntime:
    """A booster on one thread, so that the same rows give the same bits."""

    native = True

    def __init__(self, artifact: bytes, manifest: Manifest) -> None:
        booster = read(artifact)
        names, categories = (
            order(manifest.features, names_of(booster), booster.num_feature()),
            _categories(booster),
        )
        by_name = {names[place]: texts for place, texts in categories.items()}
        for name, kind in kinds(manifest.features).items():
            if (kind is FeatureKind.CATEGORY) != (name in by_name):
                raise InputError(_disagreeing(name, kind), field="features")
        self._matrix = Matrix(names, categories=by_name)
        self._booster = booster

    def predict(self, columns: Columns) -> Floats:
        return answers(self._booster.predict(self._matrix.of(columns), num_threads=1))


def features(artifact: bytes) -> tuple[Feature, ...] | None:
    """What the model knows of its features; None where it has no names for them."""
    booster = read(artifact)
    names, categories = names_of(booster), _categories(booster)
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
    """The booster in a file; raise InputError where there is none."""
    found = library("lightgbm", "lightgbm")
    with reading("a LightGBM model"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        text = artifact.decode()
        # LightGBM ends the process over a text that is cut off.
        if not text.startswith("tree\n") or not all(f"\n{end}\n" in text for end in _ENDS):
            raise InputError(
                "not a LightGBM model that can be loaded: it is none, or cut off", field="artifact"
            )
        return found.Booster(model_str=text)


def names_of(booster: Any) -> list[str] | None:
    """The features' names; None where they are those that LightGBM itself gives."""
    names: list[str] = booster.feature_name()
    return None if names == [f"Column_{place}" for place in range(len(names))] else names


def _categories(booster: Any) -> dict[int, list[str]]:
    """By the place of a feature that is a category its texts, in the order of their codes."""
    places = booster.params.get("categorical_feature") or []
    texts = booster.pandas_categorical or []
    if len(places) != len(texts):
        raise InputError(
            f"the model has {len(places)} categorical features, and the texts of {len(texts)}; train it on a "
            "DataFrame whose categories have pandas' type `category`",
            field="artifact",
        )
    return {int(place): [str(each) for each in known] for place, known in zip(places, texts, strict=True)}


def _disagreeing(name: str, kind: FeatureKind) -> str:
    if kind is FeatureKind.CATEGORY:
        return (
            f"feature {name!r} is a category, and the model has no texts of it; train it on a DataFrame "
            f"whose "
            "categories have pandas' type `category`"
        )
    return f"feature {name!r} is a number in the manifest and a category in the model"
