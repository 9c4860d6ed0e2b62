"""What a hostile sender, an unlucky operator and a clumsy colleague did, and what it may not do again."""

from __future__ import annotations

import http.server
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from lossloop import losses
from lossloop.act.notify import post
from lossloop.act.policy import read_policy
from lossloop.act.retrain import LAST_WORDS, Order, retrain
from lossloop.app.up import Up, running
from lossloop.core.errors import InputError, LossloopError, PolicyError
from lossloop.core.tasks import MOST_CLASSES, Task, read_prediction
from lossloop.judges import CanaryState
from tests.app.desk import MODEL, ROLLOUT, Desk

POLICY = "model: m\ntask: binary\nloss: brier\nlabels: {mature_after: 1s}\n"

# Policies.


def test_anchors_that_multiply_are_refused_at_once() -> None:
    laughs = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n"
    laughs += "".join(f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 9))
    with pytest.raises(PolicyError, match="more than 10000 values; are anchors repeated in each other"):
        read_policy(laughs)


def test_a_policy_as_long_as_a_book_is_refused() -> None:
    with pytest.raises(PolicyError, match="at most 100000 are read"):
        read_policy(POLICY + "unit: " + "a" * 100_000)


@pytest.mark.parametrize("value", ["!!int ''", "!!float ''", "1:" * 300 + "1.5"])
def test_a_number_that_is_none_is_named_with_its_line(value: str) -> None:
    with pytest.raises(PolicyError, match=r"line 5.*is not readable as"):
        read_policy(POLICY + f"probation: {value}\n")


def test_a_limit_is_no_smaller_than_what_can_be_divided_by() -> None:
    """A large loss divided by it was infinite, and the applier ended at every outcome."""
    watch = "watches: {q: {kind: guardrail, limit: 1.0e-300, promise: 5% ever}}"
    with pytest.raises(PolicyError, match="1e-300 is too small to divide by; write 1e-100 or more"):
        read_policy(POLICY + watch)


# Facts.


def test_a_prediction_cannot_be_wider_than_memory() -> None:
    """One row of a million classes made every table that it stood in as wide, and ended the applier."""
    share = 1 / MOST_CLASSES
    assert read_prediction(Task.MULTICLASS, [share] * MOST_CLASSES) == [share] * MOST_CLASSES
    with pytest.raises(InputError, match="a list of 2 to 1000 probabilities"):
        read_prediction(Task.MULTICLASS, [1.0, *[0.0] * MOST_CLASSES])


def test_features_that_are_no_column_are_a_problem_of_theirs() -> None:
    loss = losses.parse('log_loss.where(x="a")')
    with pytest.raises(InputError, match="feature x must be a list of plain values"):
        loss.rows([1, 0], [0.5, 0.5], {"x": [["a"], None]})


def test_a_sender_cannot_stop_the_loop_with_a_propensity_next_to_nothing(tmp_path: Path) -> None:
    """Its weight squared was no number, so the evidence could not be read again."""
    desk = Desk.ready(tmp_path / "state", versions=2, rollout=ROLLOUT)
    desk.rollout(2)
    for hour, chance in enumerate((1e-300, 5e-324, 1 - 2**-53, 1e-7), 1):
        rows = {"version": 2, "role": "challenger", "propensity": chance}
        desk.know(hour, desk.predict(hour, [1.0] * 20, **rows))
        desk.know(hour, desk.predict(hour, [0.0] * 20, propensity=chance))
    desk.tick(12)
    with desk.books() as books:
        assert books.documents.get("canary", MODEL, CanaryState) is None
    desk.arms(13, 0.0, 1.0, share=0.2)
    assert ("roll_back", "done") in desk.told()


def test_a_canary_refuses_a_loss_that_cannot_be_weighed(tmp_path: Path) -> None:
    desk = Desk.at(tmp_path / "state")
    with pytest.raises(PolicyError, match="write log_loss with a smaller cap"):
        desk.policy(loss="log_loss(cap=1e308)", rollout=ROLLOUT)


def test_a_directory_and_a_pipe_among_the_segments_stop_nobody(tmp_path: Path) -> None:
    desk = Desk.ready(tmp_path / "state")
    (desk.home.segments.directory / "directory.seg").mkdir()
    (desk.home.segments.directory / "nowhere.seg").symlink_to(tmp_path / "nowhere")
    os.mkfifo(desk.home.segments.directory / "pipe.seg")
    desk.predict(1, [0.1])
    with desk.books() as books:
        assert books.counts(MODEL).predictions == 1


def test_a_body_that_is_cut_off_is_a_fault_of_the_sender(tmp_path: Path) -> None:
    desk = Desk.ready(tmp_path / "state", settings={"clock": "receipt"})
    token = (desk.home.path / "token").read_text().strip()
    with running(desk.home) as up, socket.create_connection((up.host, up.port), timeout=10) as client:
        head = f"POST /v1/outcomes HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
        client.sendall(f"{head}Content-Length: 1000\r\n\r\n{{".encode())
        client.shutdown(socket.SHUT_WR)
        assert client.recv(1000).startswith(b"HTTP/1.1 400")


# Effects.


def _order(path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> Order:
    desk = Desk.at(path / "state")
    desk.policy()
    desk.register("1")
    desk.know(2, desk.predict(1, [0.1, 0.1]))
    (path / "hostile_target.py").write_text(_TARGETS)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(path), *filter(None, sys.path)]))
    return Order(
        target=f"hostile_target:{name}",
        state=str(desk.home.path),
        model=MODEL,
        at=1 << 60,
        age=0,
        loss="brier",
    )


_TARGETS = """
import os, pathlib, sys, time

def loud(data):
    for _ in range(100):
        print("x" * 100_000, flush=True)
    sys.exit("no luck")

def forks(data):
    if os.fork() == 0:
        time.sleep(600)
    os._exit(7)

def hangs(data):
    here = pathlib.Path(__file__).parent
    if os.fork() == 0:
        (here / "pids").write_text(f"{os.getpid()} {os.getppid()}")
    time.sleep(60)
"""


def test_of_a_loud_target_the_last_words_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LossloopError, match=r"loud failed with exit code 1: x+\nno luck$") as told:
        retrain(_order(tmp_path, "loud", monkeypatch))
    assert len(str(told.value)) < LAST_WORDS + 100


def test_what_a_target_started_ends_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that it left behind held the pipe, and the worker waited for as long as that lived."""
    with pytest.raises(LossloopError, match="failed with exit code 7"):
        retrain(_order(tmp_path, "forks", monkeypatch))  # sleeps longer than a test may take


def test_a_target_ends_with_the_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order = _order(tmp_path, "hangs", monkeypatch)
    code = f"from lossloop.act.retrain import *; retrain(Order(**{_fields(order)!r}))"
    worker = subprocess.Popen([sys.executable, "-c", code])
    pids = tmp_path / "pids"
    _until(lambda: pids.exists() and len(pids.read_text().split()) == 2)
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    _until(lambda: not any(_lives(int(pid)) for pid in pids.read_text().split()))


def _fields(order: Order) -> dict[str, Any]:
    return {name: getattr(order, name) for name in order.__struct_fields__}


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2] if _PROC.exists() else True


_PROC = Path("/proc")


def _until(true: Any, seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


class _Endless(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "1000000000")
        self.end_headers()
        self.wfile.write(b"x")
        self.rfile.read()  # until the other side goes

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet."""


def test_what_a_webhook_says_besides_its_status_is_not_waited_for() -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Endless) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        assert post(f"http://127.0.0.1:{server.server_port}/", {}, key="k") == "webhook answered 200"
        server.shutdown()


# Processes.


class _Patient(Up):
    """Starts a process that ends at once, as often as it is asked to."""

    def _process(self, part: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen([sys.executable, "-c", ""])
        process.wait()
        return process


def test_parts_are_started_again_however_often_they_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After 1,024 times, an hour and a half on a full disk, the pause was no number any more."""
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    up = _Patient(Desk.at(tmp_path / "state").home, host="127.0.0.1", port=1)
    up._spawn("worker")
    up._restarts = 2000
    assert up.mend() == ["worker"]
    assert pauses == [5.0]
