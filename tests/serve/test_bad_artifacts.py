"""Bytes that are damaged, something else, too much or made to harm: told at registration, and nobody's
end."""

from __future__ import annotations

import dataclasses
import io
import json
import pickle
import sys
import zipfile
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from lossloop.core.errors import InputError, MissingExtra
from lossloop.registry import Feature, Manifest, Options
from lossloop.serve.runtimes import RUNTIMES, features_of, load, sktrees, trial
from lossloop.serve.runtimes.guessing import runtime_of
from lossloop.serve.runtimes.libraries import library, told
from tests.serve.formats import (
    MIXED,
    NUMBERS,
    Model,
    catboost_model,
    columns,
    keras_model,
    lightgbm_binary,
    onnx_table,
    saved,
    skops_model,
    skops_pipeline,
    xgboost_binary,
    xgboost_classes,
)

READ_HERE = sorted(name for name, each in RUNTIMES.items() if not each.code)


@pytest.mark.parametrize("data", [b"", b"not a model", b"PK\x03\x04", b"CBM1", b"tree\nversion=v4\n"])
@pytest.mark.parametrize("runtime", READ_HERE)
def test_what_is_no_model_is_told(runtime: str, data: bytes) -> None:
    with pytest.raises(InputError, match=r"^not an? .* that can be loaded: ") as caught:
        load(Manifest(runtime=runtime, features=NUMBERS), data)
    assert caught.value.field == "artifact"
    with pytest.raises(InputError, match="that can be loaded: "):
        features_of(runtime, data)


@pytest.mark.parametrize("share", [0.3, 0.9, 0.999])
@pytest.mark.parametrize("make", [skops_pipeline, keras_model, onnx_table, lightgbm_binary])
def test_what_was_cut_off_is_told(make: Any, share: float) -> None:
    model: Model = make()
    cut = model.artifact[: int(share * len(model.artifact)) - 60]
    with pytest.raises(InputError, match="that can be loaded: "):
        dataclasses.replace(model, artifact=cut).load()


def test_damage_that_ends_a_process_ends_none_of_ours() -> None:
    """XGBoost follows the number of a child that is not there."""
    model = xgboost_classes()
    at = model.artifact.index(b'"left_children":[1,')
    harm = model.artifact[:at] + model.artifact[at:].replace(b"[1,", b"[536870911,", 1)
    with pytest.raises(InputError, match=r"ended the process that tried it \(SIG[A-Z]+\)|loaded") as caught:
        trial.tried(model.manifest, harm)
    assert caught.value.field == "artifact"


def test_a_sound_artifact_is_tried_elsewhere_and_names_its_features(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOSSLOOP_SECRET", "not for it")
    found = trial.tried(Manifest(runtime="lightgbm", notes="as sent"), lightgbm_binary().artifact)
    assert [(each.name, each.kind) for each in found.features] == [(each.name, each.kind) for each in MIXED]
    assert found.notes == "as sent"
    assert "LOSSLOOP_SECRET" not in trial.environment()


def test_what_takes_for_ever_is_told() -> None:
    with pytest.raises(InputError, match="the model was not loaded and asked within 0 s"):
        trial.check(onnx_table().manifest, onnx_table().artifact, patience=0.0)


def test_what_is_wrong_elsewhere_comes_back_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match="takes 2 features, the manifest lists 1") as caught:
        trial.check(Manifest(runtime="onnx", features=NUMBERS[:1]), onnx_table().artifact)
    assert caught.value.field == "features"
    monkeypatch.setenv("PYTHONPATH", "nowhere")
    monkeypatch.setattr(trial, "MOST_BYTES", 10)
    with pytest.raises(InputError, match=r"the artifact has 11 bytes; at most 10 are taken"):
        trial.check(Manifest(runtime="onnx"), b"x" * 11)


@pytest.mark.parametrize("runtime", ["catboost", "keras", "lightgbm", "skops", "xgboost"])
def test_a_missing_library_is_told(runtime: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = {
        "catboost": catboost_model, "keras": keras_model, "lightgbm": lightgbm_binary, "skops":
        skops_pipeline, "xgboost": xgboost_binary,
    }[runtime]()  # fmt: skip
    monkeypatch.setitem(sys.modules, runtime, None)
    monkeypatch.setitem(sys.modules, "skops.io", None)
    words = rf"{runtime} is not installed; run: pip install 'lossloop\[{runtime}\]'"
    with pytest.raises(MissingExtra, match=words):
        made.load()


def test_a_library_s_own_missing_library_is_named() -> None:
    with pytest.raises(MissingExtra, match="nothing_like_it is not installed"):
        library("nothing_like_it", "x")


def test_code_is_not_loaded() -> None:
    with pytest.raises(InputError, match="the runtime 'torch' can run code when it is loaded") as caught:
        load(Manifest(runtime="torch", features=NUMBERS), b"PK")
    assert caught.value.field == "runtime"


class Harm:
    def predict(self, rows: Any) -> Any:
        return rows


def test_types_that_are_not_trusted_are_named() -> None:
    preprocessing = library("sklearn.preprocessing", "skops")
    linear, pipeline = library("sklearn.linear_model", "skops"), library("sklearn.pipeline", "skops")
    skops = library("skops.io", "skops")
    chain = pipeline.make_pipeline(preprocessing.FunctionTransformer(told), linear.LinearRegression())
    data = skops.dumps(chain)
    with pytest.raises(InputError, match=r"types that are not trusted: .*lossloop\.serve\.runtimes"):
        load(Manifest(runtime="skops", features=NUMBERS), data)
    with pytest.raises(InputError, match=r"run code when they are loaded") as caught:
        load(Manifest(runtime="skops", options=Options(trusted=("os.system",))), data)
    assert caught.value.field == "options.trusted"


def test_a_pickle_is_refused_with_what_to_do() -> None:
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        with pytest.raises(InputError, match="this is a pickle, and loading one runs code; save a"):
            runtime_of(pickle.dumps(Harm(), protocol), "model.skops")


def test_a_classifier_without_chances_is_told() -> None:
    svm, skops = library("sklearn.svm", "skops"), library("skops.io", "skops")
    model = svm.LinearSVC().fit([[0.0, 1.0], [1.0, 0.0]], [0, 1])
    with pytest.raises(InputError, match="LinearSVC gives classes, and no chances of them; wrap it in Calib"):
        load(Manifest(runtime="skops", features=NUMBERS), skops.dumps(model))


def test_what_predicts_nothing_is_told() -> None:
    preprocessing, skops = library("sklearn.preprocessing", "skops"), library("skops.io", "skops")
    scaler = preprocessing.StandardScaler().fit([[0.0, 1.0], [1.0, 0.0]])
    with pytest.raises(InputError, match="StandardScaler predicts nothing"):
        load(Manifest(runtime="skops", features=NUMBERS), skops.dumps(scaler))


@pytest.mark.parametrize("runtime", ["skops", "keras"])
def test_a_bomb_is_not_unpacked(runtime: str, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("schema.json", b"0" * 100_000)
    monkeypatch.setattr(f"lossloop.serve.runtimes.{runtime}._MOST_BYTES", 50_000)
    with pytest.raises(InputError, match="unpacked the file has 100,000 bytes; at most 50,000"):
        load(Manifest(runtime=runtime, features=NUMBERS), packed.getvalue())


def test_a_layer_with_code_of_its_own_is_refused() -> None:
    keras_model()  # loads Keras on JAX
    keras = library("keras", "keras")
    model = keras.Sequential([keras.Input((2,)), keras.layers.Lambda(lambda rows: rows * 2.0)])
    with pytest.raises(InputError, match=r"not a Keras model that can be loaded: .*Lambda"):
        load(Manifest(runtime="keras", features=NUMBERS), saved(model.save, "m.keras"))


def test_shapes_that_no_row_fits_are_told() -> None:
    keras_model()
    keras = library("keras", "keras")
    cube, table = keras.Input((2, 2)), keras.Input((2,))
    deep = keras.Model(cube, keras.layers.Flatten()(cube))
    with pytest.raises(InputError, match=r"the model's input has shape \(None, 2, 2\), not \(n, features\)"):
        load(Manifest(runtime="keras", features=NUMBERS), saved(deep.save, "m.keras"))
    dense = keras.layers.Dense(1)
    twins = keras.Model(table, [dense(table), dense(table)])
    with pytest.raises(InputError, match="the model has 2 outputs; serve one"):
        load(Manifest(runtime="keras", features=NUMBERS), saved(twins.save, "m.keras"))


def test_answers_of_another_shape_are_told() -> None:
    keras_model()
    keras = library("keras", "keras")
    table = keras.Input((2,))
    cube = keras.Model(table, keras.layers.Reshape((2, 1, 1))(table))
    with pytest.raises(InputError, match=r"answers 4 rows with float64 of shape \(4, 2, 1, 1\); one number"):
        trial.attempt(Manifest(runtime="keras", features=NUMBERS), saved(cube.save, "m.keras"))


def test_linear_boosters_are_refused() -> None:
    xgboost = library("xgboost", "xgboost")
    table = xgboost.DMatrix(np.eye(2), [0, 1], nthread=1)
    model = xgboost.train({"booster": "gblinear", "nthread": 1}, table, 1)
    with pytest.raises(InputError, match="a linear booster cannot be served"):
        load(Manifest(runtime="xgboost", features=NUMBERS), bytes(model.save_raw("json")))


def test_categories_without_their_texts_are_refused() -> None:
    lightgbm = library("lightgbm", "lightgbm")
    rows = np.column_stack([np.arange(60) % 3, np.arange(60)])
    table = lightgbm.Dataset(rows, np.arange(60) % 3 == 1, categorical_feature=[0])
    given = {"objective": "binary", "verbose": -1, "num_threads": 1, "min_data_per_group": 1}
    model = lightgbm.train(given, table, 2)
    with pytest.raises(InputError, match="the model has 1 categorical features, and the texts of 0"):
        load(Manifest(runtime="lightgbm", features=NUMBERS), model.model_to_string().encode())


# scikit-learn's trees: compiled code follows their indices.


def doctored(kind: str, change: Any) -> Any:
    """An estimator of which the first tree was changed."""
    skops = library("skops.io", "skops")
    model = skops.loads(skops_model(kind).artifact, trusted=["numpy.dtype", *sktrees.TYPES])
    if kind == "boosted":
        change(model._predictors[0][0].nodes)
        return model
    tree = model.estimators_.ravel()[0].tree_ if kind == "gradient" else model.estimators_[0].tree_
    state = tree.__getstate__()
    state["nodes"] = state["nodes"].copy()
    change(state["nodes"])
    tree.__setstate__(state)
    return model


def test_trees_that_scikit_learn_grew_are_sound() -> None:
    for kind in ("forest", "gradient", "boosted", "linear"):
        sktrees.check(doctored(kind, lambda nodes: None) if kind != "linear" else Harm())


HARMS: dict[str, tuple[str, str, int]] = {
    "a child beyond the tree": ("forest", "left_child", 1 << 40),
    "a child that is its own parent": ("forest", "right_child", 0),
    "a feature beyond the table": ("forest", "feature", 2),
    "a feature before the table": ("gradient", "feature", -3),
    "a child beyond a boosted tree": ("boosted", "left", 1 << 20),
    "a boosted feature beyond the table": ("boosted", "feature_idx", 1 << 20),
    "a set of categories that there is not": ("boosted", "bitset_idx", 5),
}


@pytest.mark.parametrize("harm", HARMS)
def test_a_tree_that_leads_out_of_its_arrays_is_refused(harm: str) -> None:
    kind, name, value = HARMS[harm]

    def change(nodes: Any) -> None:
        nodes[name][0] = value
        if name == "bitset_idx":
            nodes["is_categorical"][0] = 1

    with pytest.raises(InputError, match="a tree in the file leads to nodes or features that there are not"):
        sktrees.check(doctored(kind, change))


def test_a_forest_that_claims_fewer_columns_than_its_trees_read_is_refused() -> None:
    model = doctored("forest", lambda nodes: None)
    model.n_features_in_ = 1
    with pytest.raises(InputError, match="leads to nodes or features"):
        sktrees.check(model)


def test_a_changed_forest_is_refused_when_it_is_loaded() -> None:
    skops = library("skops.io", "skops")
    broken = doctored("forest", lambda nodes: nodes["left_child"].__setitem__(0, 1 << 40))
    with pytest.raises(InputError, match="a tree in the file leads to nodes"):
        load(Manifest(runtime="skops", features=NUMBERS), skops.dumps(broken))


def test_compiled_loops_run_on_the_thread_that_asks_alone() -> None:
    """scikit-learn's boosting by histograms starts one a core, which wait for each other by spinning."""

    def ask() -> set[int]:
        skops_model("boosted").load().predict(columns(NUMBERS))
        info = library("threadpoolctl", "skops").threadpool_info()
        return {each["num_threads"] for each in info if "scikit_learn" in each["filepath"]}

    with ThreadPoolExecutor(1) as other:
        assert other.submit(ask).result() <= {1}


def test_what_ran_on_many_threads_runs_on_one() -> None:
    runtime: Any = skops_model("forest").load()
    rows = columns(NUMBERS)
    assert np.array_equal(runtime.predict(rows), runtime.predict(rows))
    assert runtime._ask.__self__.n_jobs == 1


# Which runtime a file is for.


@pytest.mark.parametrize(
    ("name", "runtime"),
    [("a.onnx", "onnx"), ("A.ONNX", "onnx"), ("a.cbm", "catboost"), ("a.pt2", "torch"), ("a.ubj", "xgboost")],
)
def test_a_name_tells_where_bytes_do_not(name: str, runtime: str) -> None:
    assert runtime_of(b"\x08\x08", name) == runtime


@pytest.mark.parametrize("name", ["", "model", "model.bin", "onnx"])
def test_what_may_be_anything_is_to_be_named(name: str) -> None:
    with pytest.raises(InputError, match="cannot tell which runtime this file is for; say it in a manifest"):
        runtime_of(b"\x08\x08", name)


def test_zips_are_told_apart() -> None:
    def packed(*names: str) -> bytes:
        made = io.BytesIO()
        with zipfile.ZipFile(made, "w") as file:
            for name in names:
                file.writestr(name, json.dumps({}))
        return made.getvalue()

    assert runtime_of(packed("schema.json")) == "skops"
    assert runtime_of(packed("config.json", "metadata.json", "model.weights.h5")) == "keras"
    assert runtime_of(packed("m/archive_format", "m/byteorder")) == "torch"
    assert runtime_of(b"PK and no zip", "m.keras") == "keras"
    with pytest.raises(InputError, match="cannot tell"):
        runtime_of(packed("readme.txt"), "m.zip")


def test_samples_are_small_and_odd_where_that_is_allowed() -> None:
    rows = trial.samples((*MIXED, Feature(name="z")))
    assert {name: len(each) for name, each in rows.items()} == {"x": 4, "y": 4, "colour": 4, "z": 4}
    assert np.isfinite(rows["x"]).all()
    assert np.isnan(rows["y"]).tolist() == [False, False, False, True]
    assert rows["colour"].tolist()[-1] is None
