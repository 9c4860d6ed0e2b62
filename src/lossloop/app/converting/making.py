"""ONNX made of models of other libraries, by the converters that are kept for them.

The features of what is made are in the order in which the model takes them.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lossloop.core.errors import InputError, LossloopError
from lossloop.registry import Feature, FeatureKind, Manifest
from lossloop.serve.runtimes import catboost, lightgbm, skops, xgboost
from lossloop.serve.runtimes.inputs import only_numbers, order
from lossloop.serve.runtimes.libraries import library, told

Make = Callable[[bytes, Manifest, int | None], tuple[bytes, tuple[Feature, ...]]]
_INPUT = "rows"
_NO_TEXTS = (
    "the converter does not take its categories along; serve the model as it is, or encode them in a "
    "pipeline of scikit-learn"
)


def make(artifact: bytes, manifest: Manifest, trees: int | None = None) -> tuple[bytes, tuple[Feature, ...]]:
    """An ONNX model of another one, and its features in order.

    Args:
        artifact: The model.
        manifest: Its manifest.
        trees: How many of its first trees are kept; None for all.

    Raises:
        InputError: Nothing converts models of this runtime, or not this one.
        MissingExtra: The converter is not installed.
    """
    if manifest.runtime not in MAKERS:
        known = ", ".join(sorted(MAKERS))
        raise InputError(
            f"models of the runtime {manifest.runtime!r} are not converted; those of {known} are",
            field="source",
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return MAKERS[manifest.runtime](artifact, manifest, trees)
    except LossloopError:
        raise
    except Exception as error:  # whatever the converters raise over what they do not know
        raise InputError(f"the model cannot be converted: {told(error)}", field="source") from error


def _of_xgboost(artifact: bytes, manifest: Manifest, trees: int | None) -> tuple[bytes, tuple[Feature, ...]]:
    only_numbers(manifest.features, _NO_TEXTS)
    booster = xgboost.read(artifact)
    names = order(manifest.features, booster.feature_names, booster.num_features())
    rounds = xgboost.rounds(booster) or booster.num_boosted_rounds()
    kept = _kept(rounds, trees)
    if kept < booster.num_boosted_rounds():
        booster = booster[:kept]
    xgboost.as_chances(booster)
    booster.feature_names = None  # the converter knows no others than its own
    made = library("onnxmltools", "convert").convert_xgboost(booster, initial_types=_table(len(names)))
    return bytes(made.SerializeToString()), _ordered(manifest, names)


def _of_lightgbm(artifact: bytes, manifest: Manifest, trees: int | None) -> tuple[bytes, tuple[Feature, ...]]:
    only_numbers(manifest.features, _NO_TEXTS)
    booster = lightgbm.read(artifact)
    names = order(manifest.features, lightgbm.names_of(booster), booster.num_feature())
    rounds = booster.num_trees() // booster.num_model_per_iteration()
    if trees is not None:
        text = booster.model_to_string(num_iteration=_kept(rounds, trees))
        booster = lightgbm.read(text.encode())
    made = library("onnxmltools", "convert").convert_lightgbm(
        booster, initial_types=_table(len(names)), zipmap=False
    )
    return bytes(made.SerializeToString()), _ordered(manifest, names)


def _of_catboost(artifact: bytes, manifest: Manifest, trees: int | None) -> tuple[bytes, tuple[Feature, ...]]:
    only_numbers(manifest.features, _NO_TEXTS)
    model = catboost.read(artifact)
    names = order(manifest.features, catboost.names_of(model), len(model.feature_names_))
    if trees is not None:
        model.shrink(ntree_end=_kept(model.tree_count_, trees))
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "model.onnx"
        model.save_model(str(path), format="onnx")
        return path.read_bytes(), _ordered(manifest, names)


def _of_skops(artifact: bytes, manifest: Manifest, trees: int | None) -> tuple[bytes, tuple[Feature, ...]]:
    model = skops.read(artifact)
    names = skops.order_of(model, manifest)
    features = _ordered(manifest, names)
    if trees is not None:
        skops.keep_trees(model, trees)
    types = library("skl2onnx.common.data_types", "convert", name="skl2onnx")
    if skops.chooses_by_name(model):
        texts = {FeatureKind.NUMBER: types.FloatTensorType, FeatureKind.CATEGORY: types.StringTensorType}
        given = [(each.name, texts[each.kind]([None, 1])) for each in features]
    else:
        only_numbers(manifest.features, "this model takes a table of numbers, not columns by name")
        given = [(_INPUT, types.FloatTensorType([None, len(names)]))]
    options = {"zipmap": False} if hasattr(model, "predict_proba") else None
    made = library("skl2onnx", "convert").to_onnx(model, initial_types=given, options=options)
    return bytes(made.SerializeToString()), features


MAKERS: Mapping[str, Make] = {
    "catboost": _of_catboost,
    "lightgbm": _of_lightgbm,
    "skops": _of_skops,
    "xgboost": _of_xgboost,
}


def _table(columns: int) -> list[Any]:
    types = library("onnxmltools.convert.common.data_types", "convert", name="onnxmltools")
    return [(_INPUT, types.FloatTensorType([None, columns]))]


def _ordered(manifest: Manifest, names: list[str]) -> tuple[Feature, ...]:
    by_name = {feature.name: feature for feature in manifest.features}
    return tuple(by_name[name] for name in names)


def _kept(rounds: int, trees: int | None) -> int:
    if trees is not None and trees >= rounds:
        raise InputError(f"the model has {rounds} trees or rounds; keep fewer", field="trees")
    return rounds if trees is None else trees
