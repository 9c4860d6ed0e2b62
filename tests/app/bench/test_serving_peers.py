"""What the comparison of servers stands on: the same model for all, all of a server's processes counted."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import time
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest

from benchmarks.serving import hosts, load, models, processes

PARENT = """
import subprocess, sys, time
work = "import time; sum(range(10**7)); time.sleep(60)"
subprocess.Popen([sys.executable, "-c", work], start_new_session=True)
time.sleep({seconds})
"""


def started_by(
    seconds: float, folder: Path
) -> AbstractContextManager[tuple[processes.Tree, subprocess.Popen[bytes]]]:
    command = [sys.executable, "-c", PARENT.format(seconds=seconds)]
    return processes.started(command, {}, folder, folder / "log")


def wait_for(number: int, tree: processes.Tree) -> list[int]:
    """The processes of a tree, once there are so many."""
    deadline = time.monotonic() + 60.0
    while len(pids := tree.pids()) != number:
        assert time.monotonic() < deadline, pids
        time.sleep(0.02)
    return pids


@pytest.mark.parametrize("name", ["logistic", "boosting"])
def test_all_servers_get_the_same_model(name: str, tmp_path: Path) -> None:
    models.fit(name, tmp_path)
    asked = models.rows(50)
    original = importlib.import_module("joblib").load(tmp_path / f"{name}.joblib")
    session = importlib.import_module("onnxruntime").InferenceSession(tmp_path / f"{name}.onnx")
    _, probabilities = session.run(None, {"x": np.array(asked, np.float32)})
    assert np.allclose(probabilities[:, 1], original.predict_proba(asked)[:, 1], atol=1e-4)


def test_every_server_is_asked_for_the_same_rows() -> None:
    asked = models.rows(3)
    for host in hosts.HOSTS.values():
        body = json.loads(json.dumps(host.body(asked)))
        found = body.get("rows") or body["inputs"]
        if isinstance(found[0], dict):
            assert found[0]["shape"] == [3, len(models.FEATURES)]
            found = np.reshape(found[0]["data"], found[0]["shape"]).tolist()
        assert found == asked


def test_others_are_installed_apart_and_ours_is_not() -> None:
    assert [name for name, host in hosts.HOSTS.items() if not host.needs] == ["lossloop"]


def test_processes_that_left_their_parent_are_counted(tmp_path: Path) -> None:
    with started_by(0, tmp_path) as (tree, process):
        assert process.wait(60) == 0
        (orphan,) = wait_for(1, tree)
        assert orphan != process.pid
        assert tree.memory_mb() > 1.0
        deadline = time.monotonic() + 60.0
        while tree.cpu() < 0.05:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        assert tree.cpu(but="sum(range") == 0.0


def test_nothing_is_left_running(tmp_path: Path) -> None:
    with started_by(60, tmp_path) as (tree, _):
        assert os.getpid() not in wait_for(2, tree)
    assert not tree.pids()


def test_who_has_no_generator_is_told_how_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(SystemExit, match="apt-get install wrk"):
        load.generator()
