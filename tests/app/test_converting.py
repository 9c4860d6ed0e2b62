"""ONNX made of models: it answers the same, or it is refused; what is smaller says by how much."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as numbers

from lossloop.app import operate
from lossloop.app.cli import main
from lossloop.app.converting import Converted, Shrink, convert
from lossloop.app.converting.parity import compare
from lossloop.core.errors import InputError
from lossloop.core.ids import digest
from lossloop.registry import Manifest, Options, versions
from lossloop.serve.runtimes import load
from lossloop.serve.runtimes.libraries import library
from tests.app.desk import MODEL, Desk
from tests.serve.formats import (
    NUMBERS,
    TEXTS,
    Model,
    catboost_model,
    columns,
    keras_model,
    lightgbm_binary,
    lightgbm_value,
    onnx_table,
    skops_model,
    skops_pipeline,
    xgboost_binary,
    xgboost_classes,
)
from tests.serve.networks import network

ROWS = pa.table({name: TEXTS[name].to_numpy() for name in TEXTS})
CONVERTIBLE: dict[str, Callable[[], Model]] = {
    "xgboost": xgboost_classes,
    "lightgbm": lightgbm_value,
    "catboost": lambda: catboost_model("classes"),
    "a pipeline": skops_pipeline,
    "a linear model": lambda: skops_model("linear"),
    "a forest": lambda: skops_model("forest"),
    "gradient boosting": lambda: skops_model("gradient"),
}


@pytest.fixture(autouse=True)
def _here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trials are tried elsewhere; here each would cost a second."""
    monkeypatch.setattr("lossloop.app.converting.asking.tried", _tried)


def _tried(manifest: Manifest, artifact: bytes) -> Manifest:
    from lossloop.serve.runtimes.trial import attempt

    return attempt(manifest, artifact)


def made(model: Model, **more: Any) -> Converted:
    return convert(model.artifact, model.manifest, ROWS, **more)


@pytest.mark.parametrize("name", CONVERTIBLE)
def test_what_is_made_answers_the_same(name: str) -> None:
    model = CONVERTIBLE[name]()
    found = made(model, name="m.bin")
    assert found.parity.holds, found.parity
    assert found.parity.rows == len(ROWS)
    assert found.manifest.runtime == "onnx"
    answers = load(found.manifest, found.artifact).predict(columns(model.features))
    assert np.allclose(answers, model.wanted, atol=1e-5)
    told = found.manifest.lineage["converted"]
    assert (told["from"], told["artifact"], told["runtime"]) == (
        "m.bin",
        digest(model.artifact),
        model.runtime,
    )
    assert told["parity"]["largest"] == found.parity.largest
    assert found.before.bytes == len(model.artifact)
    assert min(found.after.one, found.after.many) > 0


def test_features_are_in_the_order_that_the_model_takes() -> None:
    model = skops_model("forest")
    turned = dataclasses.replace(model, features=NUMBERS[::-1])
    found = made(turned)
    assert [each.name for each in found.manifest.features] == ["x", "y"]
    assert found.parity.holds


def test_a_model_s_own_names_do_without_a_manifest() -> None:
    model = skops_pipeline()
    found = convert(model.artifact, Manifest(runtime="skops"), ROWS)
    assert [(each.name, each.kind) for each in found.manifest.features] == [
        (each.name, each.kind) for each in model.features
    ]


@pytest.mark.parametrize("make", [xgboost_binary, lightgbm_binary, catboost_model])
def test_categories_that_are_lost_are_refused(make: Callable[[], Model]) -> None:
    with pytest.raises(
        InputError, match="'colour' is a category: the converter does not take its categories"
    ):
        made(make())


def test_a_converter_that_gets_it_wrong_is_found_out() -> None:
    """CatBoost leaves the exponent of counts out of its ONNX."""
    found = made(catboost_model("count"))
    assert not found.parity.holds
    assert found.parity.largest > 0.1


def test_what_nothing_converts_is_told() -> None:
    with pytest.raises(
        InputError, match="models of the runtime 'keras' are not converted; those of catboost, "
    ):
        made(keras_model())


def test_what_a_converter_does_not_know_is_told() -> None:
    machines, skops = library("sklearn.svm", "skops"), library("skops.io", "skops")
    model = machines.NuSVR(kernel="precomputed").fit(np.eye(2), [0.0, 1.0])
    with pytest.raises(InputError, match="the model cannot be converted: "):
        convert(skops.dumps(model), Manifest(runtime="skops", features=NUMBERS), ROWS)


def test_rows_without_a_feature_are_told() -> None:
    model = skops_model("linear")
    with pytest.raises(InputError, match="unknown feature 'y'"):
        convert(model.artifact, model.manifest, ROWS.select(["x"]))
    with pytest.raises(InputError, match="there are no rows to compare models on"):
        convert(model.artifact, model.manifest, ROWS.slice(0, 0))


@pytest.mark.parametrize(
    ("make", "rounds"),
    [
        (xgboost_classes, 3), (lightgbm_value, 5), (lambda: catboost_model("classes"), 5),
        (lambda: skops_model("forest"), 5), (lambda: skops_model("gradient"), 3),
    ],
)  # fmt: skip
def test_fewer_trees_are_kept(make: Callable[[], Model], rounds: int) -> None:
    model = make()
    whole, found = made(model), made(model, shrink=Shrink(trees=rounds - 1), tolerance=1.0)
    assert found.after.bytes < whole.after.bytes
    assert found.parity.largest > 0
    assert found.manifest.lineage["converted"]["trees"] == rounds - 1
    with pytest.raises(InputError, match=rf"the model has {rounds} trees or rounds; keep fewer"):
        made(model, shrink=Shrink(trees=rounds))


def test_trees_of_what_has_none_are_refused() -> None:
    with pytest.raises(InputError, match="the model is not one ensemble of trees; fewer cannot be kept"):
        made(skops_model("linear"), shrink=Shrink(trees=1))
    with pytest.raises(InputError, match="models of the runtime 'onnx' are not converted"):
        made(onnx_table(), shrink=Shrink(trees=1))
    with pytest.raises(InputError, match="keep one tree or more"):
        Shrink(trees=0)
    with pytest.raises(InputError, match="trees have no weights to quantise; choose one of the two"):
        Shrink(trees=3, quantize="dynamic")


@pytest.mark.parametrize(("way", "share"), [("dynamic", 0.5), ("float16", 0.7)])
def test_a_network_s_weights_are_made_smaller(way: Any, share: float) -> None:
    raw = network(64)
    found = convert(
        raw, Manifest(runtime="onnx", features=NUMBERS), ROWS, tolerance=0.1, shrink=Shrink(quantize=way)
    )
    assert found.after.bytes < share * len(raw)
    assert 0 < found.parity.largest < 0.1
    assert found.parity.flips is not None
    assert found.manifest.lineage["converted"]["quantize"] == way


def test_trees_cannot_be_quantised() -> None:
    with pytest.raises(InputError, match="no layers with weights that could be quantised; keep fewer of its"):
        made(skops_model("forest"), shrink=Shrink(quantize="dynamic"))


def test_an_onnx_model_is_held_against_itself() -> None:
    model = onnx_table()
    found = made(dataclasses.replace(model, options=Options(column=0)))
    assert found.artifact == model.artifact
    assert found.parity.largest == 0.0
    assert found.manifest.options == Options(column=0)


# Comparing.

ANSWERS = numbers.arrays(np.float64, st.tuples(st.integers(1, 20)), elements=st.floats(0, 1))


@given(ANSWERS)
def test_a_model_agrees_with_itself(answers: Any) -> None:
    found = compare(answers, answers, tolerance=0.0)
    assert (found.largest, found.mean, found.flips, found.threshold) == (0.0, 0.0, 0.0, 0.5)
    assert found.holds


@given(ANSWERS, st.floats(-1, 1), st.data())
def test_the_row_that_differs_is_named(answers: Any, shift: float, data: st.DataObject) -> None:
    row = data.draw(st.integers(0, len(answers) - 1))
    other = answers.copy()
    other[row] += shift
    found = compare(answers, other, tolerance=0.25)
    gap = abs(float(other[row] - answers[row]))
    assert found.largest == gap
    assert found.mean == pytest.approx(gap / len(answers))
    assert found.holds == (gap <= 0.25)
    assert found == compare(answers, other, tolerance=0.25)
    if gap > 0:
        assert found.worst[0].row == row
        assert (found.worst[0].before, found.worst[0].after) == (answers[row], other[row])
    mirrored = compare(other, answers, tolerance=0.25)
    assert (mirrored.largest, mirrored.mean) == (found.largest, found.mean)


def test_no_answer_is_as_good_as_none_and_no_better_than_one() -> None:
    none, some = np.array([np.nan, 1.0]), np.array([0.5, 1.0])
    assert compare(none, none, tolerance=0.0).holds
    found = compare(none, some, tolerance=1e9)
    assert found.largest == np.inf
    assert not found.holds
    assert found.worst[0].row == 0
    assert compare(np.array([np.inf]), np.array([np.inf]), tolerance=0.0).holds


def test_values_decide_nothing_unless_a_threshold_says_so() -> None:
    before, after = np.array([1.0, 4.0, 9.0]), np.array([1.0, 5.5, 9.0])
    assert compare(before, after, tolerance=2.0).flips is None
    found = compare(before, after, tolerance=2.0, threshold=5.0)
    assert found.flips == pytest.approx(1 / 3)
    assert found.threshold == 5.0


def test_of_classes_the_likeliest_decides() -> None:
    before = np.array([[0.6, 0.4], [0.45, 0.55]])
    after = np.array([[0.55, 0.45], [0.51, 0.49]])
    found = compare(before, after, tolerance=0.1)
    assert (found.flips, found.threshold) == (0.5, None)
    assert found.largest == pytest.approx(0.06)
    assert found.worst[0].before == (0.45, 0.55)


def test_other_shapes_are_told() -> None:
    with pytest.raises(InputError, match=r"answer in other shapes: \(\) and \(2,\) a row"):
        compare(np.zeros(2), np.zeros((2, 2)), tolerance=1.0)


# In the terminal.


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    import sys

    before, sys.argv = sys.argv, ["lossloop", *arguments]
    try:
        main()
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        sys.argv = before
    said = capsys.readouterr()
    return code, said.out, said.err


def held_out(tmp_path: Path) -> str:
    path = tmp_path / "held_out.parquet"
    pq.write_table(ROWS, path)
    return str(path)


def test_a_file_becomes_a_file_and_its_manifest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, target = tmp_path / "late.skops", tmp_path / "late.onnx"
    source.write_bytes(skops_pipeline().artifact)
    code, out, _ = run(capsys, "convert", str(source), str(target), "--rows", held_out(tmp_path))
    assert code == 0
    assert "200 rows: answers differ by " in out
    assert "0.000% of decisions at 0.5 are others" in " ".join(out.split())
    manifest = msgspec.json.decode((tmp_path / "late.json").read_bytes(), type=Manifest)
    assert load(manifest, target.read_bytes()).predict(columns(manifest.features)).shape == (6,)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "held_out.parquet", "late.json", "late.onnx", "late.skops"
    ]  # fmt: skip


def test_beyond_the_tolerance_nothing_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, target = tmp_path / "late.skops", tmp_path / "late.onnx"
    source.write_bytes(skops_model("gradient").artifact)
    given = ["convert", str(source), str(target), "--rows", held_out(tmp_path), "--trees", "1"]
    code, out, err = run(capsys, *given)
    assert code == 1
    assert "worst rows: " in out
    assert "more than 1e-05; nothing was written" in err
    assert not target.exists()
    assert not (tmp_path / "late.json").exists()
    code, out, err = run(capsys, *given, "--json")
    refused = json.loads(out)
    assert (code, err, refused["written"], refused["field"]) == (1, "", None, "tolerance")
    assert "nothing was written" in refused["error"]
    assert refused["parity"]["largest"] > refused["parity"]["tolerance"]
    assert not target.exists()
    code, out, _ = run(capsys, *given, "--tolerance", "1", "--json")
    assert code == 0
    told = json.loads(out)
    assert told["written"] == str(target)
    assert told["after"]["bytes"] == target.stat().st_size
    assert told["parity"]["tolerance"] == 1.0


def test_a_version_s_variant_is_a_version_of_its_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    desk = Desk.ready(tmp_path / "s")
    model = skops_model("forest")
    sent = msgspec.structs.replace(model.manifest, notes="the original", lineage={"run": "r1"})
    operate.register(desk.home, MODEL, sent, model.artifact)
    target = tmp_path / "small.onnx"
    code, _, err = run(
        capsys, "convert", f"{MODEL}:2", str(target), "--rows", held_out(tmp_path), "--trees", "3",
        "--tolerance", "1", "--state", str(tmp_path / "s"),
    )  # fmt: skip
    assert (code, err) == (0, "")
    code, out, err = run(
        capsys, "register", MODEL, str(tmp_path / "small.json"), "--artifact", str(target),
        "--state", str(tmp_path / "s"),
    )  # fmt: skip
    assert (code, err) == (0, "")
    assert f"{MODEL}:3 is registered" in out
    state = desk.home.state()
    lineage = versions.find(state, MODEL, 3).manifest.lineage
    state.close()
    assert lineage["run"] == "r1"
    assert lineage["converted"]["from"] == f"{MODEL}:2"
    assert lineage["converted"]["after"]["bytes"] == target.stat().st_size


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["nothing.skops", "late.onnx"], "cannot read nothing.skops: No such file or directory"),
        (["late.skops", "late.bin"], "the target's name ends in .onnx"),
        (["late.skops", "late.onnx", "--trees", "0"], "keep one tree or more"),
        (["late.skops", "nowhere/late.onnx"], "cannot write nowhere/late.json: No such file or directory"),
        (["held_out.parquet", "late.onnx"], "cannot tell which runtime this file is for"),
    ],
)
def test_what_cannot_be_done_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    given: list[str], words: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    held_out(tmp_path)
    (tmp_path / "late.skops").write_bytes(skops_model("linear").artifact)
    code, _, err = run(capsys, "convert", *given, "--rows", "held_out.parquet")
    assert code == 1
    assert words in err.replace("\n", " ")


def test_rows_that_are_no_parquet_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "late.skops"
    source.write_bytes(skops_model("linear").artifact)
    code, _, err = run(capsys, "convert", str(source), str(tmp_path / "a.onnx"), "--rows", str(source))
    assert code == 1
    assert "as Parquet" in err


def test_an_artifact_alone_is_a_version(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    desk = Desk.ready(tmp_path / "s")
    file = tmp_path / "late.skops"
    file.write_bytes(skops_pipeline().artifact)
    code, out, err = run(capsys, "register", MODEL, "--artifact", str(file), "--state", str(tmp_path / "s"))
    assert (code, err) == (0, "")
    assert f"{MODEL}:2 is registered" in out
    state = desk.home.state()
    manifest = versions.find(state, MODEL, 2).manifest
    state.close()
    assert manifest.runtime == "skops"
    assert [each.name for each in manifest.features] == ["x", "y", "colour"]


def test_neither_manifest_nor_artifact_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Desk.ready(tmp_path / "s")
    code, _, err = run(capsys, "register", MODEL, "--state", str(tmp_path / "s"))
    assert code == 1
    assert "name a manifest, or a model's file with --artifact" in err.replace("\n", " ")
