"""A changed bit in a format whose reader we trust with damage: told, or an answer; never anything else.

Formats whose readers end the process over it are tried in processes of their own, and not here.
"""

from __future__ import annotations

import json
import sys

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lossloop.core.errors import InputError
from lossloop.registry import Manifest
from lossloop.serve.runtimes import trial
from lossloop.serve.runtimes.guessing import runtime_of
from lossloop.serve.runtimes.libraries import reading, told
from tests.serve.formats import NUMBERS, Model, onnx_table, skops_model

SOUND = {"onnx": lambda: onnx_table(maps=False), "skops": lambda: skops_model("linear")}


@settings(max_examples=25, deadline=None)
@given(st.data())
@pytest.mark.parametrize("runtime", SOUND)
def test_a_flipped_bit_is_told_or_an_answer(runtime: str, data: st.DataObject) -> None:
    model: Model = SOUND[runtime]()
    raw = bytearray(model.artifact)
    for _ in range(data.draw(st.integers(1, 3))):
        raw[data.draw(st.integers(0, len(raw) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    try:
        features, field = trial.attempt(model.manifest, bytes(raw)).features, None
    except InputError as error:
        features, field = (), error.field
    assert bool(field) != bool(features)


@settings(max_examples=25, deadline=None)
@given(st.binary(max_size=200))
def test_junk_is_a_pickle_unknown_or_told(junk: bytes) -> None:
    try:
        found: str | None = runtime_of(junk, "model")
    except InputError as error:
        found = error.field
    assert found in ("artifact", "runtime", "catboost", "keras", "lightgbm", "skops", "torch", "xgboost")


@given(st.text())
def test_an_error_is_told_in_a_line(text: str) -> None:
    said = told(ValueError(text))
    assert said
    assert len(said) <= 400
    assert len(said.splitlines()) == 1


def test_an_error_without_words_is_its_type() -> None:
    assert told(KeyboardInterrupt()) == "KeyboardInterrupt"
    assert told(RuntimeError("\n  first \nStack trace:\n  [bt] (0)")) == "first"


def test_what_is_raised_over_bytes_is_ours_and_keeps_its_cause() -> None:
    cause = ZeroDivisionError("by zero")
    with (
        pytest.raises(InputError, match="not a thing that can be loaded: by zero") as caught,
        reading("a thing"),
    ):
        raise cause
    assert caught.value.__cause__ is cause
    ours = InputError("as it is", field="features")
    with pytest.raises(InputError, match="as it is") as again, reading("a thing"):
        raise ours
    assert again.value is ours


# The process that tries an artifact, run here.


class Standing:
    """Standard input or output of a process, as bytes."""

    def __init__(self, data: bytes = b"") -> None:
        self.data = data
        self.buffer = self

    def read(self) -> bytes:
        return self.data

    def write(self, data: bytes) -> None:
        self.data += data

    def flush(self) -> None:
        """Nothing waits."""


def answered(manifest: Manifest, artifact: bytes, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """What the process says to a manifest and an artifact."""
    sent, out = msgspec.json.encode(manifest), Standing()
    monkeypatch.setattr(sys, "stdin", Standing(len(sent).to_bytes(8) + sent + artifact))
    monkeypatch.setattr(sys, "stdout", out)
    trial.main()
    monkeypatch.undo()
    found: dict[str, object] = json.loads(out.data)
    return found


def test_a_sound_artifact_comes_back_with_its_manifest(monkeypatch: pytest.MonkeyPatch) -> None:
    found = answered(Manifest(runtime="skops"), skops_model("linear").artifact, monkeypatch)
    assert found == {
        "manifest": {"runtime": "skops", "features": [{"name": each.name} for each in NUMBERS]}
    }  # fmt: skip


def test_what_is_wrong_comes_back_with_its_field(monkeypatch: pytest.MonkeyPatch) -> None:
    found = answered(Manifest(runtime="onnx", features=NUMBERS[:1]), onnx_table().artifact, monkeypatch)
    assert found == {"error": "the model takes 2 features, the manifest lists 1", "field": "features"}


def test_a_missing_library_comes_back_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "catboost", None)
    found = answered(Manifest(runtime="catboost"), b"CBM1", monkeypatch)
    assert found["missing"] is True
    assert "pip install 'lossloop[catboost]'" in str(found["error"])


def test_rows_of_a_trial_are_as_many_for_every_feature() -> None:
    rows = trial.samples(NUMBERS)
    assert {len(each) for each in rows.values()} == {4}
    assert all(each.dtype == np.float64 for each in rows.values())
