"""Processes and servers that are killed or paused: what was acknowledged is there, and counted, once."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable, Iterator

import pytest

from lossloop.ledger.postgres.database import Database
from tests.ledger.postgres.processes import Writer, check, shares, spawn, wait_until
from tests.ledger.postgres.server import Server

Folder = Callable[[str], subprocess.Popen[str]]


@pytest.fixture
def folder(database: Database) -> Iterator[Folder]:
    """Starts appliers that are killed in the end."""
    processes: list[subprocess.Popen[str]] = []

    def start(name: str) -> subprocess.Popen[str]:
        processes.append(spawn("fold", database, name))
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.wait()


@pytest.fixture
def writers(database: Database) -> Iterator[list[Writer]]:
    """Two processes that write."""
    writers = [Writer(database, name) for name in ("w1", "w2")]
    yield writers
    for writer in writers:
        if writer.process.poll() is None:
            writer.kill()


def test_a_database_that_is_killed_loses_and_doubles_nothing(
    server: Server, database: Database, folder: Folder, writers: list[Writer]
) -> None:
    for name in ("a", "b"):
        folder(name)
    for appends in (40, 15):
        for writer in writers:
            writer.wait_for(appends)
        server.kill()
        server.start()
    for writer in writers:
        writer.wait_for(20)
        writer.kill()
    check(database, *writers)


def test_an_applier_that_is_killed_or_paused_is_replaced_and_cannot_write(
    database: Database, folder: Folder, writers: list[Writer]
) -> None:
    first, second = folder("a"), folder("b")
    wait_until(lambda: shares(database) == {"a": 2, "b": 2})
    writers[0].wait_for(20)
    first.kill()
    wait_until(lambda: shares(database) == {"b": 4})
    folder("c")
    wait_until(lambda: shares(database) == {"b": 2, "c": 2})
    writers[1].wait_for(20)
    second.send_signal(signal.SIGSTOP)
    wait_until(lambda: shares(database) == {"c": 4})
    writers[0].wait_for(20)
    second.send_signal(signal.SIGCONT)
    wait_until(lambda: shares(database) == {"b": 2, "c": 2})
    for writer in writers:
        writer.wait_for(20)
        writer.kill()
    assert second.poll() is None, "an applier that was paused goes on with other leases"
    check(database, *writers)
