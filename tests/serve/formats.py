"""Models of each format, small and trained in a moment, and rows that they fit."""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from lossloop.registry import Feature, FeatureKind, Manifest, Options
from lossloop.serve.runtimes import Columns, Runtime, load
from lossloop.serve.runtimes.libraries import library

pd = library("pandas", "skops")

NUMBERS = (Feature(name="x"), Feature(name="y"))
MIXED = (
    Feature(name="x"),
    Feature(name="y", nullable=True),
    Feature(name="colour", kind=FeatureKind.CATEGORY, nullable=True),
)
COLOURS = ("blue", "green", "red")
_DRAW = np.random.default_rng(7)
_X = _DRAW.normal(size=(200, 2))
_CODES = _DRAW.integers(0, 3, 200)
_SCORE = _X[:, 0] - 0.5 * _X[:, 1] + (_CODES == 1) + 0.3 * _DRAW.normal(size=200)
LATE, GRADE = (_SCORE > 0).astype(int), np.digitize(_SCORE, [-0.5, 0.5])
TABLE = pd.DataFrame({"x": _X[:, 0], "y": _X[:, 1]})
TEXTS = TABLE.assign(colour=np.array(COLOURS, dtype=object)[_CODES])
CATEGORIES = TABLE.assign(colour=pd.Categorical(TEXTS["colour"]))
QUICK: dict[str, Any] = {"n_estimators": 5, "n_jobs": 1, "random_state": 0}


@dataclass(frozen=True, kw_only=True)
class Model:
    """An artifact, how it is registered, and what its own library answers to the first rows of a table."""

    runtime: str
    artifact: bytes
    features: tuple[Feature, ...] = NUMBERS
    options: Options = field(default_factory=Options)
    wanted: Any = None

    @property
    def manifest(self) -> Manifest:
        return Manifest(runtime=self.runtime, features=self.features, options=self.options)

    def load(self) -> Runtime:
        return load(self.manifest, self.artifact)


def columns(features: tuple[Feature, ...], rows: int = 6) -> Columns:
    """The first rows of the tables above, as a runtime takes them."""
    found = TEXTS.iloc[:rows]
    return {each.name: found[each.name].to_numpy(dtype=_type(each)) for each in features}


def odd(features: tuple[Feature, ...]) -> Columns:
    """Rows that are allowed and rare: nulls, an unseen category, a number beyond single precision."""
    cells: dict[str, list[Any]] = {
        "x": [0.1, 0.2, 1e300],
        "y": [np.nan if any(each.nullable for each in features) else 0.0, 0.3, -1e300],
        "colour": [None, "unheard of", "red"],
    }
    return {each.name: np.array(cells[each.name], dtype=_type(each)) for each in features}


def _type(feature: Feature) -> type[Any]:
    return object if feature.kind is FeatureKind.CATEGORY else np.float64


@cache
def xgboost_binary(form: str = "ubj") -> Model:
    xgboost = library("xgboost", "xgboost")

    model = xgboost.XGBClassifier(max_depth=3, enable_categorical=True, **QUICK).fit(CATEGORIES, LATE)
    return Model(
        runtime="xgboost", artifact=bytes(model.get_booster().save_raw(form)), features=MIXED,
        wanted=model.predict_proba(CATEGORIES[:6])[:, 1],
    )  # fmt: skip


@cache
def xgboost_classes() -> Model:
    """Trained to say the likeliest class; it answers with chances all the same."""
    xgboost = library("xgboost", "xgboost")

    table = xgboost.DMatrix(TABLE.to_numpy(), GRADE)
    given = {"objective": "multi:softmax", "num_class": 3, "nthread": 1, "max_depth": 2}
    model = xgboost.train(given, table, 3)
    artifact = bytes(model.save_raw("json"))
    model.set_param({"objective": "multi:softprob"})
    return Model(runtime="xgboost", artifact=artifact, wanted=model.predict(table)[:6])


@cache
def lightgbm_binary() -> Model:
    lightgbm = library("lightgbm", "lightgbm")

    model = lightgbm.LGBMClassifier(verbose=-1, min_data_per_group=5, min_child_samples=5, **QUICK)
    model.fit(CATEGORIES, LATE)
    return Model(
        runtime="lightgbm", artifact=model.booster_.model_to_string().encode(), features=MIXED,
        wanted=model.booster_.predict(CATEGORIES[:6]),
    )  # fmt: skip


@cache
def lightgbm_value() -> Model:
    lightgbm = library("lightgbm", "lightgbm")

    given = {"objective": "regression", "verbose": -1, "num_threads": 1}
    model = lightgbm.train(given, lightgbm.Dataset(TABLE.to_numpy(), _SCORE), 5)
    return Model(
        runtime="lightgbm", artifact=model.model_to_string().encode(),
        wanted=model.predict(TABLE.to_numpy()[:6]),
    )  # fmt: skip


@cache
def catboost_model(kind: str = "binary") -> Model:
    catboost = library("catboost", "catboost")

    features: tuple[Feature, ...] = NUMBERS
    given: dict[str, Any] = {"iterations": 5, "depth": 3, "thread_count": 1, "random_seed": 0}
    given |= {"verbose": False, "allow_writing_files": False}
    if kind == "binary":
        model = catboost.CatBoostClassifier(cat_features=["colour"], **given).fit(TEXTS, LATE)
        wanted, features = model.predict_proba(TEXTS[:6])[:, 1], MIXED
    elif kind == "classes":
        model = catboost.CatBoostClassifier(**given).fit(TABLE.to_numpy(), GRADE)
        wanted = model.predict_proba(TABLE.to_numpy()[:6])
    else:
        model = catboost.CatBoostRegressor(loss_function="Poisson", **given).fit(TABLE, GRADE)
        wanted = model.predict(TABLE[:6])
    return Model(
        runtime="catboost", artifact=saved(model.save_model, "m.cbm"), features=features, wanted=wanted
    )


@cache
def skops_pipeline() -> Model:
    """An imputer, a scaler and an encoder that refuses what it has not seen, by columns' names."""
    skops = library("skops.io", "skops")
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers = make_pipeline(SimpleImputer(), StandardScaler())
    prepare = ColumnTransformer([("n", numbers, ["x", "y"]), ("c", OneHotEncoder(), ["colour"])])
    model = make_pipeline(prepare, LogisticRegression()).fit(TEXTS, LATE)
    return Model(
        runtime="skops", artifact=skops.dumps(model), features=MIXED,
        wanted=model.predict_proba(TEXTS[:6])[:, 1],
    )  # fmt: skip


@cache
def skops_model(kind: str) -> Model:
    skops = library("skops.io", "skops")
    from sklearn import ensemble, linear_model

    given: Any = {
        "linear": lambda: linear_model.LogisticRegression().fit(TABLE, LATE),
        "value": lambda: linear_model.LinearRegression().fit(TABLE.to_numpy(), _SCORE),
        "forest": lambda: ensemble.RandomForestClassifier(max_depth=3, **QUICK).fit(TABLE, GRADE),
        "boosted": lambda: ensemble.HistGradientBoostingClassifier(max_iter=3).fit(TABLE, LATE),
        "gradient": lambda: ensemble.GradientBoostingRegressor(n_estimators=3).fit(TABLE, _SCORE),
    }[kind]
    model = given()
    known = TABLE[:6] if hasattr(model, "feature_names_in_") else TABLE.to_numpy()[:6]
    wanted = model.predict_proba(known) if hasattr(model, "predict_proba") else model.predict(known)
    return Model(
        runtime="skops", artifact=skops.dumps(model),
        wanted=wanted[:, 1] if kind in ("linear", "boosted") else wanted,
    )  # fmt: skip


@cache
def keras_model(*, by_name: bool = False) -> Model:
    os.environ.setdefault("KERAS_BACKEND", "jax")
    keras = library("keras", "keras")

    keras.utils.set_random_seed(0)
    first: Any
    if by_name:
        first = {each.name: keras.Input((1,), name=each.name) for each in NUMBERS}
        inside = keras.layers.Concatenate()(list(first.values()))
    else:
        first = inside = keras.Input((2,))
    last = keras.layers.Dense(1, activation="sigmoid")(keras.layers.Dense(4, activation="tanh")(inside))
    model = keras.Model(first, last)
    rows = TABLE.to_numpy(dtype=np.float32)[:6]
    given = {each.name: rows[:, [place]] for place, each in enumerate(NUMBERS)} if by_name else rows
    return Model(
        runtime="keras", artifact=saved(model.save, "m.keras"), wanted=np.asarray(model(given))[:, 0]
    )


@cache
def onnx_table(*, maps: bool = True, classes: int = 2) -> Model:
    """What skl2onnx makes of a classifier: one input, labels, and chances as a dictionary a row or as a
    table."""
    from sklearn.linear_model import LogisticRegression

    rows = TABLE.to_numpy(dtype=np.float32)
    model = LogisticRegression().fit(rows, LATE if classes == 2 else GRADE)
    made = library("skl2onnx", "convert").to_onnx(model, rows[:1], options={"zipmap": maps})
    wanted = model.predict_proba(rows[:6])
    return Model(
        runtime="onnx", artifact=made.SerializeToString(), wanted=wanted[:, 1] if classes == 2 else wanted
    )


def saved(save: Callable[[str], Any], name: str) -> bytes:
    """What a library writes that writes files only."""
    with tempfile.TemporaryDirectory() as directory, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Keras' own, of its variables
        path = Path(directory) / name
        save(str(path))
        return path.read_bytes()


MODELS: dict[str, Callable[[], Model]] = {
    "xgboost binary, categories": xgboost_binary,
    "xgboost json": lambda: xgboost_binary("json"),
    "xgboost classes": xgboost_classes,
    "lightgbm binary, categories": lightgbm_binary,
    "lightgbm value": lightgbm_value,
    "catboost binary, categories": catboost_model,
    "catboost classes": lambda: catboost_model("classes"),
    "catboost count": lambda: catboost_model("count"),
    "skops pipeline, categories": skops_pipeline,
    "skops linear": lambda: skops_model("linear"),
    "skops value": lambda: skops_model("value"),
    "skops forest": lambda: skops_model("forest"),
    "skops boosted": lambda: skops_model("boosted"),
    "skops gradient": lambda: skops_model("gradient"),
    "keras": keras_model,
    "keras by name": lambda: keras_model(by_name=True),
    "onnx maps": onnx_table,
    "onnx table": lambda: onnx_table(maps=False),
    "onnx classes": lambda: onnx_table(classes=3),
}
