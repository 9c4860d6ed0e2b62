"""scikit-learn models as skops writes them: a zip of a schema and arrays, no code.

Only types on a list are made: those that skops trusts, scikit-learn's trees (after a check of their indices,
which compiled code follows unchecked) and NumPy's dtype. A missing number is NaN, a missing category is NaN
too, as pandas has it. Columns go in by name where the model chooses them by name or takes categories.
"""

from __future__ import annotations

import io
import threading
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np

from lossloop.core.errors import InputError
from lossloop.registry import Feature, FeatureKind, Manifest
from lossloop.serve.runtimes import sktrees
from lossloop.serve.runtimes.alone import one_by_one
from lossloop.serve.runtimes.base import Columns, Floats
from lossloop.serve.runtimes.inputs import LARGEST, Matrix, answers, only_numbers, order
from lossloop.serve.runtimes.libraries import library, reading

_TRUSTED = ("numpy.dtype", *sktrees.TYPES)
_MOST_BYTES = 4 << 30


class SkopsRuntime:
    """A fitted estimator; what can run on several threads runs on one."""

    native = False

    def __init__(self, artifact: bytes, manifest: Manifest) -> None:
        model = read(artifact, manifest.options.trusted)
        names = order_of(model, manifest)
        self._ask = _asks(model)
        self._binary = hasattr(model, "predict_proba") and len(model.classes_) == 2
        self._names = names
        self._frames = chooses_by_name(model)
        if not self._frames:
            only_numbers(manifest.features, "this model takes a table of numbers, not columns by name")
            for each in sktrees.estimators(model):
                each.__dict__.pop(
                    "feature_names_in_", None
                )  # scikit-learn would warn of a table without names
        self._matrix = Matrix(names)
        self._limit = library("threadpoolctl", "skops").threadpool_limits
        self._calm = threading.local()
        self._pandas: Any = library("pandas", "skops") if self._frames else None

    def predict(self, columns: Columns) -> Floats:
        if not hasattr(self._calm, "limits"):  # OpenMP counts for the thread that asks
            self._calm.limits = self._limit(limits=1, user_api="openmp")
        rows = self._frame(columns) if self._frames else self._matrix.clipped(columns)
        try:
            made = answers(self._ask(rows))
        except ValueError:  # one row's category that an encoder refuses, say: its neighbours are answered
            if len(rows) < 2:
                raise
            return one_by_one(self.predict, columns, (ValueError,))
        return made[:, 1] if self._binary else made

    def _frame(self, columns: Columns) -> Any:
        made = {name: _as_trained(columns[name]) for name in self._names}
        return self._pandas.DataFrame(made, columns=self._names)


def features(artifact: bytes) -> tuple[Feature, ...] | None:
    """What the model knows of its features; None where it was fitted without names.

    A feature that an encoder of texts takes is a category; all may be null where nothing says otherwise.
    """
    model = read(artifact)
    known = getattr(model, "feature_names_in_", None)
    if known is None:
        return None
    texts = set(_texts(model))
    return tuple(
        Feature(name=str(name), kind=FeatureKind.CATEGORY if name in texts else FeatureKind.NUMBER)
        for name in known
    )


def order_of(model: Any, manifest: Manifest) -> list[str]:
    """The features in the order in which an estimator takes them; raise InputError where it takes others."""
    known = getattr(model, "feature_names_in_", None)
    return order(
        manifest.features,
        None if known is None else [str(name) for name in known],
        getattr(model, "n_features_in_", len(manifest.features)),
    )


def keep_trees(model: Any, count: int) -> None:
    """Drop all but the first trees of a forest, or the first rounds of scikit-learn's gradient boosting.

    Raises:
        InputError: It is something else, or has not more.
    """
    grown = sktrees.ensembles(model)
    if len(grown) != 1:
        raise InputError("the model is not one ensemble of trees; fewer cannot be kept", field="trees")
    if count >= len(grown[0].estimators_):
        raise InputError(
            f"the model has {len(grown[0].estimators_)} trees or rounds; keep fewer", field="trees"
        )
    grown[0].estimators_ = grown[0].estimators_[:count]
    grown[0].n_estimators = grown[0].n_estimators_ = count


def read(artifact: bytes, trusted: tuple[str, ...] = ()) -> Any:
    """The estimator in a skops file.

    Raises:
        InputError: It is none, is too large, or holds types that are not trusted: they are named.
        MissingExtra: skops is not installed.
    """
    found = library("skops.io", "skops", name="skops")
    if trusted:
        raise InputError(
            "types that are not on our list run code when they are loaded, which cannot be trusted yet; "
            "leave out options.trusted",
            field="options.trusted",
        )
    with reading("a skops file"):
        _check_size(artifact)
        strange = sorted({*found.get_untrusted_types(data=artifact)} - {*_TRUSTED})
        if strange:
            raise InputError(
                f"the file holds types that are not trusted: {', '.join(strange)}; save XGBoost's, "
                "LightGBM's and CatBoost's models in their own formats, and leave functions of your own "
                "out of "
                "the pipeline",
                field="artifact",
            )
        model = found.loads(artifact, trusted=list(_TRUSTED))
        if not hasattr(model, "predict"):
            raise InputError(f"{type(model).__name__} predicts nothing", field="artifact")
        sktrees.check(model)
    for each in sktrees.estimators(model):
        if "n_jobs" in each.__dict__:
            each.n_jobs = 1
    return model


def _asks(model: Any) -> Any:
    """The method that answers: chances of a classifier, values of all else."""
    if hasattr(model, "predict_proba"):
        return model.predict_proba
    if hasattr(model, "classes_"):
        raise InputError(
            f"{type(model).__name__} gives classes, and no chances of them; wrap it in "
            "CalibratedClassifierCV",
            field="artifact",
        )
    return model.predict


def _check_size(artifact: bytes) -> None:
    with zipfile.ZipFile(io.BytesIO(artifact)) as found:
        size = sum(each.file_size for each in found.infolist())
    if size > _MOST_BYTES:
        raise InputError(f"unpacked the file has {size:,} bytes; at most {_MOST_BYTES:,}", field="artifact")


def _as_trained(column: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if column.dtype == object:
        return np.array([np.nan if each is None else each for each in column], dtype=object)
    clipped: np.ndarray[Any, Any] = np.clip(column, -LARGEST, LARGEST)
    return clipped


def _choosers(model: Any) -> Iterator[Any]:
    return (each for each in sktrees.estimators(model) if hasattr(each, "transformers_"))


def chooses_by_name(model: Any) -> bool:
    """Whether some step takes columns by their names, or texts from the table as a whole."""
    if not hasattr(model, "feature_names_in_"):
        return False
    named = (columns for each in _choosers(model) for _, _, columns in each.transformers_)
    return any(isinstance(name, str) for columns in named for name in np.atleast_1d(columns)) or bool(
        _texts(model)
    )


def _texts(model: Any) -> list[str]:
    """The names of columns that an encoder was fitted on texts of."""
    return [
        str(name)
        for each in sktrees.estimators(model)
        if hasattr(each, "categories_") and hasattr(each, "feature_names_in_")
        for name, known in zip(each.feature_names_in_, each.categories_, strict=False)
        if np.asarray(known).dtype.kind in "OUS"
    ]
