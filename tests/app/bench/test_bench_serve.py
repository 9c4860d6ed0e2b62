"""`lossloop bench serve`: every promised figure is measured, at tiny sizes, and told in one shape."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import urllib3

from lossloop.app.bench import bare, serve_bare, serve_model
from lossloop.app.bench.load import Told
from lossloop.app.bench.screen import Quiet
from lossloop.app.bench.serve import PARTS, run
from lossloop.app.bench.serve_base import FULL, QUICK
from lossloop.app.bench.serve_moves import Mover, lasted
from lossloop.app.bench.serve_targets import TARGETS, figure
from lossloop.core.errors import StateError, UnknownName
from lossloop.serve.asked import joined, read
from lossloop.serve.runtimes import load
from lossloop.serve.schema import Schema

PROMISED = [
    "cpu_us_1", "cpu_us_64", "over_bare_handler", "cold_start_s", "swap_failed_requests", "rollback_ms"
]  # fmt: skip
"""What serving is held to."""


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    place = tmp_path_factory.mktemp("bench")
    command = [sys.executable, "-m", "lossloop", "bench", "serve", "--at", str(place), "--quick", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, list(place.iterdir())) == (0, []), done.stderr + done.stdout
    assert "cpu_us_1: 1 times 60 requests, in turns" in done.stderr
    return dict(json.loads(done.stdout))


def found(told: dict[str, Any], id: str) -> dict[str, Any]:
    return next(each for each in told["figures"] if each["id"] == id)


def test_every_promised_figure_is_told_in_order(told: dict[str, Any]) -> None:
    assert [each["id"] for each in told["figures"]] == PROMISED == list(TARGETS)
    assert (told["bench"], told["quick"]) == ("serve", True)
    assert sorted(id for part in PARTS for id in part.ids) == sorted(PROMISED)


@pytest.mark.parametrize("id", PROMISED)
def test_a_figure_is_held_to_its_target(told: dict[str, Any], id: str) -> None:
    each = found(told, id)
    assert list(each)[:7] == ["id", "value", "unit", "target", "floor", "peer", "met"]
    assert each["value"] is not None, each.get("problem")
    assert each["value"] >= 0
    assert (each["target"], each["unit"]) == (TARGETS[id].value, TARGETS[id].unit)
    assert (each["floor"] is None) == (not TARGETS[id].floor)


def test_targets_are_those_of_the_issue() -> None:
    assert [TARGETS[id].value for id in PROMISED] == [100, 450, 1.3, 3, 0, 250]
    assert not any(target.at_least for target in TARGETS.values())
    assert (FULL.swaps, FULL.rollbacks, FULL.rate) == (20, 5, 2_000)


def test_no_request_fails_while_versions_move(told: dict[str, Any]) -> None:
    each = found(told, "swap_failed_requests")
    assert (each["value"], each["swaps"], each["first_failure"]) == (0, QUICK.swaps, "")
    assert each["requests"] > 0
    assert each["longest_ms"] >= each["p99_ms"] >= each["p50_ms"] > 0


def test_the_canary_answered_before_it_was_rolled_back(told: dict[str, Any]) -> None:
    each = found(told, "rollback_ms")
    assert each["rollbacks"] == QUICK.rollbacks
    assert each["canary_answers"] > 0


def test_only_some_figures(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match="unknown figure 'cpu'"):
        run(tmp_path, QUICK, Quiet(), only=["cpu"])
    with pytest.raises(StateError, match="is no directory that can be written to"):
        run(tmp_path / "nowhere", QUICK, Quiet())


def test_a_figure_that_cannot_be_measured_says_why() -> None:
    each = figure("cpu_us_1", None, problem="no server").plain()
    assert (each["value"], each["met"], each["problem"]) == (None, None, "no server")


# What is served, and what it is held against.


def test_both_servers_answer_the_same(tmp_path: Path) -> None:
    artifact = tmp_path / "model.onnx"
    artifact.write_bytes(serve_model.logistic(0.25))
    body = serve_model.body(3, seed=5)
    with bare.serving(serve_bare.__name__, str(artifact)) as floor:
        reply = urllib3.request("POST", floor.url, body=body)
    assert reply.status == 200
    manifest = serve_model.manifest()
    asked = read(Schema(manifest.features), msgspec.json.decode(body)["rows"], now=0, replays=False).asked
    columns = joined([asked], Schema(manifest.features)).features
    ours = load(manifest, artifact.read_bytes()).predict(columns)  # type: ignore[arg-type]
    theirs = [each["y_pred"] for each in reply.json()["predictions"]]
    assert np.allclose(ours, theirs, rtol=1e-6)
    assert len(theirs) == 3


def test_a_bias_makes_another_version() -> None:
    assert serve_model.logistic(0.0) == serve_model.logistic(0.0) != serve_model.logistic(0.5)
    assert serve_model.body(2) == serve_model.body(2) != serve_model.body(2, seed=1)
    assert len(msgspec.json.decode(serve_model.body(64))["rows"]) == 64


def test_a_roll_back_lasts_until_the_last_answer_of_the_canary() -> None:
    mover = Mover.__new__(Mover)
    mover.rolled_back = [(10.0, 11.0), (20.0, 21.0)]
    told = Told(
        sent=0, acknowledged=0, seconds=1.0, waited_ms=[], refused={},
        marked=[9.0, 9.99, 10.01, 10.04, 11.5, 19.0, 25.0],
    )  # fmt: skip
    assert lasted(told, mover) == pytest.approx([40.0, 0.0])
