"""A version with a transform on a running server: raw inputs are asked for, answered and kept."""

from __future__ import annotations

from typing import Any

import pytest

from lossloop.app import operate
from lossloop.app.commands import Promote
from lossloop.ledger.frames import Kind
from lossloop.registry import Manifest
from tests.app.desk import policy_text
from tests.app.importing.pasts import logged
from tests.app.server import Server, within
from tests.serve.models import additive
from tests.serve.transforms.graphs import INPUTS, kilometres, transform

SOURCE = """
def transform(raw):
    return {"x": raw["metres"] / 1000.0}
"""


@pytest.fixture(scope="module")
def raw_model(server: Server) -> str:
    """A model whose champion takes raw inputs through a graph."""
    name = "raw-inputs"
    operate.set_policy(server.home, policy_text(model=name, task="regression", loss="squared"))
    manifest = Manifest(runtime="onnx", transform=transform())
    operate.register(server.home, name, manifest, additive(), transform=kilometres())
    operate.obey(server.home, Promote(model=name, version=1))
    within(lambda: server.predict(name, {"features": row()}).status == 200)
    return name


def row(**said: Any) -> dict[str, Any]:
    return {"metres": 500.0, "y": 2.0, "paint": "crimson", **said}


def test_raw_inputs_are_answered(server: Server, raw_model: str) -> None:
    reply = server.predict(
        raw_model,
        {"id": "a", "features": row()},
        {"id": "b", "features": row(metres=1000.0, y=None, paint="navy")},
        {"id": "c", "features": row(paint=None)},
    )
    assert reply.status == 200
    assert [each["y_pred"] for each in reply.body["predictions"]] == [12.5, 2.0, 3.0]


def test_raw_inputs_are_what_is_kept(server: Server, raw_model: str) -> None:
    server.predict(raw_model, {"id": "kept", "features": row(y=None)})
    log = logged(server.home, Kind.PREDICTION, model=raw_model)
    (sent,) = [
        features
        for batch in log.frames
        for id, features in zip(batch["id"].to_pylist(), batch["features"].to_pylist(), strict=True)
        if id == "kept"
    ]
    assert sent == {"metres": 500.0, "y": None, "paint": "crimson"}


def test_features_that_the_model_takes_are_not_what_is_asked_for(server: Server, raw_model: str) -> None:
    reply = server.predict(raw_model, {"features": {"x": 1.0, "y": 2.0, "colour": "red"}})
    assert reply.status == 422
    assert reply.errors == [(0, "features.metres")]


def test_a_transform_in_python_is_served_from_its_process(server: Server) -> None:
    name = "python-inputs"
    operate.set_policy(server.home, policy_text(model=name, task="regression", loss="squared"))
    inputs = (INPUTS[0], transform().features[1], transform().features[2])
    manifest = Manifest(runtime="onnx", transform=transform(runtime="python", inputs=inputs))
    operate.register(server.home, name, manifest, additive(), transform=SOURCE.encode())
    operate.obey(server.home, Promote(model=name, version=1))
    asked = {"features": {"metres": 500.0, "y": 2.0, "colour": "red"}}
    within(lambda: server.predict(name, asked).status == 200)
    assert server.predict(name, asked).body["predictions"][0]["y_pred"] == 12.5
