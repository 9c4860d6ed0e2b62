"""The demo's model: logistic regression, with a reference from days that it has not seen, as ONNX.

The artifact takes the request as it is: it fills in missing weather, and cuts the hour out of the local time
(1745 gives 17). With `cut_hour=False` it does not, though training did: a release with a real kind of bug,
which no test on the training side can see.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import onnx
import pyarrow as pa
from onnx import helper, numpy_helper
from scipy import sparse
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from lossloop.app.demo.flights import CALENDAR, FEATURES
from lossloop.core.clock import DAY, Micros
from lossloop.core.cuts import SliceReference
from lossloop.core.errors import InputError
from lossloop.core.profile import Profile
from lossloop.core.seasons import Season
from lossloop.judges import block_means, calibration, design_effect, profile_of, slice_references
from lossloop.registry import Feature, FeatureKind, Reference

Floats = npt.NDArray[np.float64]
Loss = Callable[[Floats, Floats], Any]
"""(y_true, y_pred) of shape (n,) to losses of shape (n,), such as a loss of `lossloop.losses`."""

SLICES = ("carrier", "origin")
"""Each of their values has a reference of its own."""
FOLDS, FOLD_DAYS = 5, 4
"""Cross-validation leaves out every fifth run of four days: days share their weather, so rows will not do."""

_NUMBERS = tuple(feature.name for feature in FEATURES if feature.kind is FeatureKind.NUMBER)
_CATEGORIES = tuple(feature.name for feature in FEATURES if feature.kind is FeatureKind.CATEGORY)
_TIME = _NUMBERS.index("sched_dep_time")
_TYPES = {FeatureKind.NUMBER: onnx.TensorProto.FLOAT, FeatureKind.CATEGORY: onnx.TensorProto.STRING}


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What a version is registered with: reference and profile have what every kind of watch asks for."""

    artifact: bytes
    """An ONNX model; the same rows give the same bytes. Each feature is an input of shape (n, 1), float32
    with NaN for null, or text; `y_pred`, shape (n,), is the chance of being late."""
    reference: Reference
    profile: Profile
    features: tuple[Feature, ...]
    rows: int
    """How many rows with a label it was trained on."""
    first: Micros
    """The times of the first and of the last of them."""
    last: Micros


@dataclass(frozen=True, kw_only=True, eq=False)
class Model:
    """The fitted parts; the artifact is made of their numbers."""

    imputer: SimpleImputer
    scaler: StandardScaler
    encoder: OneHotEncoder
    regression: LogisticRegression

    def predict(self, numbers: Floats, categories: npt.NDArray[np.object_]) -> Floats:
        """The chance of being late. Shapes (n, numbers), with NaN for null, and (n, categories) to (n,)."""
        scaled = self.scaler.transform(self.imputer.transform(numbers))
        design = sparse.hstack([scaled, self.encoder.transform(categories)], format="csr")
        return np.asarray(self.regression.predict_proba(design)[:, 1], dtype=np.float64)


def train_version(
    table: pa.Table, *, loss: Loss, loss_name: str, most: float = 5.0, label: str = "late"
) -> Trained:
    """Train on the rows that have a label, and measure the reference by cross-validation on the same rows.

    Args:
        table: Rows with FEATURES, `time` (microseconds since 1970 UTC) and the label, in any order.
        loss: What the reference measures.
        loss_name: The loss's name in the reference.
        most: The largest loss.
        label: The column of labels: 1 or 0, null where the outcome never came.

    Raises:
        InputError: Too few days, or only one of the two labels.
    """
    rows = table.filter(table[label].is_valid())
    late, time = _floats(rows, label), rows["time"].cast(pa.int64()).to_numpy()
    days = CALENDAR.blocks(time) // DAY
    _check(late, days)
    numbers, categories = inputs(rows)
    held_out = cross_validate(numbers, categories, late, days)
    lost = np.asarray(loss(late, held_out))
    measured = reference(lost, days, loss_name=loss_name)
    return Trained(
        artifact=to_onnx(fit(numbers, categories, late)),
        reference=msgspec.structs.replace(
            measured,
            estimate=calibration(late, held_out, most=most),
            baseline=float(late.mean()),
            seasons={Season.WEEKDAY: by_weekday(lost, days)},
            slices=by_slice(lost, rows, days),
        ),
        profile=profile_of(columns(rows), predictions=held_out, blocks=days, joint=False),
        features=FEATURES,
        rows=len(late),
        first=int(time.min()),
        last=int(time.max()),
    )


def artifact(table: pa.Table, *, label: str = "late", cut_hour: bool = True) -> bytes:
    """The artifact that `train_version` makes of these rows; without the cut, of version 2."""
    rows = table.filter(table[label].is_valid())
    return to_onnx(fit(*inputs(rows), _floats(rows, label)), cut_hour=cut_hour)


def inputs(table: pa.Table) -> tuple[Floats, npt.NDArray[np.object_]]:
    """What the regression sees: numbers (the hour for the local time, NaN for null) and categories."""
    numbers = np.column_stack([_floats(table, name) for name in _NUMBERS])
    numbers[:, _TIME] //= 100
    categories = [table[name].cast(pa.string()).to_numpy().astype(np.object_) for name in _CATEGORIES]
    return numbers, np.column_stack(categories)


def fit(numbers: Floats, categories: npt.NDArray[np.object_], late: Floats) -> Model:
    """Fit all parts. Newton's method ends so close to the optimum that threads and machines hardly differ."""
    imputer = SimpleImputer(strategy="median", keep_empty_features=True).fit(numbers)
    scaler = StandardScaler().fit(imputer.transform(numbers))
    encoder = OneHotEncoder(handle_unknown="ignore").fit(categories)
    scaled = scaler.transform(imputer.transform(numbers))
    design = sparse.hstack([scaled, encoder.transform(categories)], format="csr")
    regression = LogisticRegression(solver="newton-cholesky", tol=1e-8).fit(design, late)
    return Model(imputer=imputer, scaler=scaler, encoder=encoder, regression=regression)


def cross_validate(
    numbers: Floats, categories: npt.NDArray[np.object_], late: Floats, days: npt.NDArray[np.int64]
) -> Floats:
    """Predict each row with a model that has not seen its run of days. Shape (n,)."""
    fold = (days - days.min()) // FOLD_DAYS % FOLDS
    predicted = np.full(len(late), np.nan)
    for number in range(FOLDS):
        out = fold == number
        model = fit(numbers[~out], categories[~out], late[~out])
        predicted[out] = model.predict(numbers[out], categories[out])
    return predicted


def reference(losses: Floats, days: npt.NDArray[np.int64], *, loss_name: str) -> Reference:
    """The reference profile of losses on held-out rows, both of shape (n,)."""
    return Reference(
        loss=loss_name,
        mean=float(losses.mean()),
        block="1d",
        block_means=tuple(block_means(losses, days).mean.tolist()),
        rows=len(losses),
        design_effect=design_effect(losses, days),
    )


def by_weekday(losses: Floats, days: npt.NDArray[np.int64]) -> tuple[float, ...]:
    """The mean loss of each weekday, Monday first; both of shape (n,)."""
    weekday = (days + 3) % 7  # 1 January 1970 was a Thursday
    return tuple((np.bincount(weekday, losses, 7) / np.bincount(weekday, minlength=7)).tolist())


def by_slice(losses: Floats, table: pa.Table, days: npt.NDArray[np.int64]) -> dict[str, SliceReference]:
    """The reference of each carrier and of each origin that has enough days, by the slice's name."""
    found: dict[str, SliceReference] = {}
    for name in SLICES:
        found |= slice_references(losses, [f"{name}={value}" for value in table[name].to_pylist()], days)
    return found


def columns(table: pa.Table) -> dict[str, npt.NDArray[Any]]:
    """The features as they are sent: numbers, NaN where there is none, or text."""
    return {
        feature.name: _floats(table, feature.name)
        if feature.kind is FeatureKind.NUMBER
        else np.array(table[feature.name].to_pylist(), dtype=object)
        for feature in FEATURES
    }


def to_onnx(model: Model, *, cut_hour: bool = True) -> bytes:
    """The model as ONNX, with what prepares its inputs; deterministic."""
    count = len(_NUMBERS)
    weights = model.regression.coef_[0]
    values = model.encoder.categories_
    per_category = np.split(weights[count:], np.cumsum([len(names) for names in values])[:-1])
    constants = {
        "fill": model.imputer.statistics_,
        "mean": model.scaler.mean_,
        "scale": model.scaler.scale_,
        "weights": weights[:count, None],
        "intercept": model.regression.intercept_,
    }
    graph = helper.make_graph(
        [*_hour(cut=cut_hour), *_linear(), *map(_lookup, _CATEGORIES, values, per_category), *_chance()],
        "late",
        [helper.make_tensor_value_info(feature.name, _TYPES[feature.kind], ["n", 1]) for feature in FEATURES],
        [helper.make_tensor_value_info("y_pred", onnx.TensorProto.FLOAT, ["n"])],
        [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in constants.items()],
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("ai.onnx.ml", 4)]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=10, producer_name="lossloop")
    onnx.checker.check_model(made, full_check=True)
    return bytes(made.SerializeToString(deterministic=True))


def _hour(*, cut: bool) -> list[onnx.NodeProto]:
    if not cut:
        return [helper.make_node("Identity", ["sched_dep_time"], ["hour"])]
    return [
        helper.make_node("Constant", [], ["hundred"], value_floats=[100.0]),
        helper.make_node("Div", ["sched_dep_time", "hundred"], ["hours"]),
        helper.make_node("Floor", ["hours"], ["hour"]),
    ]


def _linear() -> list[onnx.NodeProto]:
    columns = ["hour" if name == "sched_dep_time" else name for name in _NUMBERS]
    return [
        helper.make_node("Concat", columns, ["numbers"], axis=1),
        helper.make_node("IsNaN", ["numbers"], ["missing"]),
        helper.make_node("Where", ["missing", "fill", "numbers"], ["filled"]),
        helper.make_node("Sub", ["filled", "mean"], ["centred"]),
        helper.make_node("Div", ["centred", "scale"], ["scaled"]),
        helper.make_node("MatMul", ["scaled", "weights"], ["linear"]),
    ]


def _lookup(name: str, values: Sequence[str], weights: Floats) -> onnx.NodeProto:
    """One-hot encoding and its weights in one: a value's weight, 0 for a value that training never saw."""
    return helper.make_node(
        "LabelEncoder",
        [name],
        [f"{name}_weight"],
        domain="ai.onnx.ml",
        keys_strings=[str(value) for value in values],
        values_floats=weights.tolist(),
        default_float=0.0,
    )


def _chance() -> list[onnx.NodeProto]:
    terms = ["linear", "intercept", *(f"{name}_weight" for name in _CATEGORIES)]
    return [
        helper.make_node("Sum", terms, ["log_odds"]),
        helper.make_node("Sigmoid", ["log_odds"], ["chance"]),
        helper.make_node("Constant", [], ["columns"], value_ints=[1]),
        helper.make_node("Squeeze", ["chance", "columns"], ["y_pred"]),
    ]


def _check(late: Floats, days: npt.NDArray[np.int64]) -> None:
    if len(np.unique(late)) < 2:
        raise InputError("training needs flights that were late and flights that were not", field="label")
    least = FOLDS * FOLD_DAYS
    if days.max() - days.min() < least - 1:
        raise InputError(f"training needs flights of {least} days or more", field="time")


def _floats(table: pa.Table, name: str) -> Floats:
    """A column as float64, NaN for null; a copy."""
    column = table[name].cast(pa.float64()).combine_chunks()
    return np.array(column.fill_null(np.nan).to_numpy(zero_copy_only=False), dtype=np.float64)
