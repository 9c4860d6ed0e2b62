"""Every format that people train in: it answers as its own library does, and keeps the contract."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pytest

from lossloop.core.errors import InputError, UnknownName
from lossloop.registry import Feature, FeatureKind, Options
from lossloop.serve.runtimes import RUNTIMES, features_of
from lossloop.serve.runtimes.checks import check_odd_rows, check_runtime
from lossloop.serve.runtimes.guessing import runtime_of
from tests.serve.formats import (
    COLOURS,
    MIXED,
    MODELS,
    NUMBERS,
    Model,
    catboost_model,
    columns,
    keras_model,
    lightgbm_binary,
    lightgbm_value,
    odd,
    onnx_table,
    skops_model,
    skops_pipeline,
    xgboost_binary,
    xgboost_classes,
)

NAMED = [name for name in MODELS if not name.startswith("onnx")]


def test_every_format_that_brings_no_code_is_tried_here() -> None:
    tried = {name.split()[0] for name in MODELS}
    assert tried == {name for name, each in RUNTIMES.items() if not each.code}


@pytest.mark.parametrize("name", MODELS)
def test_it_answers_as_its_own_library_does(name: str) -> None:
    model = MODELS[name]()
    found = model.load().predict(columns(model.features))
    assert found.shape == np.shape(model.wanted)
    assert np.allclose(found, model.wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", MODELS)
def test_it_keeps_the_contract(name: str) -> None:
    model = MODELS[name]()
    runtime = model.load()
    check_runtime(runtime, columns(model.features))
    check_odd_rows(runtime, columns(model.features), odd(model.features))


@pytest.mark.parametrize("name", MODELS)
def test_its_runtime_is_told_by_its_bytes(name: str) -> None:
    model = MODELS[name]()
    assert runtime_of(model.artifact, "model.onnx") == model.runtime


@pytest.mark.parametrize("make", [xgboost_binary, lightgbm_binary, catboost_model])
def test_boosted_trees_know_names_kinds_and_that_values_may_be_missing(make: Callable[[], Model]) -> None:
    model = make()
    assert features_of(model.runtime, model.artifact) == tuple(
        Feature(name=each.name, kind=each.kind, nullable=True) for each in MIXED
    )


def test_a_pipeline_knows_names_and_kinds() -> None:
    model = skops_pipeline()
    assert features_of("skops", model.artifact) == tuple(
        Feature(name=each.name, kind=each.kind) for each in MIXED
    )


def test_inputs_by_name_are_features() -> None:
    assert features_of("keras", keras_model(by_name=True).artifact) == NUMBERS


@pytest.mark.parametrize(
    "make", [xgboost_classes, lightgbm_value, lambda: skops_model("value"), keras_model, onnx_table]
)
def test_a_model_without_names_says_what_a_manifest_must_say(make: Callable[[], Model]) -> None:
    model = make()
    with pytest.raises(InputError, match="does not name its features; write a manifest that lists them"):
        features_of(model.runtime, model.artifact)


@pytest.mark.parametrize("make", [xgboost_binary, lightgbm_binary, catboost_model, skops_pipeline])
def test_columns_go_in_by_name_whatever_their_order(make: Callable[[], Model]) -> None:
    model = make()
    turned = dataclasses.replace(model, features=model.features[::-1])
    given = columns(model.features[::-1])
    assert np.allclose(turned.load().predict(given), model.wanted, rtol=1e-5)


@pytest.mark.parametrize("make", [xgboost_binary, lightgbm_binary, catboost_model])
def test_each_category_is_the_one_that_was_trained(make: Callable[[], Model]) -> None:
    runtime = make().load()
    rows = {"x": np.zeros(3), "y": np.zeros(3), "colour": np.array(COLOURS, dtype=object)}
    chances = runtime.predict(rows)
    assert chances[1] == chances.max(), "green is late more often"


@pytest.mark.parametrize("make", [xgboost_binary, lightgbm_binary])
def test_an_unseen_category_is_a_missing_one(make: Callable[[], Model]) -> None:
    rows = {"x": np.zeros(2), "y": np.zeros(2), "colour": np.array([None, "unheard of"], dtype=object)}
    found = make().load().predict(rows)
    assert found[0] == found[1]


def test_a_category_that_an_encoder_refuses_has_no_answer_and_alone_says_why() -> None:
    runtime = skops_pipeline().load()
    rows = {"x": np.zeros(2), "y": np.zeros(2), "colour": np.array(["red", "unheard of"], dtype=object)}
    assert np.isnan(runtime.predict(rows)).tolist() == [False, True]
    with pytest.raises(ValueError, match="unknown categories"):
        runtime.predict({name: each[1:] for name, each in rows.items()})


WRONG = {
    "one too few": (NUMBERS[:1], "the model takes 'y', which the manifest does not list"),
    "another": ((*NUMBERS[:1], Feature(name="z")), "the model takes 'y', which the manifest"),
    "one too many": ((*NUMBERS, Feature(name="xx")), r"the model takes no feature 'xx'; did you mean 'x'\?"),
    "a category": (
        (NUMBERS[0], Feature(name="y", kind=FeatureKind.CATEGORY)), "'y' is a category"
    ),
}  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG)
@pytest.mark.parametrize("make", [lambda: catboost_model("count"), lambda: skops_model("linear")])
def test_a_manifest_that_does_not_fit_is_told(make: Callable[[], Model], wrong: str) -> None:
    features, words = WRONG[wrong]
    with pytest.raises(InputError, match=words) as caught:
        dataclasses.replace(make(), features=features).load()
    assert caught.value.field == "features"


@pytest.mark.parametrize(
    "make", [xgboost_classes, lightgbm_value, lambda: skops_model("value"), keras_model, onnx_table]
)
def test_a_model_without_names_counts(make: Callable[[], Model]) -> None:
    with pytest.raises(InputError, match="the model takes 2 features, the manifest lists 1"):
        dataclasses.replace(make(), features=NUMBERS[:1]).load()


@pytest.mark.parametrize("make", [xgboost_classes, lightgbm_value, keras_model, onnx_table])
def test_a_category_where_the_model_takes_numbers_is_told(make: Callable[[], Model]) -> None:
    features = (NUMBERS[0], Feature(name="y", kind=FeatureKind.CATEGORY))
    with pytest.raises(InputError, match="feature 'y' is a category"):
        dataclasses.replace(make(), features=features).load()


@pytest.mark.parametrize("make", [xgboost_binary, lightgbm_binary, catboost_model])
def test_a_number_where_the_model_takes_a_category_is_told(make: Callable[[], Model]) -> None:
    features = (*MIXED[:2], Feature(name="colour"))
    with pytest.raises(InputError, match="is a number in the manifest and a category in the model"):
        dataclasses.replace(make(), features=features).load()


def test_a_column_is_picked() -> None:
    some = columns(NUMBERS)
    whole = xgboost_classes()
    picked = dataclasses.replace(whole, options=Options(column=2)).load()
    assert picked.predict(some).tolist() == whole.load().predict(some)[:, 2].tolist()
    beyond = dataclasses.replace(whole, options=Options(column=3)).load()
    with pytest.raises(InputError, match="answers with 3 columns; there is no column 3") as caught:
        beyond.predict(some)
    assert caught.value.field == "options.column"
    with pytest.raises(InputError, match="a column is counted from 0"):
        Options(column=-1)


def test_an_output_is_named() -> None:
    some, model = columns(NUMBERS), onnx_table(maps=False)
    labels = dataclasses.replace(model, options=Options(output="label")).load().predict(some)
    assert labels.tolist() == (model.wanted > 0.5).tolist()
    chances = dataclasses.replace(model, options=Options(output="probabilities")).load().predict(some)
    assert chances.shape == (6, 2), "what is named is taken as it is"
    with pytest.raises(UnknownName, match=r"unknown output 'probability'; did you mean 'probabilities'\?"):
        dataclasses.replace(model, options=Options(output="probability")).load()
