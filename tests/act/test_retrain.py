"""Retraining in a child process: what it is given, what it gives, and how it fails."""

from __future__ import annotations

import os
import textwrap
from pathlib import Path

import msgspec
import numpy as np
import pytest

from lossloop.act import retrain as retraining
from lossloop.act.retrain import Order, retrain
from lossloop.act.settings import Settings
from lossloop.core.calendar import Calendar
from lossloop.core.clock import DAY
from lossloop.core.errors import LossloopError
from lossloop.ledger.files.segments import SegmentLog
from lossloop.ledger.joined.join import Join
from lossloop.ledger.joined.keys import Keys
from lossloop.ledger.sqlite.state import State
from lossloop.registry import Artifacts, Feature, Manifest, Reference
from tests.ledger.samples import features, outcome_frame, prediction_frame

TARGETS = """
import os, signal, sys, time
from lossloop.act.retrain import Trained
from lossloop.registry import Feature, Reference

REFERENCE = Reference(
    loss="brier", mean=0.25, block="1d", block_means=(0.2, 0.3), rows=2, design_effect=1.0
)

def train(data):
    print("training on", len(data.rows))
    said = [data.model, data.at, data.loss, *data.rows["id"].to_pylist(), *data.rows["hour"].to_pylist()]
    return Trained(
        artifact=" ".join(map(str, said)).encode(), runtime="external", features=(Feature(name="hour"),),
        reference=REFERENCE, lineage={"secrets": sorted(name for name in os.environ if "SECRET" in name)},
    )

def raises(data):
    print("loading", "x" * 5000, "done")
    raise RuntimeError("no convergence")

def wrong(data):
    return {"artifact": b""}

def leaves(data):
    sys.exit(0)

def dies(data):
    os.kill(os.getpid(), signal.SIGKILL)

def sleeps(data):
    if not os.fork():
        time.sleep(60)
    time.sleep(60)

not_a_function = 3
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state directory with two labelled predictions, and a module of targets that can be imported."""
    (tmp_path / "some_targets.py").write_text(textwrap.dedent(TARGETS))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("A_SECRET_TOKEN", "hunter2")
    path = tmp_path / "home"
    path.mkdir()
    writer, state = SegmentLog(path / "log").writer(), State(path / "state.db")
    asked = prediction_frame(["a", "b"], features=features([{"hour": 7.0}, {"hour": 8.0}]))
    happened = outcome_frame({"a": 1.0, "b": 0.0})
    writer.append([asked, happened])
    writer.close()
    at = np.zeros(2, dtype=np.int64)
    join = Join(state, "m", Keys(Settings().secret))
    join.take_predictions(asked.batch, at=at, calendar=Calendar(span=DAY))
    join.take_outcomes(happened.batch, at=at, age=DAY)
    with state.transaction():
        join.flush()
    state.close()
    return path


def order(home: Path, target: str, **changes: object) -> Order:
    made = Order(
        target=target if ":" in target else f"some_targets:{target}",
        state=str(home),
        model="m",
        at=5,
        age=0,
        loss="brier",
    )
    return msgspec.structs.replace(made, **changes)


def failure(home: Path, target: str, **changes: object) -> str:
    with pytest.raises(LossloopError) as caught:
        retrain(order(home, target, **changes))
    return str(caught.value)


def test_a_target_gets_what_had_matured_and_its_makings_become_a_manifest(home: Path) -> None:
    made = retrain(order(home, "train"))
    assert Artifacts(home / "artifacts").get(made.artifact) == b"m 5 brier a b 7.0 8.0"
    assert made == Manifest(
        runtime="external",
        artifact=made.artifact,
        features=(Feature(name="hour"),),
        reference=Reference(
            loss="brier", mean=0.25, block="1d", block_means=(0.2, 0.3), rows=2, design_effect=1.0
        ),
        lineage={"target": "some_targets:train", "rows": 2, "at": 5, "secrets": []},
    )


def test_the_same_order_makes_the_same_version(home: Path) -> None:
    assert retrain(order(home, "train")).digest == retrain(order(home, "train")).digest


def test_a_target_that_raises_is_told_with_the_end_of_its_words(home: Path) -> None:
    message = failure(home, "raises")
    assert message.startswith("some_targets:raises failed with exit code 1: ")
    assert message.endswith("RuntimeError: no convergence")
    assert len(message) < retraining.LAST_WORDS + 100
    assert "hunter2" not in message


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("wrong", "some_targets:wrong must return lossloop.Trained, not dict"),
        ("leaves", "some_targets:leaves failed with exit code 0: "),
        ("dies", "some_targets:dies failed with exit code -9: "),
        ("not_a_function", "'int' object is not callable"),
        ("no_such", "cannot import some_targets:no_such: module 'some_targets' has no attribute 'no_such'"),
    ],
    ids=lambda text: text.split(" ")[0],
)
def test_a_target_that_makes_no_version_is_told(home: Path, target: str, words: str) -> None:
    assert words in failure(home, target)


def test_a_module_that_is_not_there_is_told(home: Path) -> None:
    said = failure(home, "no_such_module:train")
    assert "cannot import no_such_module:train: No module named 'no_such_module'" in said


def test_nothing_to_train_on_is_told(home: Path) -> None:
    assert "other has no predictions with an outcome yet" in failure(home, "train", model="other")
    assert "m has no predictions with an outcome yet" in failure(home, "train", at=5, age=DAY)


def test_a_target_that_takes_too_long_is_stopped(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retraining, "SECONDS", 1.5)
    assert failure(home, "sleeps") == "some_targets:sleeps took longer than 1.5 s"
