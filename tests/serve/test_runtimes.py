"""Every runtime keeps its contract; what cannot be loaded says why."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from lossloop.core.errors import InputError, MissingExtra, UnknownName
from lossloop.registry import Manifest
from lossloop.serve.runtimes import EXTERNAL, Columns, Runtime, check_name, load
from lossloop.serve.runtimes.base import Floats
from lossloop.serve.runtimes.checks import check_runtime
from lossloop.serve.schema import columns
from tests.serve.models import FEATURES, Scripted, additive, classes, manifest

ROWS = columns(
    FEATURES,
    [
        {"x": 1.0, "y": 2.0, "colour": "red"},
        {"x": -3.5, "y": None, "colour": None},
        {"x": 0.25, "y": 4.0, "colour": "unheard of"},
        {"x": 7, "y": -1, "colour": ""},
    ],
)
WANTED = [13.0, -2.0, 4.25, 6.5]
ONNX = manifest()


@pytest.mark.parametrize("artifact", [additive(), additive(flat=True), classes()])
def test_onnx_keeps_the_contract(artifact: bytes) -> None:
    some = {**ROWS, "y": np.array([2.0, 1.0, 4.0, -1.0])}  # classes() fills in nothing
    check_runtime(load(ONNX, artifact), some)


@pytest.mark.parametrize("flat", [True, False])
def test_onnx_gets_what_was_sent_with_nulls_as_nan_and_as_no_text(flat: bool) -> None:
    found = load(ONNX, additive(flat=flat)).predict(ROWS)
    assert found.dtype == np.float64
    assert found.tolist() == WANTED


def test_chances_of_classes_are_rows() -> None:
    some = {**ROWS, "y": np.array([2.0, 1.0, 4.0, -1.0])}
    found = load(ONNX, classes()).predict(some)
    assert found.shape == (4, 3)
    assert np.allclose(found.sum(axis=1), 1.0)


def test_what_float32_cannot_hold_is_infinite_and_no_warning() -> None:
    some = {key: column[:1] for key, column in ROWS.items()} | {"x": np.array([1e300])}
    assert load(ONNX, additive()).predict(some).tolist() == [np.inf]


@pytest.mark.parametrize("artifact", [b"", b"not a model", additive()[:100]])
def test_what_is_no_model_is_told(artifact: bytes) -> None:
    with pytest.raises(InputError, match="not an ONNX model that can be loaded: ") as caught:
        load(ONNX, artifact)
    assert caught.value.field == "artifact"


def test_a_missing_library_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(
        MissingExtra, match=r"onnxruntime is not installed; run: pip install 'lossloop\[onnx\]'"
    ):
        load(ONNX, additive())


def test_an_unknown_runtime_is_told_which_there_are() -> None:
    with pytest.raises(UnknownName, match=r"unknown runtime 'onx'; did you mean 'onnx'\?") as caught:
        load(Manifest(runtime="onx"), b"")
    assert caught.value.field == "runtime"
    with pytest.raises(
        UnknownName,
        match=r"unknown runtime 'cobol'; there are: catboost, external, joblib, keras, lightgbm, mlflow, ",
    ):
        check_name("cobol")
    check_name("onnx")
    check_name(EXTERNAL)


class _Neighbourly:
    """A runtime that breaks the contract: a row's answer is the mean over all rows."""

    native = True

    def predict(self, columns: Columns) -> Floats:
        xs = np.array(columns["x"], dtype=np.float64)
        return np.full(len(xs), xs.mean())


class _Single:
    """A runtime that answers in single precision."""

    native = True

    def predict(self, columns: Columns) -> Floats:
        return np.zeros(len(columns["x"]), dtype=np.float32)


@pytest.mark.parametrize(
    ("runtime", "words"),
    [
        (_Neighbourly(), "does not depend on its neighbours"),
        (_Single(), "predictions are float64"),
        (Scripted(lambda xs: [0.0]), "one prediction a row"),
        (Scripted(lambda xs: [np.nan for _ in xs]), "predictions are finite"),
        (
            Scripted(lambda xs: np.random.default_rng().random(len(xs)).tolist()),
            "the same rows give the same bits",
        ),
    ],
)
def test_the_checks_can_fail(runtime: Runtime, words: str) -> None:
    with pytest.raises(AssertionError, match=words):
        check_runtime(runtime, ROWS)
