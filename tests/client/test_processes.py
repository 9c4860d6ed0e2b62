"""Services that are killed, forked and starved: what was handed over arrives, if by the next process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.client.answering import nobody
from tests.client.taking import PATIENCE, Taking, client_of, spool_files
from tests.house.repository import ROOT


def command(url: str, spool: Path, mode: str) -> list[str]:
    return [sys.executable, "-W", "ignore", "-m", "tests.client.sending", url, str(spool), mode]


def run(url: str, spool: Path, mode: str) -> list[str]:
    """What a service prints that runs to its end."""
    done = subprocess.run(
        command(url, spool, mode), cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@contextmanager
def running(url: str, spool: Path, **environment: str) -> Iterator[subprocess.Popen[str]]:
    """A service that hands over until it is killed."""
    process = subprocess.Popen(
        command(url, spool, "for-ever"), cwd=ROOT, stdout=subprocess.PIPE, text=True,
        env={**os.environ, **environment},
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def killed(process: subprocess.Popen[str], after: int) -> list[str]:
    """The ids that a service had handed over when it was killed, once there were so many."""
    assert process.stdout is not None
    said = [process.stdout.readline().strip() for _ in range(after)]
    process.send_signal(signal.SIGKILL)
    rest = process.stdout.read()
    process.wait(PATIENCE)
    return said + [line for line in rest.split("\n")[:-1] if line]  # a line cut off was not said


def drain(url: str, spool: Path) -> None:
    """A new process takes over what is left."""
    with client_of(url, spool) as client:
        assert client.flush(PATIENCE) == 0
    assert spool_files(spool) == []


@pytest.mark.parametrize("after", [1, 37, 300])
def test_a_service_that_is_killed_has_lost_nothing(server: Taking, tmp_path: Path, after: int) -> None:
    with running(server.url, tmp_path) as process:
        handed_over = killed(process, after)
    drain(server.url, tmp_path)
    assert set(handed_over) <= set(server.ids)
    assert len(set(server.ids)) - len(handed_over) <= 1  # it may have died before it could say so


def test_a_service_that_is_killed_while_nobody_listens_has_lost_nothing(
    server: Taking, tmp_path: Path
) -> None:
    for _ in range(3):
        with running(nobody(), tmp_path) as process:
            handed_over = killed(process, 50)
        drained = set(server.ids)
        drain(server.url, tmp_path)
        mine = [id for id in server.ids if id not in drained]
        assert mine[: len(handed_over)] == handed_over  # in their order, once each
        assert len(mine) - len(handed_over) <= 1


def test_the_spool_of_a_process_that_lives_is_left_alone(server: Taking, tmp_path: Path) -> None:
    with running(nobody(), tmp_path) as process:
        assert process.stdout is not None
        first = process.stdout.readline().strip()
        with client_of(server.url, tmp_path) as other:
            other.send_prediction("m", id="other", version=1, y_pred=1)
            assert other.flush(PATIENCE) == 0
        assert server.ids == ["other"]
        handed_over = [first, *killed(process, 5)]
    drain(server.url, tmp_path)
    assert set(handed_over) <= set(server.ids)


def test_a_service_that_ends_without_closing_has_sent_all(server: Taking, tmp_path: Path) -> None:
    said = run(server.url, tmp_path, "exits")
    assert server.ids == said
    assert len(said) == 50
    assert spool_files(tmp_path) == []


@pytest.mark.parametrize("mode", ["forks", "forks-early"])
def test_each_child_of_a_fork_sends_its_own_rows_once(server: Taking, tmp_path: Path, mode: str) -> None:
    said = run(server.url, tmp_path, mode)
    assert len(said) == len(set(said)) == {"forks": 2 + 3 * 40, "forks-early": 40}[mode]
    assert sorted(server.ids) == sorted(said)
    assert spool_files(tmp_path) == []


def test_a_limit_on_files_is_told_and_costs_nothing_that_was_handed_over(
    server: Taking, tmp_path: Path
) -> None:
    said = run(nobody(), tmp_path, "limited")
    refused = [line for line in said if line.startswith("refused ")]
    handed_over = [line for line in said if not line.startswith("refused ")]
    assert f"cannot write to the spool {tmp_path}: File too large" in refused[0]
    assert {f"a{number}" for number in range(60, 80)} <= set(handed_over)
    drain(server.url, tmp_path)
    assert server.ids == handed_over
