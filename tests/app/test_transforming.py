"""A version with a transform, from the command line to batches: raw inputs come in, and lie in the ledger."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pytest

from lossloop.app import operate
from lossloop.app.home import Home
from lossloop.core.errors import InputError, StateError
from lossloop.ledger.frames import Kind
from lossloop.registry import By, Manifest
from tests.app.importing.pasts import logged
from tests.app.predicting.desk import MODEL, answer, house, parquet, read
from tests.app.processes import lossloop
from tests.serve.models import additive
from tests.serve.transforms.graphs import kilometres, transform

TABLE = pa.table(
    {
        "id": ["a", "b", "c"],
        "metres": [0.0, 500.0, 1000.0],
        "y": pa.array([None, 1.0, 2.0]),
        "paint": pa.array(["crimson", "navy", None]),
    }
)
WANTED = [11.0, 1.5, 3.5]
SAID = {
    "runtime": "onnx",
    "transform": {
        "runtime": "onnx",
        "inputs": [
            {"name": "metres"}, {"name": "y", "nullable": True},
            {"name": "paint", "kind": "category", "nullable": True},
        ],
        "features": [
            {"name": "x"}, {"name": "y", "nullable": True},
            {"name": "colour", "kind": "category", "nullable": True},
        ],
    },
}  # fmt: skip


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A champion that takes features as they are."""
    return house(tmp_path / "s")


def registered(home: Home, *, by: By = By.SERVER) -> int:
    manifest = Manifest(runtime="onnx", transform=transform(by=by))
    operate.register(home, MODEL, manifest, additive(), transform=kilometres())
    return 2


def test_a_batch_of_raw_inputs_is_answered_and_logged_raw(tmp_path: Path, home: Home) -> None:
    path = parquet(tmp_path / "in.parquet", TABLE)
    answer(home, [path], tmp_path / "o.parquet", version=registered(home))
    assert read(tmp_path / "o.parquet")["y_pred"].to_pylist() == WANTED
    (frame,) = logged(home, Kind.PREDICTION).frames
    assert frame.column("features").to_pylist() == [
        {"metres": 0.0, "y": None, "paint": "crimson"},
        {"metres": 500.0, "y": 1.0, "paint": "navy"},
        {"metres": 1000.0, "y": 2.0, "paint": None},
    ]


def test_callers_who_make_features_are_asked_for_features(tmp_path: Path, home: Home) -> None:
    number = registered(home, by=By.CALLER)
    with pytest.raises(InputError, match="has no column 'x', which the version needs"):
        answer(home, [parquet(tmp_path / "in.parquet", TABLE)], tmp_path / "o.parquet", version=number)
    features = pa.table({"id": ["a"], "x": [0.5], "y": [1.0], "colour": ["blue"]})
    answer(home, [parquet(tmp_path / "in.parquet", features)], tmp_path / "o.parquet", version=number)
    assert read(tmp_path / "o.parquet")["y_pred"].to_pylist() == [1.5]


def test_from_the_command_line(tmp_path: Path, home: Home) -> None:
    for name, data in (("m.onnx", additive(7.0)), ("t.onnx", kilometres())):
        (tmp_path / name).write_bytes(data)
    (tmp_path / "v.json").write_text(json.dumps(SAID))
    done = lossloop(
        "register", MODEL, str(tmp_path / "v.json"), "--artifact", str(tmp_path / "m.onnx"), "--transform",
        str(tmp_path / "t.onnx"), state=home.path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == "m:2 is registered\n"
    answer(home, [parquet(tmp_path / "in.parquet", TABLE)], tmp_path / "o.parquet", version=2)
    assert read(tmp_path / "o.parquet")["y_pred"].to_pylist() == [value + 7.0 for value in WANTED]


def test_the_same_version_again_is_the_version_that_it_is(home: Home) -> None:
    registered(home)
    again = operate.register(
        home, MODEL, Manifest(runtime="onnx", transform=transform()), additive(), transform=kilometres()
    )
    assert again.message == "m:2 is registered"
    other = operate.register(
        home, MODEL, Manifest(runtime="onnx", transform=transform()), additive(), transform=kilometres(999.0)
    )
    assert other.message == "m:3 is registered"


def test_a_transform_that_is_stored_need_not_be_given_again(home: Home) -> None:
    registered(home)
    state = home.state()
    try:
        (_, second) = state.all("version", dict, prefix=f"{MODEL}/").values()
    finally:
        state.close()
    stored = second["manifest"]["transform"]["artifact"]
    manifest = Manifest(runtime="onnx", transform=transform(artifact=stored))
    assert operate.register(home, MODEL, manifest, additive(1.0)).message == "m:3 is registered"
    lost = Manifest(runtime="onnx", transform=transform(artifact="0" * 64))
    with pytest.raises(StateError, match="is not in"):
        operate.register(home, MODEL, lost, additive(1.0))


@pytest.mark.parametrize(
    ("manifest", "given", "words"),
    [
        (Manifest(runtime="onnx", transform=transform()), None, "give its file with --transform"),
        (Manifest(runtime="onnx"), kilometres(), "the manifest says nothing of a transform"),
        (Manifest(runtime="onnx", transform=transform()), b"nothing", "not an ONNX model"),
        (
            Manifest(runtime="external", transform=transform()), kilometres(),
            "its callers make the features: write by: caller",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_together_is_not_registered(
    home: Home, manifest: Manifest, given: bytes | None, words: str
) -> None:
    artifact = None if manifest.runtime == "external" else additive()
    with pytest.raises(InputError, match=words):
        operate.register(home, MODEL, manifest, artifact, transform=given)
    state = home.state()
    try:
        assert len(state.all("version", dict, prefix=f"{MODEL}/")) == 1
    finally:
        state.close()


def test_a_model_that_takes_other_features_is_not_registered(home: Home) -> None:
    said = transform()
    fewer = transform(features=said.features[:2])
    with pytest.raises(InputError, match="the model takes 'colour'"):
        operate.register(
            home, MODEL, Manifest(runtime="onnx", transform=fewer), additive(), transform=kilometres()
        )
